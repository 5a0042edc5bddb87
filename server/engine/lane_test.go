package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func entry(id, key string, a event.Action, s event.Severity) store.InboxEntry {
	return store.InboxEntry{ID: id, Service: "shop", Key: key, Event: event.Event{Action: a, Severity: s}}
}

func TestLanesFoldRunsOfTriggersAndKeepTheOrderOfAKey(t *testing.T) {
	lanes := byKey([]store.InboxEntry{
		entry("1", "a", event.Trigger, event.Warning), entry("2", "b", event.Trigger, event.Info),
		entry("3", "a", event.Trigger, event.Critical), entry("4", "a", event.Trigger, event.Info),
		entry("5", "a", event.Resolve, 0), entry("6", "a", event.Trigger, event.Error),
	})
	var got []string
	for _, l := range lanes {
		for len(l) > 0 {
			s := l.next()
			got = append(got, fmt.Sprint(s.Key, " ", s.Event.Action, " ", s.count, " ", s.severity, " ", s.ids))
		}
	}
	want := []string{"a trigger 3 critical [1 3 4]", "a resolve 1  [5]", "a trigger 1 error [6]", "b trigger 1 info [2]"}
	if !slices.Equal(got, want) {
		t.Errorf("steps\n got %q\nwant %q", got, want)
	}
}

// Every entry is in exactly one step, and the steps of a key are in order.
func TestLanesLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var entries []store.InboxEntry
		for i := range rapid.IntRange(0, 40).Draw(rt, "n") {
			entries = append(entries, entry(fmt.Sprintf("%03d", i), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key"),
				event.Action(rapid.IntRange(1, 3).Draw(rt, "action")), event.Critical))
		}
		seen := 0
		for _, l := range byKey(entries) {
			last := ""
			for len(l) > 0 {
				s := l.next()
				if s.count != len(s.ids) {
					rt.Fatalf("a step counts %d for %d entries", s.count, len(s.ids))
				}
				for _, id := range s.ids {
					if id <= last {
						rt.Fatalf("entry %s after %s", id, last)
					}
					last = id
					seen++
				}
			}
		}
		if seen != len(entries) {
			rt.Fatalf("%d of %d entries are in a step", seen, len(entries))
		}
	})
}

func TestOvertakenTrigger(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	at := func(d time.Duration) step {
		s := step{InboxEntry: entry("1", "a", event.Trigger, event.Critical)}
		s.Event.Timestamp = now.Add(d)
		return s
	}
	var v overtaken
	v.note(at(0), now)
	for name, c := range map[string]struct {
		s    step
		when time.Time
		want bool
	}{
		"older than the resolve": {at(-time.Second), now.Add(time.Second), true},
		"newer than the resolve": {at(time.Second), now.Add(time.Second), false},
		"without a time":         {step{InboxEntry: entry("1", "a", event.Trigger, event.Critical)}, now, false},
		"much later":             {at(-time.Second), now.Add(6 * time.Minute), false},
		"that began long ago":    {at(-time.Hour), now.Add(time.Second), false},
	} {
		if got := v.covers(c.s, c.when); got != c.want {
			t.Errorf("a trigger %s: overtaken %v, want %v", name, got, c.want)
		}
	}
}

// Every partition has one owner, and a member that leaves moves only its own.
func TestShares(t *testing.T) {
	members := []string{"a", "b", "c"}
	owners := map[store.Partition]string{}
	for _, m := range members {
		mine := share(m, members)
		if len(mine) < 10 {
			t.Errorf("%s owns %d of 64 partitions", m, len(mine))
		}
		for _, p := range mine {
			if other, ok := owners[p]; ok {
				t.Errorf("partition %s is owned by %s and %s", p, other, m)
			}
			owners[p] = m
		}
	}
	if len(owners) != store.Partitions {
		t.Errorf("%d partitions have an owner", len(owners))
	}
	for p, was := range owners {
		if now := keeper(p, []string{"a", "c"}); was != "b" && now != was {
			t.Errorf("partition %s moved from %s to %s when b left", p, was, now)
		}
	}
}
