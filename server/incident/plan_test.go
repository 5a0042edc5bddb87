package incident_test

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestPlanRunsAtItsTimes(t *testing.T) {
	w := incidenttest.New()
	w.SetPolicy("night", 0, incidenttest.Level(60*time.Minute, "ann"))
	s := trigger(t, w).received()
	s.until(14 * time.Minute)
	same(t, "pages", s.pages("ann"), []string{"push@0s", "push!@1m0s", "mail@3m0s", "push!@8m0s", "mail@8m0s", "push!@13m0s", "mail@13m0s"})
}

func TestSilentPhonePullsTheNextWayForward(t *testing.T) {
	w := incidenttest.New()
	u := w.Users["ann"]
	u.Methods = append(u.Methods, roster.Method{ID: "hook", Kind: roster.Webhook, Verified: true})
	u.High = append(u.High, roster.Step{Delay: 4 * time.Minute, Method: "hook"})
	w.Users["ann"] = u
	s := trigger(t, w)
	s.until(4*time.Minute + time.Second)
	// mail wakes nobody, so the hook is pulled with it; neither runs again at its own time;
	// the louder push stays silent too, and all that is left is to sound once more
	same(t, "pages", s.pages("ann"), []string{"push@0s", "mail@20s", "hook@20s", "push!@1m0s", "push!@1m20s"})
}

func TestSilentPhoneWithoutAnotherWayRingsLouder(t *testing.T) {
	w := incidenttest.New()
	u := w.Users["ann"]
	u.Methods, u.High = nil, []roster.Step{{Method: roster.PushAll}}
	w.Users["ann"] = u
	s := trigger(t, w)
	s.until(time.Minute)
	same(t, "pages", s.pages("ann"), []string{"push@0s", "push!@20s"})
}

func TestReceiptHoldsNothingBack(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.until(4 * time.Minute)
	same(t, "pages", s.pages("ann"), []string{"push@0s", "push!@1m0s", "mail@3m0s"})
}

func TestRefusedPushPullsAtOnceAndHurriesTheLevel(t *testing.T) {
	s := trigger(t, incidenttest.New())
	s.must(incident.Undelivered{User: "ann", Method: roster.PushAll, Generation: s.in.Generation, Reason: "Unregistered"})
	same(t, "pages", s.pages("ann"), []string{"push@0s", "mail@0s"})
	s.until(10 * time.Second)
	s.must(incident.Undelivered{User: "ann", Method: "mail", Generation: s.in.Generation, Reason: "550"})
	s.until(2 * time.Minute)
	same(t, "asked", s.assigned(), []string{"ann@0s", "bo@1m10s"}) // a minute after nothing was left, not after five
}

func TestStaleFailureIsIgnored(t *testing.T) {
	s := trigger(t, incidenttest.New())
	old := s.in.Generation
	s.must(incident.Acknowledge{By: by("ann")})
	n := len(s.work)
	s.must(incident.Undelivered{User: "ann", Method: roster.PushAll, Generation: old, Reason: "Unregistered"})
	if len(s.work) != n {
		t.Errorf("a failure of a page from before the acknowledgement made work: %+v", s.work[n:])
	}
}

func TestEngineWasDown(t *testing.T) {
	w := incidenttest.New()
	w.SetPolicy("night", 1, incidenttest.Level(60*time.Minute, "ann"))
	s := trigger(t, w)
	s.now = start.Add(20 * time.Minute)
	s.must(incident.Tick{Receipts: map[roster.UserID]incident.Receipt{"ann": {Received: true}}})
	same(t, "pages", s.pages("ann"), []string{"push@0s", "push!@20m0s", "mail@20m0s"}) // the latest of each, once

	w.SetPolicy("night", 1, incidenttest.Level(5*time.Minute, "ann"), incidenttest.Level(5*time.Minute, "bo"), incidenttest.Level(5*time.Minute, "cy"))
	s = trigger(t, w)
	s.now = start.Add(20 * time.Minute)
	s.must(incident.Tick{})
	same(t, "asked", s.assigned(), []string{"ann@0s", "bo@20m0s"}) // one level, and the next by its full delay
	if !s.in.Timers.Escalate.Equal(start.Add(25 * time.Minute)) {
		t.Errorf("next level at +%v", s.in.Timers.Escalate.Sub(start))
	}
}

func TestEditedPlan(t *testing.T) {
	w := incidenttest.New()
	w.SetPolicy("night", 0, incidenttest.Level(60*time.Minute, "ann"))
	s := trigger(t, w).received()
	s.until(90 * time.Second)
	u := w.Users["ann"]
	u.Methods = append(u.Methods, roster.Method{ID: "hook", Kind: roster.Webhook, Verified: true})
	u.High = []roster.Step{{Method: roster.PushAll}, {Delay: 30 * time.Second, Method: "hook"}, {Delay: 3 * time.Minute, Method: "mail"}, {Delay: 4 * time.Minute, Method: "hook"}}
	w.Users["ann"] = u
	s.until(4*time.Minute + time.Second)
	same(t, "pages", s.pages("ann"), []string{"push@0s", "push!@1m0s", "mail@3m0s", "hook@4m0s"})
}

func TestRemindersGetRarerAndNeverStop(t *testing.T) {
	w := incidenttest.New()
	w.SetPolicy("night", 0, incidenttest.Level(24*60*time.Minute, "ann"))
	s := trigger(t, w).received()
	s.until(5 * time.Hour)
	same(t, "limit told", len(s.at(incident.EntryReminderLimit)), 1)
	last := s.work[len(s.work)-1].at
	if last < 4*time.Hour+20*time.Minute {
		t.Errorf("the last reminder went out at +%v, want one every half hour still", last)
	}
}

func TestResponderIsAskedBesideTheAssignee(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.must(incident.RequestResponders{By: by("ann"), Users: []roster.UserID{"cy", "ann"}, Text: "database?"})
	s.until(6 * time.Minute)
	if s.in.Assigned("cy") == nil || s.in.Assigned("bo") == nil {
		t.Errorf("the helper does not stay over an escalation: %v", s.in.Assignees)
	}
	same(t, "cy", s.pages("cy")[0], "push@0s")
}

func TestProviderThatWasOutIsUsedAgain(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.must(incident.Undelivered{User: "ann", Method: roster.PushAll, Generation: s.in.Generation, Reason: "the push service is out", Passing: true})
	s.until(2 * time.Minute)
	same(t, "pages", s.pages("ann"), []string{"push@0s", "mail@0s", "push!@1m0s"})
}
