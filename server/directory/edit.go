package directory

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// maxAttempts is how often a change is made again because somebody else
// changed the same configuration at the same time.
const maxAttempts = 12

// maxChange is how many records one change may touch: it is one script in Redis.
const maxChange = 20_000

// By says who makes a change and how, for the audit records.
type By struct {
	Principal auth.Principal
	Method    string // full gRPC method, or the command
	Request   string // request id
	IP        string
	// Within are the teams whose things the change may touch, and no others; nil:
	// it may touch everything.
	Within []roster.TeamID
}

// ByServer names the server itself, and the part of it that changes something.
func ByServer(part string) By {
	return By{Principal: auth.Principal{Kind: auth.KindService, Name: "tocsin", Token: "tocsin"}, Method: part}
}

// Edit gathers one change. It belongs to the function that [Directory.Change]
// calls, and sees the configuration as it was before.
type Edit struct {
	*Snapshot
	Now   time.Time
	puts  map[Key]Record
	gone  map[Key]bool
	order []Key
	known map[Key]bool // of order
	force bool

	owner    string       // of the document that the edit carries out; empty: none
	declared map[Key]bool // what the document describes
	planned  string       // position of the log on which the edit was planned; empty: any
}

// Force takes policies and a catch-all that can reach nobody at present.
func (e *Edit) Force() { e.force = true }

// Create adds a record. One of that name that is in force is an Exists fault.
func (e *Edit) Create(r Record) error {
	k := r.key()
	if e.Exists(k) || e.puts[k] != nil {
		return fault.New(fault.Exists, "ALREADY_EXISTS", "there is a "+string(k.Kind)+" of that name already", "name", k.String())
	}
	e.put(k, r)
	return nil
}

// Update replaces a record. etag is the version that the caller saw; empty: whatever it is.
func (e *Edit) Update(r Record, etag string) error {
	k := r.key()
	if err := e.guard(k, etag); err != nil {
		return err
	}
	e.put(k, r)
	return nil
}

// Delete removes a record: its tombstone stays for as long as something may
// still speak of it. Repeating it is a NotFound fault.
func (e *Edit) Delete(k Key, etag string) error {
	if k.Kind == KindSettings || k.Kind == KindVersion || k.Kind == kindInternal {
		return fault.New(fault.Invalid, "NOT_DELETABLE", "records of that kind cannot be deleted", "name", k.String())
	}
	if err := e.guard(k, etag); err != nil {
		return err
	}
	delete(e.puts, k)
	e.gone[k] = true
	e.remember(k)
	return nil
}

func (e *Edit) guard(k Key, etag string) error {
	if k.Kind == KindSettings { // always there
		if now := e.GetSettings().ETag(); etag != "" && etag != now {
			return moved(k, etag, now)
		}
		return nil
	}
	if !e.Exists(k) {
		return notFound(k)
	}
	r, _ := e.records[k.Kind].get(k.ID)
	if now := r.meta().ETag(); etag != "" && etag != now {
		return moved(k, etag, now)
	}
	return nil
}

func moved(k Key, etag, now string) error {
	return fault.New(fault.Conflict, "REVISION_MOVED", "somebody changed "+k.String()+" meanwhile; read it again",
		"name", k.String(), "etag", etag, "current_etag", now)
}

func (e *Edit) put(k Key, r Record) {
	r = r.copied()
	normalise(r)
	delete(e.gone, k)
	e.puts[k] = r
	e.remember(k)
}

func (e *Edit) remember(k Key) {
	if !e.known[k] {
		e.known[k] = true
		e.order = append(e.order, k)
	}
}

// Change runs edit on the newest configuration, holds what it did against
// every rule, and applies it: all of it or nothing. When somebody else changed
// the same thing meanwhile, edit runs again on what is there now, so it must
// have no effect beside its Edit. The snapshot it returns has the change.
func (d *Directory) Change(ctx context.Context, by By, edit func(*Edit) error) (*Snapshot, error) {
	p, err := d.change(ctx, by, edit, false)
	return p.next, err
}

