package rpc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

type reason = pb.ExplainPagingResponse_Reason

// explanation is everything that tells why somebody was, or was not, paged.
type explanation struct {
	shaper

	in         *incident.Incident
	user       roster.User
	devices    []roster.Device
	timeline   []incident.Entry
	deliveries []incident.Delivery // to the person, oldest first
	person     *attention.Person
	settings   *directory.Settings
	policy     escalation.Policy
	snap       *directory.Snapshot // who is on call when

	facts []*pb.ExplainPagingResponse_Fact
}

func (s *incidents) ExplainPaging(ctx context.Context, req *pb.ExplainPagingRequest) (*pb.ExplainPagingResponse, error) {
	id := incident.ID(last(req.GetName()))
	u, err := callOf(ctx).user("user", req.GetUser())
	if err != nil {
		return nil, err
	}
	snap := s.c.Directory.Snapshot()
	user, ok := snap.User(u)
	if !ok {
		return nil, missing("user", userName(u))
	}
	e := &explanation{shaper: s.shape(), user: user, devices: snap.Devices(u), settings: snap.GetSettings(), snap: snap}
	if e.in, err = s.c.Store.Incident(ctx, id); err != nil {
		return nil, err
	}
	if e.timeline, err = s.c.Store.Timeline(ctx, id, 1, 0); err != nil {
		return nil, err
	}
	if e.deliveries, err = s.deliveries(ctx, id, u); err != nil {
		return nil, err
	}
	if e.person, err = s.c.Store.Person(ctx, u); err != nil {
		return nil, err
	}
	e.policy, _ = snap.Policy(e.in.Policy)
	return e.answer(id), nil
}

// mostExplained is how many deliveries an explanation shows.
const mostExplained = 200

func (e *explanation) answer(id incident.ID) *pb.ExplainPagingResponse {
	e.fromTimeline()
	e.fromDeliveries()
	e.fromPerson()
	e.fromNow()
	slices.SortStableFunc(e.facts, func(a, b *pb.ExplainPagingResponse_Fact) int {
		return instant(a.GetFactTime()).Compare(instant(b.GetFactTime()))
	})
	why, sentence := e.verdict()
	return &pb.ExplainPagingResponse{
		Paged: e.sent(), Reason: why, Summary: sentence, Facts: e.facts,
		Deliveries: each(e.deliveries[:min(len(e.deliveries), mostExplained)], func(d incident.Delivery) *pb.Delivery { return e.delivery(id, d) }),
	}
}

// say adds a fact.
func (e *explanation) say(at time.Time, why reason, seq int, delivery, format string, args ...any) {
	e.facts = append(e.facts, &pb.ExplainPagingResponse_Fact{
		FactTime: stamp(at), Reason: why, Text: fmt.Sprintf(format, args...), TimelineSeq: int64(seq), DeliveryId: delivery,
	})
}

// concerns reports whether an entry names the person.
func (e *explanation) concerns(x incident.Entry) bool {
	u, ok := x.Actor.User()
	return slices.Contains(x.Users, e.user.ID) || (ok && u == e.user.ID)
}

// fromTimeline takes from the history what touched the person, and what ended
// the asking while it was the person's turn.
func (e *explanation) fromTimeline() {
	for _, x := range e.timeline {
		switch x.Type {
		case incident.EntryAssigned:
			if e.concerns(x) {
				e.say(x.At, pb.ExplainPagingResponse_REASON_UNSPECIFIED, x.Seq, "", "%s", e.sentence(x))
			}
		case incident.EntryNotified:
			if e.concerns(x) {
				e.say(x.At, pb.ExplainPagingResponse_REASON_PAGED, x.Seq, "", "%s", e.sentence(x))
			}
		case incident.EntryDelivery:
			if e.concerns(x) {
				e.say(x.At, pb.ExplainPagingResponse_REASON_ALL_METHODS_FAILED, x.Seq, "", "%s", e.sentence(x))
			}
		case incident.EntryNoTarget:
			if x.Level < len(e.policy.Levels) && e.holds(e.policy.Levels[x.Level], x.At) {
				e.say(x.At, pb.ExplainPagingResponse_REASON_NO_METHOD, x.Seq, "", "%s", e.sentence(x))
			}
		default:
			if why, ok := enders[x.Type]; ok {
				if why == pb.ExplainPagingResponse_REASON_ACKNOWLEDGED_BEFORE && e.concerns(x) {
					why = pb.ExplainPagingResponse_REASON_ACKNOWLEDGED_BY_USER
				}
				e.say(x.At, why, x.Seq, "", "%s", e.sentence(x))
			}
		}
	}
}

