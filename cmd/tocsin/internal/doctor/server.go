package doctor

import (
	"context"
	"strings"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// Answer is what the running server says of itself.
type Answer struct {
	Status   *api.SystemStatus
	CatchAll []*api.User // the people of the catch-all
}

// Ask asks the running server.
type Ask func(ctx context.Context) (Answer, error)

// server checks what only the running server knows: who can be woken.
func server(ctx context.Context, in Input) []Finding {
	const check = "server"
	if in.Ask == nil {
		return []Finding{warn(check, "start it with tocsin serve, then run doctor again", "no server runs on this data directory: who can be woken was not checked")}
	}
	a, err := in.Ask(ctx)
	if err != nil {
		return []Finding{fail(check, "look into the server's log", "it does not answer: %v", err)}
	}
	all := []Finding{readiness(a.Status)}
	for _, p := range a.Status.GetProblems() {
		level := Warn
		if a.Status.GetReadiness() == api.SystemStatus_READINESS_NOT_READY {
			level = Fail
		}
		all = append(all, Finding{Level: level, Check: check, Cause: p, Cure: "see tocsin status"})
	}
	if h := a.Status.GetHold(); h.GetHeld() {
		all = append(all, warn(check, "tocsin resume", "all paging is held: %s", h.GetReason()))
	}
	if n := a.Status.GetDeadLetterCount(); n > 0 {
		all = append(all, warn(check, "tocsin dlq list, then tocsin dlq retry", "%d pieces of work were given up", n))
	}
	for _, u := range a.Status.GetUnreachable() {
		all = append(all, warn("people", "tocsin enrol "+strings.TrimPrefix(u.GetUser(), "users/")+", or take this person off the policies",
			"%s cannot be woken: %s", u.GetDisplayName(), u.GetReason()))
	}
	return append(all, catchAll(a.CatchAll))
}

func readiness(s *api.SystemStatus) Finding {
	switch s.GetReadiness() {
	case api.SystemStatus_READINESS_READY:
		return ok("server", "ready")
	case api.SystemStatus_READINESS_DEGRADED:
		return warn("server", "see tocsin status", "degraded")
	default:
		return fail("server", "see tocsin status", "not ready: this installation cannot page")
	}
}

func catchAll(people []*api.User) Finding {
	const check = "catch-all"
	if len(people) == 0 {
		return fail(check, "name somebody in settings.catch_all of the file of tocsin apply -f", "nobody is paged when nobody else can be")
	}
	var reachable, others []string
	for _, u := range people {
		if u.GetReachable() {
			reachable = append(reachable, u.GetDisplayName())
		} else {
			others = append(others, u.GetDisplayName())
		}
	}
	if len(reachable) == 0 {
		return fail(check, "enrol a phone: tocsin enrol "+strings.TrimPrefix(people[0].GetName(), "users/"),
			"nobody of it has a verified way to be reached: %s", strings.Join(others, ", "))
	}
	if len(others) > 0 {
		return warn(check, "enrol a phone for them", "%s can be reached, not so %s", strings.Join(reachable, ", "), strings.Join(others, ", "))
	}
	return ok(check, "%s can be reached", strings.Join(reachable, ", "))
}
