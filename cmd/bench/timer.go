package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	levelDelay = 30 * time.Minute
	escalators = 10_000 // incidents that are escalated
	bystanders = 1_000_000
)

func timerScenes() []scene {
	return []scene{
		{name: "timer", play: func(ctx context.Context, st *stage) error { return playTimers(ctx, st, st.some(bystanders)) }, figures: []figure{
			atMost("timer_late_p50_ms", 5, "ms", "10,000 escalations due evenly over 10 s beside 1,000,000 armed timers: from when it is due until it is committed"),
			atMost("timer_late_p99_ms", 30, "ms", "the same"),
			atLeast("timer_late_earliest_ms", 0, "ms", "the same"),
		}},
		{name: "timer_burst", play: playBurst, figures: []figure{
			atMost("timer_burst_s", 1.5, "s", "10,000 escalations due at one instant, until all are committed"),
		}},
	}
}

// watchful are people whose phones ring a day later, so that escalating pages nobody.
func watchful() lab.Organisation {
	return lab.Organisation{Services: 50, People: 50, Devices: 1, FirstPage: 24 * time.Hour, LevelDelay: levelDelay}
}

func playTimers(ctx context.Context, st *stage, armed int) error {
	err := st.open(ctx, setting{organisation: watchful(), state: func(s *lab.Seed) error {
		return s.Make(ctx, armed, true, func(i int) lab.Wanted {
			return lab.Wanted{Service: i % 50, Created: time.Now(), Key: fmt.Sprint("armed-", i)}
		})
	}})
	if err != nil {
		return err
	}
	late, err := st.escalate(ctx, st.some(escalators), 10*time.Second)
	if err != nil {
		return err
	}
	st.measured("timer_late_p50_ms", quantile(late, 0.5))
	st.measured("timer_late_p99_ms", quantile(late, 0.99))
	st.measured("timer_late_earliest_ms", late[0])
	return nil
}

func playBurst(ctx context.Context, st *stage) error {
	if err := st.open(ctx, setting{organisation: watchful()}); err != nil {
		return err
	}
	late, err := st.escalate(ctx, st.some(escalators), 0)
	if err != nil {
		return err
	}
	st.measured("timer_burst_s", late[len(late)-1]/1000)
	return nil
}

// escalate makes n incidents whose escalation is due evenly over the span, a
// few seconds from now, and returns how many milliseconds after its instant
// each was committed, sorted. The instant of a commit is the one that Redis gave
// its entry in the feed; both are of this machine's clock.
func (st *stage) escalate(ctx context.Context, n int, span time.Duration) ([]float64, error) {
	tail, err := st.look.Store.FeedTail(ctx)
	if err != nil {
		return nil, err
	}
	first := time.Now().Add(5 * time.Second).Truncate(time.Millisecond)
	due := func(i int) time.Time {
		return first.Add(time.Duration(i) * span / time.Duration(n)).Truncate(time.Millisecond)
	}
	err = st.look.Make(ctx, n, true, func(i int) lab.Wanted {
		return lab.Wanted{Service: i % 50, Created: due(i).Add(-levelDelay), Key: fmt.Sprint("due-", i)}
	})
	if err != nil {
		return nil, err
	}
	if left := time.Until(first); left < 0 {
		return nil, fmt.Errorf("making %d incidents took %v too long: they were due before they were there", n, -left)
	}
	before, err := st.spent()
	if err != nil {
		return nil, err
	}
	var late []float64
	err = st.profiled(ctx, func() error {
		return st.until(ctx, "all are escalated", span+time.Minute, 200*time.Millisecond, func() (bool, error) {
			late, tail, err = st.escalated(ctx, late, tail)
			return len(late) >= n, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%d of %d: %w", len(late), n, err)
	}
	if err := st.noteSpent(before, n, "escalations"); err != nil {
		return nil, err
	}
	slices.Sort(late)
	return late, nil
}

// escalated reads on in the feed.
func (st *stage) escalated(ctx context.Context, late []float64, tail *store.Cursor) ([]float64, *store.Cursor, error) {
	for {
		entries, next, err := st.look.Store.Feeds(ctx, tail, 200)
		if err != nil || len(entries) == 0 {
			return late, tail, err
		}
		tail = next
		var ids []incident.ID
		var at []int64
		for _, e := range entries {
			if slices.Contains(e.Types, incident.EntryEscalated) {
				ids, at = append(ids, e.Incident), append(at, e.At.MS)
			}
		}
		found, err := st.look.Store.Incidents(ctx, ids...)
		if err != nil {
			return late, tail, err
		}
		for i, in := range found {
			late = append(late, float64(at[i]-in.Created.Add(levelDelay).UnixMilli()))
		}
	}
}
