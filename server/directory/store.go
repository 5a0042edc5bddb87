package directory

import (
	"context"
	"time"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// StoreLog is the Log that the store keeps in Redis.
type StoreLog struct{ Store *store.Store }

// readAtOnce is how many entries of the log one call reads.
const readAtOnce = 2000

var _ Log = StoreLog{}

// Load implements Log.
func (l StoreLog) Load(ctx context.Context, f func(Stored) error) (string, error) {
	return l.Store.ConfigLoad(ctx, func(r store.ConfigRecord) error { return f(stored(r)) })
}

// After implements Log.
func (l StoreLog) After(ctx context.Context, position string, wait time.Duration) ([]Entry, error) {
	var events []store.ConfigEvent
	var err error
	if wait > 0 {
		events, err = l.Store.ConfigAwait(ctx, position, wait)
	} else {
		events, err = l.Store.ConfigChanges(ctx, position, readAtOnce)
	}
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(events))
	for i, e := range events {
		entries[i] = Entry{Position: e.Position, Stored: stored(e.Record)}
		if e.Deleted {
			entries[i].Payload = nil
		}
	}
	return entries, nil
}

// Apply implements Log.
func (l StoreLog) Apply(ctx context.Context, changes []Change, audit [][]byte) error {
	if len(changes) == 0 {
		return nil
	}
	out := make([]store.ConfigChange, len(changes))
	for i, c := range changes {
		out[i] = store.ConfigChange{
			Kind: string(c.Kind), ID: c.ID, Was: c.Was, Created: c.Created, Payload: c.Payload, Delete: len(c.Payload) == 0,
		}
	}
	_, err := l.Store.ConfigApply(ctx, changes[0].Updated, out, audit...)
	return err
}

func stored(r store.ConfigRecord) Stored {
	return Stored{
		Key: Key{Kind(r.Kind), r.ID}, Revision: r.Revision, Created: r.Created, Updated: r.Updated, Payload: r.Payload,
	}
}