// Try runs edit and holds what it did against every rule, as Change does, and
// applies nothing: it returns the configuration without the change and with it.
func (d *Directory) Try(ctx context.Context, by By, edit func(*Edit) error) (before, after *Snapshot, err error) {
	p, err := d.change(ctx, by, edit, true)
	return p.before, p.next, err
}

// change is Change, or with dry only the checks of it.
func (d *Directory) change(ctx context.Context, by By, edit func(*Edit) error, dry bool) (prepared, error) {
	select {
	case d.writer <- struct{}{}:
		defer func() { <-d.writer }()
	case <-ctx.Done():
		return prepared{}, ctx.Err()
	}
	for attempt := range maxAttempts {
		if err := d.CatchUp(ctx); err != nil {
			return prepared{}, fault.New(fault.Unavailable, "DIRECTORY_BEHIND", "configuration cannot be changed now; try again").Because(err)
		}
		p, err := d.prepare(ctx, by, edit)
		if err != nil || dry || len(p.changes) == 0 {
			return p, err
		}
		if err := d.still(ctx, p); err != nil {
			return prepared{}, err
		}
		err = d.log.Apply(ctx, p.changes, p.audit)
		if err == nil {
			if d.changed != nil {
				d.changed(Changed{By: by, Before: p.before, After: p.next, Keys: p.keys})
			}
			p.next = d.applied(ctx, p)
			return p, nil
		}
		if fault.KindOf(err) != fault.Conflict {
			return prepared{}, fmt.Errorf("apply %d changes of configuration: %w", len(p.changes), err)
		}
		pause(ctx, time.Duration(rand.Int64N(int64(5*time.Millisecond)<<min(attempt, 5)))) //nolint:gosec // jitter
	}
	return prepared{}, fault.New(fault.Conflict, "REVISION_MOVED", "configuration is changed by too many at once; try again")
}

// applied returns a snapshot with the change, which is durable by now.
func (d *Directory) applied(ctx context.Context, p prepared) *Snapshot {
	if err := d.CatchUp(ctx); err != nil {
		d.logger.WarnContext(ctx, "a change is applied and cannot be read back yet", slog.Any("cause", err))
		return p.next
	}
	return d.Snapshot()
}

// Changed is a change that is durable.
type Changed struct {
	By            By
	Before, After *Snapshot // without it, and with it alone
	Keys          []Key     // of the records that it has changed
}

// prepared is a change that has passed every rule.
type prepared struct {
	before  *Snapshot
	planned string // see Edit
	keys    []Key
	next    *Snapshot
	changes []Change
	audit   [][]byte
	done    map[Key]outcome
}

// outcome is what a change does to one record.
type outcome struct {
	action Action
	fields []string
}

func (d *Directory) prepare(ctx context.Context, by By, edit func(*Edit) error) (prepared, error) {
	base, now := d.Snapshot(), d.now().UTC().Truncate(time.Millisecond)
	e := &Edit{Snapshot: base, Now: now, puts: map[Key]Record{}, gone: map[Key]bool{}, known: map[Key]bool{}}
	if err := edit(e); err != nil {
		return prepared{}, err
	}
	e.cascade()
	if err := e.settle(); err != nil {
		return prepared{}, err
	}
	if len(e.order) > maxChange {
		return prepared{}, fault.New(fault.Invalid, "CHANGE_TOO_LARGE",
			fmt.Sprintf("%d records change at once; at most %d may: split the change", len(e.order), maxChange))
	}
	for _, k := range e.order {
		if r := e.puts[k]; r != nil {
			if err := validate(r, base.pace, base.zones); err != nil {
				return prepared{}, about(k, err)
			}
		}
	}
	next := e.result()
	if err := e.checkWithin(next, by.Within); err != nil {
		return prepared{}, err
	}
	if err := e.check(ctx, next, d.inUse); err != nil {
		return prepared{}, err
	}
	return e.write(next, by)
}