// enders are the entries after which nobody is asked any more, for a while or for good.
var enders = map[incident.EntryType]reason{ //nolint:gochecknoglobals // look-up table
	incident.EntryAcknowledged: pb.ExplainPagingResponse_REASON_ACKNOWLEDGED_BEFORE,
	incident.EntryResolved:     pb.ExplainPagingResponse_REASON_RESOLVED_BEFORE,
	incident.EntrySnoozed:      pb.ExplainPagingResponse_REASON_SNOOZED_BEFORE,
	incident.EntryMergedOut:    pb.ExplainPagingResponse_REASON_MERGED_BEFORE,
}

// holds reports whether the person was among those whom the level asks at the instant.
func (e *explanation) holds(l escalation.Level, at time.Time) bool {
	return slices.ContainsFunc(l.Targets, func(t escalation.Target) bool {
		return slices.Contains(e.snap.OnCall(t, at), e.user.ID)
	})
}

// fromDeliveries says how far each page came.
func (e *explanation) fromDeliveries() {
	for _, d := range e.deliveries {
		if !d.Page {
			continue
		}
		to := string(d.Method)
		if d.Device != "" {
			to = "device " + string(d.Device)
		}
		switch {
		case d.State == incident.DeliveryExpired:
			e.say(cmp.Or(d.Ended, began(d)), pb.ExplainPagingResponse_REASON_EXPIRED, 0, d.ID, "The page to %s was too late to be worth sending.", to)
		case d.State.Refused():
			e.say(cmp.Or(d.Ended, began(d)), pb.ExplainPagingResponse_REASON_ALL_METHODS_FAILED, 0, d.ID, "The page to %s was refused: %s.", to, cmp.Or(d.Reason, "no reason given"))
		case d.State == incident.DeliveryWithdrawn:
			e.say(cmp.Or(d.Ended, began(d)), pb.ExplainPagingResponse_REASON_UNSPECIFIED, 0, d.ID, "The page to %s was not needed any more when its turn came.", to)
		case d.State >= incident.DeliveryReceived:
			e.say(firstOf(d.Received, d.Displayed, d.Opened, d.Acted), pb.ExplainPagingResponse_REASON_PAGED, 0, d.ID, "%s confirmed the page.", upper(to))
		case d.State == incident.DeliveryAccepted:
			e.say(cmp.Or(d.Accepted, d.Attempted), pb.ExplainPagingResponse_REASON_PAGED_UNCONFIRMED, 0, d.ID, "The page to %s was taken by its service; nothing confirmed it.", to)
		default:
			e.say(began(d), pb.ExplainPagingResponse_REASON_PAGED_UNCONFIRMED, 0, d.ID, "A page to %s is on its way.", to)
		}
	}
}

