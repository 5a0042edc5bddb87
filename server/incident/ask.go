package incident

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// ask walks the policy from the level on and asks the first level that has
// somebody; levels without anybody are passed at once, with no delay. also are
// people who are asked besides, whatever the level says.
func (t *turn) ask(level int, also ...roster.UserID) {
	p, ok := t.policy()
	if level >= len(p.Levels) { // the policy has fewer by now
		level = 0
	}
	if ok && t.askFrom(p, level, also) {
		return
	}
	if ok && level > 0 && t.in.Loop < p.Loops { // the rest of this pass is empty: begin the next one
		t.repeatLoop()
		if t.askFrom(p, 0, also) {
			return
		}
	} else if ok && level > 0 && t.anybody(p) {
		if again := t.reachable(also); len(again) > 0 { // who had taken it lets go
			t.assign(again, ViaPolicy, t.in.Level)
		}
		t.exhaust(p)
		return
	}
	t.askLastResort(p, also)
}

// askFrom asks the first level from the given one on that has somebody.
func (t *turn) askFrom(p escalation.Policy, level int, also []roster.UserID) bool {
	for i := level; i < len(p.Levels); i++ {
		users := t.holders(p, i, true)
		if len(users) == 0 {
			if i+1 < len(p.Levels) {
				t.tell(Entry{Type: EntryEscalated, Actor: System("rule"), From: i, Level: i + 1, Loop: t.in.Loop, Cause: CauseNobody})
			}
			continue
		}
		t.enter(p, i, union(users, t.reachable(also)))
		return true
	}
	return false
}

// enter assigns the level to the people and arms its escalation.
func (t *turn) enter(p escalation.Policy, level int, users []roster.UserID) {
	in := t.in
	in.Level, in.Direct, in.Exhausted, in.Hurried = level, false, false, false
	in.MultiAck = p.Levels[level].MultiAck && len(users) > 1
	in.Timers.CatchAll, in.Timers.Fallback = time.Time{}, time.Time{}
	in.Timers.Escalate = time.Time{}
	if in.Urgency == High || p.EscalateLow {
		in.Timers.Escalate = t.now.Add(max(p.Levels[level].Delay, t.view.Pace().FastestLevel))
	}
	t.assign(users, ViaPolicy, level)
}

// repeatLoop begins the next pass over the policy.
func (t *turn) repeatLoop() {
	t.in.Loop++
	t.tell(Entry{Type: EntryLoopRepeated, Actor: System("timer"), Loop: t.in.Loop})
}

// exhaust is the end of the last loop: whoever was asked last stays asked and
// is reminded, and the fallback is paged now and every half hour.
func (t *turn) exhaust(p escalation.Policy) {
	in := t.in
	in.Exhausted, in.Timers.Escalate = true, time.Time{}
	t.tell(Entry{Type: EntryExhausted, Actor: System("timer"), Loop: in.Loop, Cause: CauseExhausted})
	t.moved()
	t.pageFallback(p)
}

// pageFallback pages the fallback once, beside whoever is asked, and arms the next time.
func (t *turn) pageFallback(p escalation.Policy) {
	users, via := t.lastResort(p)
	t.in.Timers.CatchAll = t.now.Add(t.view.Pace().RemindRarely)
	for _, u := range users {
		if a := t.in.Assigned(u); a != nil {
			t.page(a, firstStep(t.plan(u)), PageFallback)
			continue
		}
		t.join([]roster.UserID{u}, via)
	}
}

// askLastResort is for a policy that has nobody at all: the fallback, then the
// installation's catch-all are paged, and the policy is walked again in a
// minute without using up a loop.
func (t *turn) askLastResort(p escalation.Policy, also []roster.UserID) {
	in := t.in
	in.Level, in.Direct, in.MultiAck = 0, false, false
	in.Timers.Escalate = t.now.Add(t.view.Pace().EmptyPass)
	in.Timers.Fallback = time.Time{}
	users, via := t.lastResort(p)
	t.assign(union(users, t.reachable(also)), via, 0)
}

// widen asks whoever has become the last resort since it was asked: somebody
// put there because the one before cannot be reached.
func (t *turn) widen(p escalation.Policy) {
	users, via := t.lastResort(p)
	fresh := slices.DeleteFunc(t.reachable(users), func(u roster.UserID) bool { return t.in.Assigned(u) != nil })
	if len(fresh) > 0 {
		t.join(fresh, via)
	}
}

// lastResort returns who is asked when the policy has nobody.
func (t *turn) lastResort(p escalation.Policy) ([]roster.UserID, Via) {
	var users []roster.UserID
	for _, target := range p.Fallback {
		users = union(users, t.reachable(t.view.OnCall(target, t.now)))
	}
	if len(users) > 0 {
		return users, ViaFallback
	}
	all := t.view.Settings().CatchAll
	if users = t.reachable(all); len(users) > 0 {
		return users, ViaCatchAll
	}
	return slices.Clone(all), ViaCatchAll // nobody can be reached: at least it stands in their lists
}

