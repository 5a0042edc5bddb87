package respond

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Outcome is an incident after a command, or why that could not be carried out.
type Outcome struct {
	Incident *incident.Incident
	Err      error
}

// Tick is [Desk.Do] of an [incident.Tick] for several incidents, each of which is
// named once; the outcomes have their order. They are read in one trip, each is
// decided by itself, and the decisions are committed together: what becomes of
// one is nothing to the others.
func (d *Desk) Tick(ctx context.Context, ids ...incident.ID) []Outcome {
	outcomes := make([]Outcome, len(ids))
	offers := d.offerTicks(ctx, ids, outcomes)
	var commits []store.Commit
	var which []int
	for i, c := range offers {
		if c != nil {
			commits, which = append(commits, *c), append(which, i)
		}
	}
	var again sync.WaitGroup
	for k, r := range d.Store.CommitAll(ctx, commits) {
		o, id := &outcomes[which[k]], ids[which[k]]
		switch {
		case r.Err == nil:
			d.Tell(r.Committed)
			r.Stamp(o.Incident)
		case fault.KindOf(r.Err) == fault.Conflict: // somebody was faster
			again.Go(func() { o.Incident, o.Err = d.Do(ctx, id, incident.Tick{}, Options{}) })
		default:
			*o = Outcome{Err: fmt.Errorf("commit %T of incident %s: %w", incident.Tick{}, id, r.Err)}
		}
	}
	again.Wait()
	return outcomes
}

// ticksAtOnce is how many incidents are decided at the same time: those that need
// to know more, or claim a turn, read it together. A goroutine for each would
// spend more on its stack than on the decision.
const ticksAtOnce = 8

// offerTicks fills in the outcomes as far as they are known before the commits,
// and returns those, nil where there is nothing to commit.
func (d *Desk) offerTicks(ctx context.Context, ids []incident.ID, outcomes []Outcome) []*store.Commit {
	commits := make([]*store.Commit, len(ids))
	found := d.Store.Each(ctx, ids...)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(ticksAtOnce, len(ids)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ids)); i = next.Add(1) - 1 {
				outcomes[i], commits[i] = d.offerTick(ctx, ids[i], found[i])
			}
		})
	}
	wg.Wait()
	return commits
}

func (d *Desk) offerTick(ctx context.Context, id incident.ID, found store.Found) (Outcome, *store.Commit) {
	if found.Err != nil {
		return Outcome{Err: fmt.Errorf("read incident %s: %w", id, found.Err)}, nil
	}
	ctx, span := d.traced(ctx, found.Incident, incident.Tick{})
	defer span.End()
	after, c, err := d.offer(ctx, found.Incident, incident.Tick{}, Options{})
	if err != nil {
		return Outcome{Err: err}, nil
	}
	return Outcome{Incident: after}, c
}
