// Package readiness says whether a person could be woken now, and what to do if
// not. It is pure, and the one place where that is decided: the list of who is
// on call, the status and the warnings before a shift all ask it.
package readiness

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Verdict is whether somebody could be woken. The zero Verdict is invalid.
type Verdict uint8

// The verdicts, the best first.
const (
	Ready    Verdict = iota + 1 // something has shown lately that a page would ring
	Doubtful                    // he is paged, and nothing shows that it would wake him
	NotReady                    // nothing could reach him
)

// Reason is what keeps somebody from being ready, and the fix, in a sentence.
type Reason struct {
	Device roster.DeviceID // which it is about; empty: the person
	Text   string
}

// Answer is what is said of a person. One who is ready needs no reasons.
type Answer struct {
	Verdict Verdict
	Reasons []Reason
}

// Of says whether the person could be woken now: whether a step of what is done
// for urgent pages goes to a phone of which something was heard lately, or to a
// webhook. words are the last that was heard of each device.
func Of(u roster.User, devices []roster.Device, words map[roster.DeviceID]roster.Word, now time.Time) Answer {
	if u.Inactive {
		return Answer{NotReady, []Reason{{"", "The account is inactive: put somebody else on call."}}}
	}
	devices = slices.DeleteFunc(slices.Clone(devices), func(d roster.Device) bool { return d.State == roster.DeviceRevoked })
	green := func(d roster.Device) bool {
		health, _ := d.Health(words[d.ID], now)
		return health == roster.HealthGreen && d.Native()
	}
	missed, drilled := drill(devices, words)
	if slices.ContainsFunc(u.Plan(true), func(s roster.Step) bool { return u.Works(s, devices) && rings(u, s, devices, green) }) {
		if drilled {
			return Answer{Doubtful, []Reason{missed}}
		}
		return Answer{Verdict: Ready}
	}
	a := Answer{Verdict: Doubtful}
	if !u.Reachable(true, devices) {
		a.Verdict = NotReady
	}
	if drilled {
		a.Reasons = append(a.Reasons, missed)
	}
	slices.SortStableFunc(devices, func(a, b roster.Device) int { // what is nearest to being ready is the first to mend
		one, _ := a.Health(words[a.ID], now)
		two, _ := b.Health(words[b.ID], now)
		return int(one) - int(two)
	})
	for _, d := range devices {
		switch health, text := d.Health(words[d.ID], now); {
		case health != roster.HealthGreen:
			a.Reasons = append(a.Reasons, Reason{d.ID, text})
		case d.Native():
			a.Reasons = append(a.Reasons, Reason{d.ID, "No step for urgent pages goes to it: have one push to all devices."})
		}
	}
	if len(devices) == 0 {
		a.Reasons = append(a.Reasons, Reason{"", "No phone is enrolled, and mail wakes nobody: enrol one."})
	}
	return a
}

// drill reports whether the last fire drill was heard on none of the devices that
// it went to, and none of them has passed a test since.
func drill(devices []roster.Device, words map[roster.DeviceID]roster.Word) (Reason, bool) {
	var last time.Time
	for _, d := range devices {
		if at := words[d.ID].Drill; at.After(last) {
			last = at
		}
	}
	if last.IsZero() || slices.ContainsFunc(devices, func(d roster.Device) bool {
		w := words[d.ID]
		return w.Drill.Equal(last) && w.Heard || w.Passed && w.Test.After(last)
	}) {
		return Reason{}, false
	}
	return Reason{"", "The fire drill of " + last.UTC().Format("2 January") + " was heard on no device: send a test to each, or hold another drill."}, true
}

// With returns the answer with one more reason not to be sure.
func (a Answer) With(text string) Answer {
	return Answer{max(a.Verdict, Doubtful), append(slices.Clone(a.Reasons), Reason{"", text})}
}

// rings reports whether a step that works would wake somebody.
func rings(u roster.User, s roster.Step, devices []roster.Device, green func(roster.Device) bool) bool {
	switch m, _ := u.Method(s.Method); m.Kind {
	case roster.Webhook:
		return true
	case roster.Push:
		return slices.ContainsFunc(devices, func(d roster.Device) bool {
			return (m.Device == "" || m.Device == d.ID) && d.Pageable() && green(d)
		})
	default:
		return false
	}
}
