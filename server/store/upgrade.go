package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// While an installation is upgraded, instances of two versions run on one Redis.
// Everything is written in one schema, which is kept beside the data and is
// raised by a heartbeat (heartbeat.lua) when all who live read the next one. It
// never falls: an instance that cannot read it knows from that alone that there
// may be documents which it must leave to others (ADR 13).

// firstSchema is the oldest that this version writes: a new installation begins
// with it.
const firstSchema = 1

// schemaFields are those of the format that say how far an upgrade has come.
//
//nolint:gochecknoglobals // list of names
var schemaFields = []string{"schema", "by", "rising"}

// SchemaState is in which schema everything is written, and whether that changes.
type SchemaState struct {
	Written int       // what has to be read
	By      string    // the version that raised it; "" while it is the first
	To      int       // what it rises to; 0: it stays
	At      time.Time // when, unless an older instance is seen before
}

// ErrOutgrown says that only a newer version reads what is stored.
var ErrOutgrown = fault.New(fault.Precondition, "OUTGROWN", "what is stored was written by a newer version of tocsin")

// form is what this instance writes in.
func (s *Store) form() form { return form(min(s.schema.Load(), Schema)) } //nolint:gosec // two digits

// Outgrown returns nil while this version reads everything that may be stored,
// and otherwise says which version is needed (ErrOutgrown).
func (s *Store) Outgrown() error {
	written := s.schema.Load()
	if written <= Schema {
		return nil
	}
	need := "a newer version"
	if by := s.raisedBy.Load(); by != nil && *by != "" {
		need = "version " + *by + " or a later one"
	}
	return fmt.Errorf("%w: its schema is %d and this version reads up to %d; run %s", ErrOutgrown, written, Schema, need)
}

// Heed takes in that something was met that only a newer version reads, as the
// error (ErrNewerSchema) says: from the next heartbeat on everybody knows. It
// makes up for a failover that has set the schema back.
func (s *Store) Heed(err error) {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || !errors.Is(f, ErrNewerSchema) {
		return
	}
	var met int
	if _, err := fmt.Sscan(f.Meta["schema"], &met); err == nil {
		s.written(SchemaState{Written: met})
	}
}

// written notes in which schema everything is written. It never falls.
func (s *Store) written(state SchemaState) {
	n := int32(min(state.Written, 99)) //nolint:gosec // two digits in a prefix
	for had := s.schema.Load(); had < n; had = s.schema.Load() {
		if state.By != "" {
			s.raisedBy.Store(&state.By)
		}
		if s.schema.CompareAndSwap(had, n) {
			return
		}
	}
}

// checkSchema refuses data that only a newer version reads.
func (s *Store) checkSchema(ctx context.Context) error {
	if err := s.rdb.HSetNX(ctx, formatKey, "schema", firstSchema).Err(); err != nil && !isOOM(err) {
		return failed(err, "reach the store")
	}
	format, err := s.rdb.HMGet(ctx, formatKey, schemaFields...).Result()
	if err != nil {
		return failed(err, "read the schema of the stored data")
	}
	s.written(s.schemaState(format))
	return s.Outgrown()
}

// Readers returns the instances that read what is stored, by name: they share the
// partitions.
func (m Membership) Readers() []string {
	var names []string
	for _, i := range m.Members {
		if max(i.Schema, firstSchema) >= m.Schema.Written {
			names = append(names, i.Instance)
		}
	}
	return names
}

// schemaState reads the fields of the format. What is not there is as the first
// version left it.
func (s *Store) schemaState(format []any) SchemaState {
	field := func(i int) string {
		if i >= len(format) {
			return ""
		}
		text, _ := format[i].(string)
		return text
	}
	state := SchemaState{Written: firstSchema, By: field(1)}
	_, _ = fmt.Sscan(field(0), &state.Written)
	var since int64
	if _, err := fmt.Sscan(field(2), &state.To, &since); err != nil {
		state.To = 0
		return state
	}
	state.At = at(since).Add(s.o.WayBack)
	return state
}