// anybody reports whether any level has somebody now.
func (t *turn) anybody(p escalation.Policy) bool {
	for i := range p.Levels {
		if len(t.holders(p, i, false)) > 0 {
			return true
		}
	}
	return false
}

// holders returns who is asked at the level: everyone who holds one of its
// targets and can be reached, each once. With tell, it says why nobody is.
func (t *turn) holders(p escalation.Policy, level int, tell bool) []roster.UserID {
	l := p.Levels[level]
	members, order := make([]roster.UserID, 0, len(l.Targets)), make([]roster.UserID, 0, len(l.Targets))
	var all, mute []roster.UserID
	var gaps []schedule.ID
	for _, target := range l.Targets {
		held := t.view.OnCall(target, t.now)
		if target.Kind == escalation.ScheduleTarget && len(held) == 0 {
			gaps = append(gaps, schedule.ID(target.ID))
		}
		ready := t.reachable(held)
		for _, u := range held {
			if !slices.Contains(ready, u) {
				mute = union(mute, []roster.UserID{u})
			}
		}
		all = union(all, ready)
		if target.Kind != escalation.TeamTarget { // whoever holds it takes its place in turn
			members, order = append(members, firstOf(ready)), append(order, firstOf(held))
			continue
		}
		for _, u := range held { // each member has a place
			member := u
			if !slices.Contains(ready, u) {
				member = ""
			}
			members, order = append(members, member), append(order, u)
		}
	}
	if tell && (len(all) == 0 || len(mute) > 0) {
		t.uncovered(level, all, mute, gaps)
	}
	switch {
	case len(all) == 0:
		return nil
	case l.Strategy == escalation.RoundRobin:
		return []roster.UserID{t.turnOf(p.ID, level, members, order)}
	case l.Strategy == escalation.AnyOne:
		return []roster.UserID{drawn(t.in.ID, level, all)}
	}
	return all
}

// drawn returns one of the people by lot: always the same for an incident and
// level for as long as that one can be asked, evenly over incidents. Each
// person draws a number and the highest has it, so that whoever joins or leaves
// the others changes nothing for them.
func drawn(id ID, level int, people []roster.UserID) roster.UserID {
	lot := func(u roster.UserID) uint64 {
		h := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s", id, level, u))
		return binary.BigEndian.Uint64(h[:])
	}
	return slices.MaxFunc(people, func(a, b roster.UserID) int { return cmp.Compare(lot(a), lot(b)) })
}

// uncovered tells the owners that a level has nobody, or somebody who cannot be
// reached: those of each schedule that has nobody on call, or of the service.
func (t *turn) uncovered(level int, all, mute []roster.UserID, gaps []schedule.ID) {
	cause := CauseGap
	if len(mute) > 0 {
		cause = CauseNoMethod
	}
	t.tell(Entry{Type: EntryNoTarget, Actor: System("rule"), Level: level, Cause: cause, Users: mute})
	if len(all) > 0 {
		return
	}
	if len(gaps) == 0 || len(mute) > 0 {
		t.do(Work{Kind: WorkUncovered, Level: level, Cause: cause})
	}
	for _, id := range gaps {
		t.do(Work{Kind: WorkUncovered, Level: level, Cause: CauseGap, Schedule: id})
	}
}

// turnOf returns the member whose turn it is at a round-robin level. An
// incident keeps its member over loops; when he cannot be asked any more, the
// next one in order steps in without moving the cursor. members has a "" where
// the one in order cannot be asked.
func (t *turn) turnOf(policy escalation.PolicyID, level int, members, order []roster.UserID) roster.UserID {
	i := slices.IndexFunc(t.in.Turns, func(u Turn) bool { return u.Level == level })
	if i < 0 {
		u, ok := t.view.Turn(policy, level)
		if !ok {
			t.unclaimed = &UnclaimedTurnError{Policy: policy, Level: level, Members: members}
		}
		t.in.Turns = append(t.in.Turns, Turn{Level: level, User: u})
		i = len(t.in.Turns) - 1
	}
	u := t.in.Turns[i].User
	at := slices.Index(order, u)
	for k := range members {
		if m := members[(max(at, 0)+k)%len(members)]; m != "" {
			return m
		}
	}
	return u
}

// reachable returns those of the people who can be woken for the urgency.
func (t *turn) reachable(users []roster.UserID) []roster.UserID {
	var ready []roster.UserID
	for _, id := range users {
		u, ok := t.view.User(id)
		if ok && u.Reachable(t.in.Urgency == High, t.view.Devices(id)) {
			ready = append(ready, id)
		}
	}
	return ready
}

// firstOf returns the first of the people, "" for none.
func firstOf(users []roster.UserID) roster.UserID {
	if len(users) == 0 {
		return ""
	}
	return users[0]
}

// union returns a followed by those of b that it lacks.
func union(a, b []roster.UserID) []roster.UserID {
	for _, u := range b {
		if !slices.Contains(a, u) {
			a = append(a, u)
		}
	}
	return a
}
