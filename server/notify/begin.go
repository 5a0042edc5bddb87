package notify

import (
	"context"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// lastLook asks whether a send may begin, and records it if so.
func (n *Notifier) lastLook(ctx context.Context, send store.Send) (store.Begun, error) {
	return n.begins.ask(ctx, n, n.home(ctx, send), send)
}

// home names what serves the document of a send; "" when that is in no partition,
// which the ledger tells.
func (n *Notifier) home(ctx context.Context, send store.Send) string {
	p, err := send.Doc.Partition()
	if err != nil {
		return ""
	}
	return n.o.Ledger.Home(ctx, p)
}

// beginAll begins the sends of several callers.
func (n *Notifier) beginAll(ctx context.Context, sends []store.Send) ([]store.Begun, []error) {
	return n.o.Ledger.BeginSend(ctx, n.now(), sends)
}

// recordEnd records how a send ended that was begun here.
func (n *Notifier) recordEnd(ctx context.Context, send store.Send) error {
	_, err := n.ends.ask(ctx, n, n.home(ctx, send), send)
	return err
}

// endAll records the ends of several callers' sends.
func (n *Notifier) endAll(ctx context.Context, sends []store.Send) ([]struct{}, []error) {
	return make([]struct{}, len(sends)), n.o.Ledger.EndSends(ctx, sends)
}
