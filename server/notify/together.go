package notify

import (
	"context"
	"sync"
)

// together gathers questions while some are under way, so that a burst of pages
// is a few writes. There is no delay: what waits goes as soon as something
// before it has been answered.
//
// Questions to one home ([store.Store.Home]) go together, and wait for one
// another. One that is out holds up no question to the others.
type together[Q, A any] struct {
	answer func(ctx context.Context, questions []Q) ([]A, []error) // each, in order; no errors: all is well

	mu    sync.Mutex
	homes map[string]*questions[Q, A] // those with answers under way
}

// questions are those to one home.
type questions[Q, A any] struct {
	waiting []*question[Q, A]
	busy    int // lanes
}

// question is one of those that wait.
type question[Q, A any] struct {
	q        Q
	answered chan struct{}
	a        A
	err      error
}

const (
	mostTogether  = 64 // questions answered at once
	togetherLanes = 4  // answers of one home under way
)

// ask returns the answer to a question. When ctx ends first, it may still be answered.
func (t *together[Q, A]) ask(ctx context.Context, n *Notifier, home string, q Q) (A, error) {
	one := &question[Q, A]{q: q, answered: make(chan struct{})}
	t.mu.Lock()
	of := t.homes[home]
	if of == nil {
		of = &questions[Q, A]{}
		if t.homes == nil {
			t.homes = map[string]*questions[Q, A]{}
		}
		t.homes[home] = of
	}
	of.waiting = append(of.waiting, one)
	lane := of.busy < togetherLanes
	if lane {
		of.busy++
	}
	t.mu.Unlock()
	if lane {
		n.running.Go(func() { t.answerAll(n.context(), home, of) }) //nolint:contextcheck // it serves other callers too
	}
	select {
	case <-one.answered:
		return one.a, one.err
	case <-ctx.Done():
		var none A
		return none, ctx.Err()
	}
}

// answerAll answers what waits of a home until nothing does.
func (t *together[Q, A]) answerAll(ctx context.Context, home string, of *questions[Q, A]) {
	for {
		batch := t.take(home, of)
		if len(batch) == 0 {
			return
		}
		qs := make([]Q, len(batch))
		for i, one := range batch {
			qs[i] = one.q
		}
		answers, errs := t.answer(ctx, qs)
		for i, one := range batch {
			if one.a = answers[i]; errs != nil {
				one.err = errs[i]
			}
			close(one.answered)
		}
	}
}

// take returns what goes next. When nothing waits, the lane has ended.
func (t *together[Q, A]) take(home string, of *questions[Q, A]) []*question[Q, A] {
	t.mu.Lock()
	defer t.mu.Unlock()
	batch := of.waiting[:min(len(of.waiting), mostTogether)]
	of.waiting = of.waiting[len(batch):]
	if len(batch) > 0 {
		return batch
	}
	of.waiting = nil
	if of.busy--; of.busy == 0 {
		delete(t.homes, home)
	}
	return nil
}
