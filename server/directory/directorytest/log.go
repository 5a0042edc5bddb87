// Package directorytest gives tests a directory without Redis.
package directorytest

import (
	"context"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Open returns an empty directory in memory, whose clock is now.
func Open(t testing.TB, now func() time.Time) *directory.Directory {
	t.Helper()
	keys, err := auth.NewKeyring([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.Open(t.Context(), directory.Options{
		Log: &Log{records: map[directory.Key]directory.Stored{}}, Keys: keys, Now: now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Log is a directory.Log in memory. Nobody waits for its changes.
type Log struct {
	mu      sync.Mutex
	records map[directory.Key]directory.Stored
	entries []directory.Entry
}

// Load implements directory.Log.
func (l *Log) Load(_ context.Context, f func(directory.Stored) error) (string, error) {
	l.mu.Lock()
	records, position := maps.Clone(l.records), strconv.Itoa(len(l.entries))
	l.mu.Unlock()
	for _, r := range records {
		if err := f(r); err != nil {
			return "", err
		}
	}
	return position, nil
}

// After implements directory.Log.
func (l *Log) After(_ context.Context, position string, _ time.Duration) ([]directory.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := strconv.Atoi(position)
	if err != nil || at < 0 || at > len(l.entries) {
		return nil, fault.New(fault.OutOfRange, "CURSOR", "there is no such position")
	}
	return l.entries[at:], nil
}

// Apply implements directory.Log.
func (l *Log) Apply(_ context.Context, changes []directory.Change, _ [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		if l.records[c.Key].Revision != c.Was {
			return fault.New(fault.Conflict, "REVISION_MOVED", "moved")
		}
	}
	for _, c := range changes {
		c.Revision = uint64(len(l.entries)) + 1 // never one that the record had before
		if l.records[c.Key] = c.Stored; len(c.Payload) == 0 {
			delete(l.records, c.Key)
		}
		l.entries = append(l.entries, directory.Entry{Position: strconv.Itoa(len(l.entries) + 1), Stored: c.Stored})
	}
	return nil
}
