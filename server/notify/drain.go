package notify

import (
	"context"
	"time"
)

// drainWait is how long an end waits for what is under way. Recording how the
// last pushes ended takes milliseconds; a mail server that is out does not hold
// the process up.
const drainWait = 2 * time.Second

// Drain closes the notifier after what is under way has ended by itself, as far
// as that happens within two seconds and before ctx ends: a page that was taken
// by a push service and not recorded would be sent again by the next owner. Stop
// what gives it work first, and the sender of pushes.
func (n *Notifier) Drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainWait)
	defer cancel()
	ended := make(chan struct{})
	go func() { // Close below waits for the same
		n.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	n.Close()
}
