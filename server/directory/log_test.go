package directory

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// journal is a Log in memory, for the laws that need thousands of changes; the
// tests of the real one are in log_redis_test.go.
type journal struct {
	mu      sync.Mutex
	records map[Key]Stored
	entries []Entry
	first   int // entries before it are trimmed
	down    error
	audit   [][]byte
	wake    chan struct{}
}

func newJournal() *journal { return &journal{records: map[Key]Stored{}, wake: make(chan struct{})} }

func (j *journal) Load(_ context.Context, f func(Stored) error) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		return "", j.down
	}
	for _, r := range j.records {
		if err := f(r); err != nil {
			return "", err
		}
	}
	return strconv.Itoa(len(j.entries)), nil
}

func (j *journal) After(ctx context.Context, position string, wait time.Duration) ([]Entry, error) {
	deadline := time.After(wait)
	for {
		j.mu.Lock()
		at, err := strconv.Atoi(position)
		if j.down != nil {
			err = j.down
		} else if err != nil || at < j.first || at > len(j.entries) {
			err = fault.New(fault.OutOfRange, "CURSOR", "too old")
		}
		if err != nil || at < len(j.entries) {
			defer j.mu.Unlock()
			if err != nil {
				return nil, err
			}
			return j.entries[at:min(len(j.entries), at+3)], nil
		}
		wake := j.wake
		j.mu.Unlock()
		if wait == 0 {
			return nil, nil
		}
		select {
		case <-wake:
		case <-deadline:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (j *journal) Apply(_ context.Context, changes []Change, audit [][]byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		return j.down
	}
	for _, c := range changes {
		if j.records[c.Key].Revision != c.Was {
			return fault.New(fault.Conflict, "REVISION_MOVED", "moved")
		}
	}
	for _, c := range changes {
		if c.Revision = c.Was + 1; c.Was == 0 {
			c.Revision = uint64(len(j.entries)) + 1 // never one that the record had before
		}
		if len(c.Payload) == 0 {
			delete(j.records, c.Key)
		} else {
			j.records[c.Key] = c.Stored
		}
		j.entries = append(j.entries, Entry{Position: strconv.Itoa(len(j.entries) + 1), Stored: c.Stored})
	}
	j.audit = append(j.audit, audit...)
	close(j.wake)
	j.wake = make(chan struct{})
	return nil
}

func (j *journal) set(down error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down = down
}

func (j *journal) all() map[Key]Stored {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.records)
}

func testKeys() auth.Keyring {
	ring, err := auth.NewKeyring([32]byte{7})
	if err != nil {
		panic(err)
	}
	return ring
}

type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

func open(t tb, log Log, change ...func(*Options)) *Directory {
	t.Helper()
	o := Options{Log: log, Keys: testKeys(), Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	d, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func onDisk(t *testing.T) func(*Options) {
	path := filepath.Join(t.TempDir(), "directory")
	return func(o *Options) { o.File, o.StartWait = path, 50*time.Millisecond }
}

// The records of the tests.
func user(id string, change ...func(*User)) *User {
	u := &User{User: roster.User{
		ID: roster.UserID(id), Name: id, Email: id + "@example.org", Zone: "UTC", Role: roster.Responder,
		Methods: []roster.Method{{ID: "mail", Kind: roster.Email, Address: id + "@example.org", Verified: true}},
	}}
	for _, f := range change {
		f(u)
	}
	return u
}

func policy(id string, users ...string) *Policy {
	p := &Policy{Policy: escalation.Policy{ID: escalation.PolicyID(id), Name: id}}
	for _, u := range users {
		p.Levels = append(p.Levels, escalation.Level{
			Delay: 5 * time.Minute, Targets: []escalation.Target{{Kind: escalation.UserTarget, ID: u}},
		})
	}
	return p
}

func service(id, policy string) *Service {
	s := &Service{}
	s.Name, s.Policy = id, escalation.PolicyID(policy)
	s.ID = svcID(id)
	return s
}

func integration(id, svc, key string) *Integration {
	in := &Integration{}
	in.ID, in.Service, in.Name, in.Source = intID(id), svcID(svc), id, "generic"
	in.SetKey(key)
	return in
}

func device(id, user string, change ...func(*Device)) *Device {
	d := &Device{Device: roster.Device{
		ID: roster.DeviceID(id), User: roster.UserID(user), Name: id, Platform: roster.IOS, State: roster.DeviceActive,
	}, Credential: auth.HashSecret(id)}
	d.Address = Address{Kind: APNs, Lookup: LookupOf(APNs, id), Sealed: []byte("x"), Hint: id}
	for _, f := range change {
		f(d)
	}
	return d
}

// create changes the directory by adding the records.
func create(t tb, d *Directory, records ...Record) *Snapshot {
	t.Helper()
	s, err := d.Change(t.Context(), By{Principal: auth.Console(), Method: "test"}, func(e *Edit) error {
		for _, r := range records {
			if err := e.Create(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