func firstOf(at ...time.Time) time.Time {
	var first time.Time
	for _, t := range at {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// fromPerson looks into what the person is still owed.
func (e *explanation) fromPerson() {
	for _, l := range e.person.Held {
		if l.Incident == e.in.ID {
			e.say(l.At, pb.ExplainPagingResponse_REASON_QUIET_HOURS, 0, "", "Held by quiet hours until %s.", e.person.Release.UTC().Format("2006-01-02 15:04 UTC"))
		}
	}
	for _, b := range e.person.Bundles {
		if slices.ContainsFunc(b.Items, func(i attention.Item) bool { return i.Incident == e.in.ID }) {
			why := pb.ExplainPagingResponse_REASON_BUNDLED
			if b.Kind == attention.BundleLow {
				why = pb.ExplainPagingResponse_REASON_DIGEST
			}
			e.say(zeroTime, why, 0, "", "Waits in a bundle until %s.", b.Until.UTC().Format("2006-01-02 15:04:05 UTC"))
		}
	}
	for _, i := range e.person.Open {
		if i.Incident == e.in.ID && i.Card != 0 {
			e.say(i.At, pb.ExplainPagingResponse_REASON_BUNDLED, 0, "", "Shown on one card with other incidents, as many came at once.")
		}
	}
}

// fromNow says what holds throughout.
func (e *explanation) fromNow() {
	if e.user.Inactive {
		e.say(zeroTime, pb.ExplainPagingResponse_REASON_USER_INACTIVE, 0, "", "%s is not active, and is never paged.", e.display(e.user.ID))
	} else if !e.user.Reachable(e.in.Urgency == incident.High, e.devices) {
		e.say(zeroTime, pb.ExplainPagingResponse_REASON_NO_METHOD, 0, "", "%s has no verified way to be reached.", e.display(e.user.ID))
	}
	if e.settings.Held {
		e.say(e.settings.HeldSince, pb.ExplainPagingResponse_REASON_PAGING_HELD, 0, "", "%s holds all paging: %s", e.principal(e.settings.HeldBy), e.settings.HeldReason)
	}
	if before := e.settings.OverdueBefore; e.in.Open() && e.in.WaitsAsOverdue(before) {
		e.say(before, pb.ExplainPagingResponse_REASON_PAGING_HELD, 0, "", "It was overdue before then, after a restore or a long outage, and waits for tocsin resume.")
	}
	if a := e.in.Assigned(e.user.ID); a != nil && !a.Next.IsZero() {
		e.say(a.Next, pb.ExplainPagingResponse_REASON_STEP_NOT_DUE, 0, "", "The next step of the plan is due then.")
	}
}

// sent reports whether at least one page went out.
func (e *explanation) sent() bool {
	return slices.ContainsFunc(e.deliveries, func(d incident.Delivery) bool {
		return d.Page && (!d.Accepted.IsZero() || d.State == incident.DeliveryAccepted || d.State >= incident.DeliveryReceived)
	})
}

func (e *explanation) has(why reason) bool {
	return slices.ContainsFunc(e.facts, func(f *pb.ExplainPagingResponse_Fact) bool { return f.GetReason() == why })
}

// confirmed reports whether anything proves that a page arrived.
func (e *explanation) confirmed() bool {
	return slices.ContainsFunc(e.deliveries, func(d incident.Delivery) bool {
		return d.Page && (d.State >= incident.DeliveryReceived || (d.Kind != roster.Push && d.State == incident.DeliveryAccepted))
	})
}

// verdict is the reason that sums it up: what happened first, then what kept it
// from happening, from the strongest to the weakest.
func (e *explanation) verdict() (reason, string) {
	who := e.display(e.user.ID)
	asked := slices.ContainsFunc(e.timeline, func(x incident.Entry) bool {
		return x.Type == incident.EntryAssigned && slices.Contains(x.Users, e.user.ID)
	})
	switch {
	case e.sent() && e.confirmed():
		return pb.ExplainPagingResponse_REASON_PAGED, who + " was paged, and it arrived."
	case e.sent():
		return pb.ExplainPagingResponse_REASON_PAGED_UNCONFIRMED, who + " was paged, and nothing confirmed that it arrived."
	case e.has(pb.ExplainPagingResponse_REASON_PAGING_HELD) && asked:
		return pb.ExplainPagingResponse_REASON_PAGING_HELD, "Nobody is paged: an operator holds all paging."
	case e.has(pb.ExplainPagingResponse_REASON_BUNDLED):
		return pb.ExplainPagingResponse_REASON_BUNDLED, who + " has it as part of one message about several incidents."
	case e.has(pb.ExplainPagingResponse_REASON_QUIET_HOURS):
		return pb.ExplainPagingResponse_REASON_QUIET_HOURS, "Low urgency is held by the quiet hours of " + who + "."
	case e.has(pb.ExplainPagingResponse_REASON_DIGEST):
		return pb.ExplainPagingResponse_REASON_DIGEST, "Low urgency is collected for " + who + "."
	case e.user.Inactive:
		return pb.ExplainPagingResponse_REASON_USER_INACTIVE, who + " is not active."
	case asked:
		return e.verdictAsked(who)
	}
	return e.verdictNotAsked(who)
}

// verdictAsked is that of somebody whose turn it was and who got no page.
func (e *explanation) verdictAsked(who string) (reason, string) {
	for _, d := range e.deliveries {
		if d.State == incident.DeliveryExpired {
			return pb.ExplainPagingResponse_REASON_EXPIRED, "The page to " + who + " was too late to be worth sending."
		}
	}
	if e.has(pb.ExplainPagingResponse_REASON_ALL_METHODS_FAILED) {
		return pb.ExplainPagingResponse_REASON_ALL_METHODS_FAILED, "Every way to reach " + who + " was tried and failed."
	}
	if e.has(pb.ExplainPagingResponse_REASON_NO_METHOD) {
		return pb.ExplainPagingResponse_REASON_NO_METHOD, who + " has no verified way to be reached."
	}
	if e.in.AckedBy(e.user.ID) {
		return pb.ExplainPagingResponse_REASON_ACKNOWLEDGED_BY_USER, who + " acknowledged it before a step of the plan was taken."
	}
	if e.has(pb.ExplainPagingResponse_REASON_STEP_NOT_DUE) {
		return pb.ExplainPagingResponse_REASON_STEP_NOT_DUE, "The next step of the plan of " + who + " is still to come."
	}
	if why, sentence := e.ended(); why != 0 {
		return why, sentence
	}
	return pb.ExplainPagingResponse_REASON_REASSIGNED_BEFORE, "It was given to somebody else before a step of the plan of " + who + " was taken."
}

// ended is how the asking ended.
func (e *explanation) ended() (reason, string) {
	switch {
	case e.in.MergedInto != "":
		return pb.ExplainPagingResponse_REASON_MERGED_BEFORE, "It was merged into another incident before."
	case e.in.Snoozed():
		return pb.ExplainPagingResponse_REASON_SNOOZED_BEFORE, "It was snoozed before."
	case e.in.Status == incident.Acknowledged:
		return pb.ExplainPagingResponse_REASON_ACKNOWLEDGED_BEFORE, "It was acknowledged before."
	case e.in.Status == incident.Resolved:
		return pb.ExplainPagingResponse_REASON_RESOLVED_BEFORE, "It was resolved before."
	}
	return 0, ""
}

// askedAt returns when the level was first asked; one that was not, is as it is
// since the incident began.
func (e *explanation) askedAt(level int) time.Time {
	for _, x := range e.timeline {
		if (x.Type == incident.EntryAssigned && x.Via == incident.ViaPolicy || x.Type == incident.EntryNoTarget) && x.Level == level {
			return x.At
		}
	}
	return e.in.Created
}

// takesTurns returns the first level with a schedule in which the person takes
// turns, and the schedule.
func (e *explanation) takesTurns() (level int, id schedule.ID) {
	turns := e.snap.SchedulesOf(e.user.ID)
	for i, l := range e.policy.Levels {
		for _, t := range l.Targets {
			if t.Kind == escalation.ScheduleTarget && slices.Contains(turns, schedule.ID(t.ID)) {
				return i, schedule.ID(t.ID)
			}
		}
	}
	return 0, ""
}

// verdictNotAsked is that of somebody whose turn it never was.
func (e *explanation) verdictNotAsked(who string) (reason, string) {
	at := -1
	for i, l := range e.policy.Levels {
		if e.holds(l, e.askedAt(i)) {
			at = i
			break
		}
	}
	if at < 0 {
		if i, id := e.takesTurns(); id != "" {
			return pb.ExplainPagingResponse_REASON_NOT_IN_TURN, fmt.Sprintf("Level %d asks whoever is on call by %s, and %s was not.", i+1, scheduleName(id), who)
		}
		return pb.ExplainPagingResponse_REASON_NOT_A_TARGET, "No level of the policy names " + who + ", and nobody else did."
	}
	reached := slices.ContainsFunc(e.timeline, func(x incident.Entry) bool {
		return (x.Type == incident.EntryAssigned && x.Via == incident.ViaPolicy || x.Type == incident.EntryNoTarget) && x.Level == at
	})
	switch {
	case reached && e.policy.Levels[at].Strategy == escalation.RoundRobin && !e.has(pb.ExplainPagingResponse_REASON_NO_METHOD):
		return pb.ExplainPagingResponse_REASON_NOT_IN_TURN, fmt.Sprintf("Level %d takes its people in turn, and it was another's.", at+1)
	case e.has(pb.ExplainPagingResponse_REASON_NO_METHOD):
		return pb.ExplainPagingResponse_REASON_NO_METHOD, who + " has no verified way to be reached."
	}
	return pb.ExplainPagingResponse_REASON_LEVEL_NOT_REACHED, fmt.Sprintf("%s is on level %d, which was not reached.", who, at+1)
}
