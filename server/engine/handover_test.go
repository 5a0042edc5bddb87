package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// TestWhatIsNewerIsHandedOver: an instance meets what only a newer version reads,
// of each kind. It neither puts it off nor away, gives its partitions back within
// two heartbeats, says so once, and does not go round in circles meanwhile.
func TestWhatIsNewerIsHandedOver(t *testing.T) {
	const service = catalog.ServiceID("shop")
	p := store.PartitionOf(string(service))
	newer := []byte{0, store.Schema + 1, 8, 1}
	document := func(i *instance, r *redis.Client) func() any {
		id := i.find(service, "k").ID
		key, timers := find(t, r, "*:i:"+string(id)), find(t, r, "*:tm")
		if err := r.SetRange(t.Context(), key, 17, fmt.Sprintf("%02d", store.Schema+1)).Err(); err != nil {
			t.Fatal(err)
		}
		return func() any {
			return []any{r.Get(t.Context(), key).Val(), r.ZScore(t.Context(), timers, "i:"+string(id)).Val()}
		}
	}
	entry := func(stream, field string, raw []byte) func(i *instance, r *redis.Client) func() any {
		return func(_ *instance, r *redis.Client) func() any {
			key := strings.Split(find(t, r, "*:open"), ":")[0] + ":" + stream
			id, err := r.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []any{field, raw}}).Result()
			if err != nil {
				t.Fatal(err)
			}
			return func() any { return r.XRange(t.Context(), key, id, id).Val() }
		}
	}
	for name, write := range map[string]func(i *instance, r *redis.Client) (stored func() any){
		"a document that is due": document,
		"the document of an event": func(i *instance, r *redis.Client) func() any {
			stored := document(i, r)
			i.send(service, "k", event.Trigger)
			return func() any { return []any{stored(), r.XLen(t.Context(), find(t, r, "*:in")).Val()} }
		},
		"an event": entry("in", "e", newer),
		"work":     entry("wk", "w", newer),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			said := &lines{}
			h.log = said
			i := h.start()
			h.world.hold(true) // nothing becomes due before it is a newer version's
			i.send(service, "k", event.Trigger)
			i.stored(service, "k")
			r := h.redis()
			stored := write(i, r)
			before, began := stored(), commands(t, r)
			h.world.hold(false)
			for deadline := time.Now().Add(15 * time.Second); len(i.engine.Owned()) > 0; {
				if time.Now().After(deadline) {
					t.Fatalf("it still owns %d partitions", len(i.engine.Owned()))
				}
				<-time.After(10 * time.Millisecond)
			}
			if n := commands(t, r) - began; n > 3000 {
				t.Errorf("%d commands until it gave up", n)
			}
			began = commands(t, r)
			<-time.After(2 * time.Second) // what would go round in circles would do so now
			if n := commands(t, r) - began; n > 50 {
				t.Errorf("%d commands in two seconds while it owns nothing", n)
			}
			if d := cmp.Diff(before, stored()); d != "" {
				t.Errorf("it is not as it was (-before +after):\n%s", d)
			}
			letters, err := i.store.DeadLetters(t.Context(), p, "", 10)
			if err != nil || len(letters) > 0 {
				t.Errorf("dead letters %+v (%v), want none", letters, err)
			}
			all := said.all()
			if n := strings.Count(all, "too old for what is stored"); n != 1 || strings.Count(all, "\n") > 10 {
				t.Errorf("it said %d times that it is too old, of\n%s", n, all)
			}
		})
	}
}

// commands is how many Redis has carried out.
func commands(t *testing.T, r *redis.Client) (n int) {
	t.Helper()
	for line := range strings.Lines(r.Info(t.Context(), "stats").Val()) {
		if _, err := fmt.Sscanf(line, "total_commands_processed:%d", &n); err == nil {
			return n
		}
	}
	t.Fatal("redis does not count its commands")
	return 0
}

// lines keeps what is logged, one message a line.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (*lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(r.Message + "\n")
	return nil
}

func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lines) WithGroup(string) slog.Handler      { return l }

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
