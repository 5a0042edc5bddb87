package notify

import (
	"context"
	"sync"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// begins gathers last looks while one is under way, so that a burst of pages is
// a few writes. There is no delay: what waits goes as soon as the one before it
// has answered.
type begins struct {
	mu      sync.Mutex
	waiting []*beginning
	busy    int
}

// beginning is one send that waits for its last look.
type beginning struct {
	send   store.Send
	answer chan struct{}
	begun  store.Begun
	err    error
}

const (
	maxBegins  = 64 // in one look
	beginLanes = 4  // looks under way
)

// lastLook asks whether a send may begin, and records it if so.
func (n *Notifier) lastLook(ctx context.Context, send store.Send) (store.Begun, error) {
	b := &beginning{send: send, answer: make(chan struct{})}
	n.begins.mu.Lock()
	n.begins.waiting = append(n.begins.waiting, b)
	lane := n.begins.busy < beginLanes
	if lane {
		n.begins.busy++
	}
	n.begins.mu.Unlock()
	if lane {
		n.running.Go(func() { n.lookAll(n.context()) }) //nolint:contextcheck // it serves other callers too
	}
	select {
	case <-b.answer:
		return b.begun, b.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// lookAll answers what waits until nothing does.
func (n *Notifier) lookAll(ctx context.Context) {
	for {
		n.begins.mu.Lock()
		batch := n.begins.waiting[:min(len(n.begins.waiting), maxBegins)]
		n.begins.waiting = n.begins.waiting[len(batch):]
		if len(batch) == 0 {
			n.begins.waiting = nil
			n.begins.busy--
			n.begins.mu.Unlock()
			return
		}
		n.begins.mu.Unlock()
		sends := make([]store.Send, len(batch))
		for i, b := range batch {
			sends[i] = b.send
		}
		begun, err := n.o.Ledger.BeginSend(ctx, n.now(), sends)
		for i, b := range batch {
			if b.err = err; err == nil {
				b.begun = begun[i]
			}
			close(b.answer)
		}
	}
}
