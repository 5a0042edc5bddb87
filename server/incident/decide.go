package incident

import (
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// UnclaimedTurnError is the error of a decision that reached a round-robin
// level whose turn has not been claimed for this incident. The caller claims it
// for one of Members and decides again with a View that knows it.
type UnclaimedTurnError struct {
	Policy  escalation.PolicyID
	Level   int
	Members []roster.UserID // one per target, in order; "" where nobody can be asked
}

func (e *UnclaimedTurnError) Error() string {
	return fmt.Sprintf("the turn at level %d of policy %s has not been claimed", e.Level+1, e.Policy)
}

// Decide returns what the command leads to, or a fault. It changes none of its
// arguments. in is nil for [Begin] alone.
//
// Every race is settled by which decision is committed first: a decision is
// made on one revision and is void on any other.
func Decide(in *Incident, cmd Command, view View, now time.Time) (Decision, error) {
	t := &turn{view: view, now: now, d: &Decision{}}
	var err error
	if b, ok := cmd.(Begin); ok {
		t.in = &Incident{}
		err = t.begin(b)
	} else {
		t.in = in.clone()
		if now.Before(in.Updated) {
			t.now = in.Updated
		}
		err = t.apply(cmd)
	}
	switch {
	case err != nil:
		return Decision{}, err
	case t.unclaimed != nil:
		return Decision{}, t.unclaimed
	}
	return t.finish(), nil
}

// turn is one decision while it is being made.
type turn struct {
	in   *Incident // a copy: what it becomes
	view View
	now  time.Time
	d    *Decision
	// unclaimed is set when a turn would have to be claimed first: then the
	// rest of the decision is thrown away.
	unclaimed *UnclaimedTurnError
}

func (t *turn) apply(cmd Command) error {
	if err := t.refuseShadow(cmd); err != nil {
		return err
	}
	switch c := cmd.(type) {
	case Repeat:
		return t.repeat(c)
	case CloseAlert:
		return t.closeAlert(c)
	case Acknowledge:
		return t.acknowledge(c)
	case Confirm:
		return t.confirm(c)
	case Unacknowledge:
		return t.unacknowledge(c)
	case Resolve:
		return t.resolve(c)
	case Snooze:
		return t.snooze(c)
	case Escalate:
		return t.escalate(c)
	case Reassign:
		return t.reassign(c)
	case TakeOver:
		return t.takeOver(c)
	case Reopen:
		return t.reopen(c)
	case SetUrgency:
		return t.setUrgency(c)
	case SetPriority:
		return t.setPriority(c)
	case AddNote:
		return t.note(c)
	case RequestResponders:
		return t.requestResponders(c)
	case AcceptMerge:
		return t.acceptMerge(c)
	case CloseMerged:
		return t.closeMerged(c)
	case SplitOff:
		return t.splitOff(c)
	case Tick:
		return t.tick(c)
	case Undelivered:
		return t.undelivered(c)
	}
	return fault.New(fault.Internal, "COMMAND_UNKNOWN", fmt.Sprintf("no rule for the command %T", cmd))
}

// finish numbers the entries and stamps the document.
func (t *turn) finish() Decision {
	in, d := t.in, t.d
	for i := range d.Timeline {
		in.Seq++
		d.Timeline[i].Seq = in.Seq
		d.Timeline[i].At = t.now
	}
	if len(d.Timeline) > 0 {
		d.Changed = true
	}
	if d.Moved {
		d.Changed = true
		in.Version++
	}
	if d.Changed {
		in.Updated = t.now
		t.armHandOff()
	}
	for i := range d.Work {
		w := &d.Work[i]
		w.Incident, w.Generation, w.Revision, w.Trace, w.Severity = in.ID, in.Generation, in.Revision+1, in.Trace, in.Severity
		if w.Urgency == 0 {
			w.Urgency = in.Urgency
		}
	}
	d.Incident = in
	return *d
}

// tell appends an entry to the timeline.
func (t *turn) tell(e Entry) { t.d.Timeline = append(t.d.Timeline, e) }

// do adds work to be done outside.
func (t *turn) do(w Work) { t.d.Work = append(t.d.Work, w) }

// moved notes a change that a responder sees.
func (t *turn) moved() { t.d.Moved = true }

// hush makes every page void that has not begun.
func (t *turn) hush() { t.in.Generation++ }

func (t *turn) service() (catalog.Service, bool) { return t.view.Service(t.in.Service) }

// policy returns the version that the incident keeps. One that is gone is
// replaced by the newest of its name, so that an open incident goes on.
func (t *turn) policy() (escalation.Policy, bool) {
	if t.in.Policy.ID == "" {
		return escalation.Policy{}, false
	}
	if p, ok := t.view.Policy(t.in.Policy); ok {
		return p, true
	}
	p, ok := t.view.CurrentPolicy(t.in.Policy.ID)
	if ok {
		t.in.Policy = p.Ref()
	}
	return p, ok
}
