package notify

import (
	"context"
	"sync"
)

// together gathers questions while some are under way, so that a burst of pages
// is a few writes. There is no delay: what waits goes as soon as something
// before it has been answered.
type together[Q, A any] struct {
	answer func(ctx context.Context, questions []Q) ([]A, error) // each, in order

	mu      sync.Mutex
	waiting []*question[Q, A]
	busy    int
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
	togetherLanes = 4  // answers under way
)

// ask returns the answer to a question. When ctx ends first, it may still be answered.
func (t *together[Q, A]) ask(ctx context.Context, n *Notifier, q Q) (A, error) {
	one := &question[Q, A]{q: q, answered: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, one)
	lane := t.busy < togetherLanes
	if lane {
		t.busy++
	}
	t.mu.Unlock()
	if lane {
		n.running.Go(func() { t.answerAll(n.context()) }) //nolint:contextcheck // it serves other callers too
	}
	select {
	case <-one.answered:
		return one.a, one.err
	case <-ctx.Done():
		var none A
		return none, ctx.Err()
	}
}

// answerAll answers what waits until nothing does.
func (t *together[Q, A]) answerAll(ctx context.Context) {
	for {
		t.mu.Lock()
		batch := t.waiting[:min(len(t.waiting), mostTogether)]
		t.waiting = t.waiting[len(batch):]
		if len(batch) == 0 {
			t.waiting = nil
			t.busy--
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		questions := make([]Q, len(batch))
		for i, one := range batch {
			questions[i] = one.q
		}
		answers, err := t.answer(ctx, questions)
		for i, one := range batch {
			if one.err = err; err == nil {
				one.a = answers[i]
			}
			close(one.answered)
		}
	}
}
