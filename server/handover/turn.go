package handover

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Turn is one hand-off of a schedule, with the stretches on both sides of it.
type Turn struct {
	schedule.HandOff

	Schedule schedule.ID
	Start    time.Time // when the shift began that ends, or the gap; at most [schedule.Horizon] before
	End      time.Time // when the turn ends that begins, or the gap; at most [schedule.Horizon] after
}

// Ahead is how long before his turn somebody may take incidents over: from when
// he is told of it for the first time.
const Ahead = 24 * time.Hour

// Nearest returns the hand-off that is nearest to an instant, from or to the
// user, or of anybody when the user is empty. Of two that are as near, it is the
// one that has been. False: there is none within the Horizon.
func Nearest(snap *directory.Snapshot, ids []schedule.ID, user roster.UserID, at time.Time) (Turn, bool) {
	var best Turn
	found := false
	for _, id := range ids {
		turns, err := snap.Turns(id)
		if err != nil {
			continue // not configured any more
		}
		last, before := turns.LastHandOff(at, user)
		next, after := turns.NextHandOff(at, user)
		if after && (!before || next.At.Sub(at) < at.Sub(last.At)) {
			last, before = next, true
		}
		if before && (!found || last.At.Sub(at).Abs() < best.At.Sub(at).Abs()) {
			best, found = turnOf(turns, last), true
		}
	}
	return best, found
}

// turnOf adds to a hand-off how far the stretches on both sides of it reach.
func turnOf(turns *schedule.Resolver, h schedule.HandOff) Turn {
	t := Turn{HandOff: h, Schedule: turns.Schedule().ID, Start: h.At.Add(-schedule.Horizon), End: h.At.Add(schedule.Horizon)}
	if last, ok := turns.LastHandOff(h.At.Add(-1), ""); ok {
		t.Start = last.At
	}
	if next, ok := turns.NextHandOff(h.At, ""); ok {
		t.End = next.At
	}
	return t
}

// Claim returns the hand-off by which a person may take incidents over now: the
// one with which his turn has begun, or the next one, if it is to him and within
// [Ahead]. Anybody else gets a Precondition fault that says whose turn it is.
func Claim(snap *directory.Snapshot, id schedule.ID, user roster.UserID, now time.Time) (Turn, error) {
	turns, err := snap.Turns(id)
	if err != nil {
		return Turn{}, err
	}
	holder := turns.At(now).User
	if holder == user {
		if last, ok := turns.LastHandOff(now, ""); ok {
			return turnOf(turns, last), nil
		}
		return turnOf(turns, schedule.HandOff{At: now, To: user}), nil // the only one, from ever on
	}
	next, ok := comes(turns, now)
	if ok && next.To == user && !next.At.After(now.Add(Ahead)) {
		next.From = holder // a gap in between changes nothing about who leaves
		return turnOf(turns, next), nil
	}
	f := fault.New(fault.Precondition, "NOT_YOUR_TURN",
		"you neither have the turn in this schedule nor are the next one to have it within 24 hours; who has it can take over, or take the schedule first",
		"schedule", "schedules/"+string(id))
	if holder != "" {
		f = f.With("holder", "users/"+string(holder))
	}
	if ok {
		f = f.With("next", "users/"+string(next.To)).With("next_time", next.At.UTC().Format(time.RFC3339))
	}
	return Turn{}, f
}

// comes returns the next hand-off to a person.
func comes(turns *schedule.Resolver, now time.Time) (schedule.HandOff, bool) {
	next, ok := turns.NextHandOff(now, "")
	if ok && next.To == "" {
		next, ok = turns.NextHandOff(next.At, "") // after a gap comes somebody
	}
	return next, ok
}

// MayLeaveNote reports whether a person leaves a note in his own shift: he has
// the turn, or has had it within [Ahead].
func MayLeaveNote(snap *directory.Snapshot, id schedule.ID, user roster.UserID, now time.Time) (bool, error) {
	turns, err := snap.Turns(id)
	if err != nil {
		return false, err
	}
	return len(turns.Held(user, now.Add(-Ahead), now.Add(1))) > 0, nil
}
