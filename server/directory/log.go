package directory

import (
	"context"
	"time"
)

// Stored is a record as the log keeps it.
type Stored struct {
	Key
	Revision uint64
	Created  time.Time
	Updated  time.Time
	Payload  []byte // empty: the record is gone
}

// Change is one record of an atomic change. The revision that it leads to is
// the log's to give: higher than any that the record ever had.
type Change struct {
	Stored        // Payload empty: remove the record. Updated: the instant of the change
	Was    uint64 // revision that must still be there; 0: the record must not exist
}

// Entry is one change as the log tells it, at its position.
type Entry struct {
	Position string
	Stored
}

// Log keeps the configuration and the order of its changes. The store is one.
type Log interface {
	// Load calls f with every record and returns the position of the log from
	// before the first was read: entries after it may be in already, and reading
	// them again does no harm.
	Load(ctx context.Context, f func(Stored) error) (position string, err error)
	// After returns the entries after the position, oldest first, at most a few
	// thousand; none means that there is no newer one. wait is how long to wait
	// for the first. A position that the log cannot continue from (trimmed, or
	// another log's) is an OutOfRange fault.
	After(ctx context.Context, position string, wait time.Duration) ([]Entry, error)
	// Apply makes all changes and writes the audit records, or does nothing: a
	// guard that misses is a Conflict fault.
	Apply(ctx context.Context, changes []Change, audit [][]byte) error
}