// about says which record of a change a fault belongs to.
func about(k Key, err error) error {
	f, ok := asFault(err)
	if !ok {
		return fmt.Errorf("%s: %w", k, err)
	}
	return f.With("name", k.String())
}

// cascade deletes what belongs to what is deleted.
func (e *Edit) cascade() {
	for _, k := range slices.Clone(e.order) {
		if !e.gone[k] {
			continue
		}
		for _, kind := range []Kind{KindToken, KindDevice, KindOverride, KindShadow, KindCover, KindFeed, KindVacations} {
			if !belongs(kind, k.Kind) {
				continue
			}
			refs, _ := e.referrer.get(reference{k, kind})
			for id := range refs.all() {
				child := Key{kind, id}
				delete(e.puts, child)
				e.gone[child] = true
				e.remember(child)
			}
		}
	}
}

// settle drops puts that change nothing, and gives policies their versions.
func (e *Edit) settle() error {
	var order []Key
	for _, k := range e.order {
		r := e.puts[k]
		if r == nil {
			order = append(order, k)
			continue
		}
		if p, ok := r.(*Policy); ok {
			if v := e.version(p); v != nil {
				e.puts[v.key()] = v
				order = append(order, v.key())
			}
		}
		if err := e.mark(k, r); err != nil {
			return err
		}
		same, err := e.unchanged(k, r)
		if err != nil {
			return err
		}
		if same {
			delete(e.puts, k)
			continue
		}
		order = append(order, k)
	}
	e.order = order
	return nil
}

// version numbers a policy that changed, and returns the record that keeps it.
func (e *Edit) version(p *Policy) *Version {
	if old, ok := e.GetPolicy(p.ID); ok {
		p.Version = old.Version
		if samePolicy(p.Policy, old.Policy) {
			return nil
		}
	}
	last, _ := e.latest.get(p.ID)
	p.Version = last + 1
	return &Version{Policy: p.Policy}
}

func samePolicy(a, b escalation.Policy) bool {
	one, err1 := json.Marshal(storedPolicy(a))
	two, err2 := json.Marshal(storedPolicy(b))
	return err1 == nil && err2 == nil && string(one) == string(two)
}

func (e *Edit) unchanged(k Key, r Record) (bool, error) {
	old, ok := e.records[k.Kind].get(k.ID)
	if !ok || !old.meta().Deleted.IsZero() {
		return false, nil
	}
	r.meta().Deleted = time.Time{}
	one, err := encode(r)
	if err != nil {
		return false, err
	}
	two, err := encode(old)
	return string(one) == string(two), err
}

// tombstone returns what is left of a deleted record, nil for nothing. What
// was accepted before the deletion still finds its service and policy, and a
// timeline its people, by name only.
func tombstone(r Record, now time.Time) Record {
	switch r := r.(type) {
	case *Service, *Policy:
		c := r.copied()
		c.meta().Deleted = now
		return c
	case *User:
		c := &User{User: roster.User{ID: r.ID, Name: r.Name, Zone: r.Zone, Role: r.Role, Inactive: true}, Meta: r.Meta}
		c.Deleted = now
		return c
	default:
		return nil
	}
}

// result returns the configuration after the change, before it has revisions.
func (e *Edit) result() *Snapshot {
	b := e.build()
	for _, k := range e.order {
		if !e.gone[k] {
			r := e.puts[k]
			r.meta().Deleted = time.Time{}
			b.put(r)
			continue
		}
		old, _ := e.records[k.Kind].get(k.ID)
		if t := tombstone(old, e.Now); t != nil {
			e.puts[k] = t
			b.put(t)
		} else {
			b.remove(k)
		}
	}
	return b.done()
}
