package store

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// WakeKind says where there is something to do.
type WakeKind uint8

// The kinds of wake; several may be set.
const (
	WakeInbox WakeKind = 1 << iota // events were accepted
	WakeWork                       // work was written
	WakeTimer                      // a document wants to be decided at Due
	WakeFeed                       // something visible changed
)

// Wake tells that a partition has something to do. Wakes may get lost: whoever
// needs to be sure looks once a second as well.
type Wake struct {
	Partition Partition
	Kinds     WakeKind
	Due       time.Time // for WakeTimer: the earliest; the owner need not look before
	Local     bool      // written by this process
	First     *First    // for WakeInbox of this process: what is to be decided, when nothing comes before it; nil: not known
}

// hub hands wakes to the listeners of this process.
type hub struct {
	mu        sync.RWMutex
	listeners []*listener
}

type listener struct{ f func(Wake) }

func (h *hub) add(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners = append(h.listeners, l)
}

func (h *hub) remove(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners = slices.DeleteFunc(h.listeners, func(x *listener) bool { return x == l })
}

func (h *hub) tell(w Wake) {
	if w.Kinds == 0 {
		return
	}
	w.Local = true
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, l := range h.listeners {
		l.f(w)
	}
}

// Listen calls f for every wake, of this process and of the others, until ctx
// ends. f must not block: commits wait for it.
func (s *Store) Listen(ctx context.Context, f func(Wake)) error {
	l := &listener{f: f}
	s.wakes.add(l)
	defer s.wakes.remove(l)
	sub := s.rdb.Subscribe(ctx, wakeChannel)
	defer func() { _ = sub.Close() }() // only forgets the subscription
	messages := sub.Channel(redis.WithChannelSize(1024))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m, ok := <-messages:
			if !ok {
				return failed(redis.ErrClosed, "listen for wakes")
			}
			from, wakes := decodeWakes(m.Payload)
			if from == s.o.Instance {
				continue // told already
			}
			for _, w := range wakes {
				f(w)
			}
		}
	}
}

// Wake tells all instances that a partition has something to do.
func (s *Store) Wake(ctx context.Context, w Wake) error {
	s.wakes.tell(w)
	return failed(s.rdb.Publish(ctx, wakeChannel, encodeWakes(s.o.Instance, []Wake{w})).Err(), "wake partition %s", w.Partition)
}

// publish adds the wakes of a batch to its pipeline, behind the writes: one message for each partition at most.
// An instance that is alone tells nobody: Redis would wake its own subscriptions
// before it answers. One that has just come looks by itself for the first second.
func (s *Store) publish(ctx context.Context, pipe redis.Pipeliner, calls []*call) {
	if s.alone.Load() {
		return
	}
	var wakes []Wake
	for _, c := range calls {
		if c.wake.Kinds == 0 {
			continue
		}
		i := slices.IndexFunc(wakes, func(w Wake) bool { return w.Partition == c.wake.Partition })
		if i < 0 {
			wakes = append(wakes, c.wake)
			continue
		}
		wakes[i].Kinds |= c.wake.Kinds
		if !c.wake.Due.IsZero() && (wakes[i].Due.IsZero() || c.wake.Due.Before(wakes[i].Due)) {
			wakes[i].Due = c.wake.Due
		}
	}
	if len(wakes) > 0 {
		pipe.Publish(ctx, wakeChannel, encodeWakes(s.o.Instance, wakes))
	}
}

// encodeWakes writes the sender, NUL, then for each wake: partition, kinds, due in ms.
func encodeWakes(from string, wakes []Wake) string {
	b := append([]byte(from), 0)
	for _, w := range wakes {
		b = append(b, byte(w.Partition), byte(w.Kinds))
		b = binary.AppendVarint(b, ms(w.Due))
	}
	return string(b)
}

// decodeWakes reads what it can: a wake is a hint, and a later version may say more.
func decodeWakes(payload string) (from string, wakes []Wake) {
	from, rest, _ := strings.Cut(payload, "\x00")
	b := []byte(rest)
	for len(b) > 2 {
		due, n := binary.Varint(b[2:])
		if n <= 0 || b[0] >= Partitions {
			break
		}
		wakes = append(wakes, Wake{Partition: Partition(b[0]), Kinds: WakeKind(b[1]), Due: at(due)})
		b = b[2+n:]
	}
	return from, wakes
}
