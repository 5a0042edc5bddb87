package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

// InUse returns the open incidents that refer to the service, policy or user.
type InUse func(ctx context.Context, k Key) ([]string, error)

// Options are what a Directory needs. Log and Keys are required.
type Options struct {
	Log   Log
	Keys  auth.Keyring
	File  string        // encrypted copy on disk; empty: none
	Pace  incident.Pace // zero: DefaultPace
	InUse InUse         // nil: nothing is
	// Channels are the ways of reaching people that are set up here.
	Channels Channels
	// Changed is told of every change that this instance has made, once it is
	// durable. It must not block, and must not change the directory itself. nil is fine.
	Changed func(Changed)
	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: slog.Default
	// StartWait is how long Redis may take to answer at the start before the
	// copy on disk is used. 0: 5 s.
	StartWait time.Duration
}

// Directory is all configuration in memory, kept current.
type Directory struct {
	log       Log
	keys      auth.Keyring
	addresses auth.Sealer
	secrets   auth.Sealer
	inUse     InUse
	changed   func(Changed)
	now       func() time.Time
	logger    *slog.Logger
	empty     *Snapshot // what a full load begins from

	snap  atomic.Pointer[Snapshot]
	fresh atomic.Int64 // Unix ms at which the snapshot was last known to be the newest; 0: only read from disk
	moved chan struct{}

	moving  sync.Mutex    // guards publishing: whoever holds it may move snap
	catcher chan struct{} // one catch-up at a time
	tickets atomic.Uint64
	caught  uint64        // ticket of the last finished catch-up; guarded by catcher
	writer  chan struct{} // one local change at a time
	disk    *diskCopy     // nil: none
}

// Open returns a directory that holds the newest configuration, or, when Redis
// does not answer within StartWait and a copy is on disk, that copy; it says so
// in the log, and Run catches up as soon as Redis answers.
//
// A master key that is not the one that the installation's secrets are sealed
// under is a Precondition fault (MASTER_KEY_UNKNOWN).
func Open(ctx context.Context, o Options) (*Directory, error) {
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the default of an injected clock
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.StartWait == 0 {
		o.StartWait = 5 * time.Second
	}
	if o.Pace == (incident.Pace{}) {
		o.Pace = incident.DefaultPace()
	}
	d := &Directory{
		log: o.Log, keys: o.Keys, addresses: o.Keys.Sealer(addressPurpose), secrets: o.Keys.Sealer(secretPurpose),
		inUse: o.InUse, changed: o.Changed, now: o.Now, logger: o.Logger,
		empty:   &Snapshot{pace: o.Pace, channels: o.Channels, zones: &zones{}},
		moved:   make(chan struct{}, 1),
		catcher: make(chan struct{}, 1), writer: make(chan struct{}, 1),
	}
	d.snap.Store(d.empty)
	if o.File != "" {
		d.disk = newDiskCopy(o.File, o.Keys)
	}
	return d, d.start(ctx, o.StartWait)
}

func (d *Directory) start(ctx context.Context, wait time.Duration) error {
	have := d.readDisk(ctx)
	if !have {
		if err := d.sync(ctx); err != nil {
			return fmt.Errorf("load configuration: %w", err)
		}
		return d.checkKey(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := d.sync(limited)
	if err == nil {
		return d.checkKey(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.logger.WarnContext(ctx, "starting from the configuration on disk, because Redis does not answer",
		slog.Any("cause", err), slog.String("position", d.Snapshot().position), slog.Duration("waited", wait))
	return nil
}

// readDisk publishes the copy on disk, and reports whether there is one.
func (d *Directory) readDisk(ctx context.Context) bool {
	if d.disk == nil {
		return false
	}
	b := d.empty.build()
	position, n, err := d.disk.read(b.apply)
	switch {
	case err != nil:
		d.logger.WarnContext(ctx, "the configuration on disk cannot be used", slog.Any("cause", err))
		return false
	case n == 0:
		return false
	}
	b.next.position = position
	d.snap.Store(b.done())
	return true
}

// Snapshot returns the newest configuration that is known here.
func (d *Directory) Snapshot() *Snapshot { return d.snap.Load() }

// Age returns for how long the snapshot has not been confirmed to be the
// newest, and false when it never was: the server started from disk.
func (d *Directory) Age() (time.Duration, bool) {
	ms := d.fresh.Load()
	if ms == 0 {
		return 0, false
	}
	return max(0, d.now().Sub(time.UnixMilli(ms))), true
}

// Moved returns a channel that gets a value after the snapshot moved; values
// that nobody has read yet fold into one. For one reader.
func (d *Directory) Moved() <-chan struct{} { return d.moved }

// CatchUp returns when the snapshot has every change that was committed before
// the call. Calls at the same time share one reading of the log.
func (d *Directory) CatchUp(ctx context.Context) error {
	ticket := d.tickets.Load()
	select {
	case d.catcher <- struct{}{}:
		defer func() { <-d.catcher }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if d.caught > ticket { // one that began after this call has ended meanwhile
		return nil
	}
	began := d.tickets.Add(1)
	if err := d.sync(ctx); err != nil {
		return err
	}
	d.caught = began
	return nil
}

// sync reads the log to its end, or everything when the log cannot be continued.
func (d *Directory) sync(ctx context.Context) error {
	for {
		snap := d.Snapshot()
		if snap.position == "" {
			if err := d.reload(ctx); err != nil {
				return err
			}
			continue
		}
		entries, err := d.log.After(ctx, snap.position, 0)
		switch {
		case fault.KindOf(err) == fault.OutOfRange:
			d.logger.WarnContext(ctx, "the change log does not reach back; reading all configuration",
				slog.String("position", snap.position))
			if err := d.reload(ctx); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("read change log after %s: %w", snap.position, err)
		case len(entries) == 0:
			d.fresh.Store(d.now().UnixMilli())
			return nil
		default:
			d.advance(ctx, snap, entries)
		}
	}
}

// advance publishes the entries on top of from, unless somebody else has moved
// on from there meanwhile: then they are in already, and are read again from there.
func (d *Directory) advance(ctx context.Context, from *Snapshot, entries []Entry) {
	d.moving.Lock()
	defer d.moving.Unlock()
	if d.snap.Load() != from {
		return
	}
	b := from.build()
	for _, e := range entries {
		if err := b.apply(e.Stored); err != nil {
			d.unreadable(ctx, e.Key, err)
		}
	}
	b.next.position = entries[len(entries)-1].Position
	d.publish(b.done())
	if d.disk != nil {
		d.disk.changed(entries)
	}
}

// unreadable tells of one damaged record. It must not stop the others; the old
// state of it stays.
func (d *Directory) unreadable(ctx context.Context, k Key, cause error) {
	d.logger.ErrorContext(ctx, "configuration record cannot be read", slog.String("record", k.String()), slog.Any("cause", cause))
}

// reload reads everything. What was changed while it read comes again from the log.
func (d *Directory) reload(ctx context.Context) error {
	b := d.empty.build()
	position, err := d.log.Load(ctx, func(s Stored) error {
		if err := b.apply(s); err != nil {
			d.unreadable(ctx, s.Key, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read all configuration: %w", err)
	}
	for { // up to the end of the log before anybody sees it: half a change must not show
		entries, err := d.log.After(ctx, position, 0)
		if err != nil {
			return fmt.Errorf("read change log after %s: %w", position, err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			if err := b.apply(e.Stored); err != nil {
				d.unreadable(ctx, e.Key, err)
			}
		}
		position = entries[len(entries)-1].Position
	}
	b.next.position = position
	d.moving.Lock()
	defer d.moving.Unlock()
	d.publish(b.done())
	if d.disk != nil {
		d.disk.replaced()
	}
	return nil
}

func (d *Directory) publish(s *Snapshot) {
	d.snap.Store(s)
	select {
	case d.moved <- struct{}{}:
	default:
	}
}

// followWait is how long one wait for a change lasts. It is short, so that the
// snapshot is confirmed often; the connection is asked again at once.
const followWait = time.Second

// Run follows the log, keeps the copy on disk and tidies tombstones, until ctx
// ends. It returns an error only for what waiting does not mend: a master key
// that is not the installation's.
func (d *Directory) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if d.disk != nil {
		wg.Go(func() { d.keepDisk(ctx) })
	}
	wg.Go(func() { d.keepTidy(ctx) })
	checked := d.fresh.Load() != 0
	out := false
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		err := d.follow(ctx)
		if err == nil && !checked {
			if err = d.checkKey(ctx); fault.KindOf(err) == fault.Precondition {
				return err
			}
			checked = err == nil
		}
		switch {
		case err == nil && out:
			out, backoff = false, 0
			d.logger.InfoContext(ctx, "configuration is followed again", slog.String("position", d.Snapshot().position))
		case err != nil && ctx.Err() == nil:
			if !out {
				d.logger.WarnContext(ctx, "configuration cannot be followed", slog.Any("cause", err))
			}
			out, backoff = true, min(time.Second, max(50*time.Millisecond, 2*backoff))
			pause(ctx, backoff)
		}
	}
	return nil
}

// follow waits once for changes and takes them in.
func (d *Directory) follow(ctx context.Context) error {
	snap := d.Snapshot()
	if snap.position == "" {
		return d.sync(ctx)
	}
	entries, err := d.log.After(ctx, snap.position, followWait)
	switch {
	case fault.KindOf(err) == fault.OutOfRange:
		return d.sync(ctx)
	case err != nil:
		return err
	case len(entries) == 0:
		d.fresh.Store(d.now().UnixMilli())
		return nil
	}
	d.advance(ctx, snap, entries)
	return d.sync(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

const (
	keyCheckID    = "masterkey"
	structureID   = "structure"
	checkPurpose  = "master key check"
	secretPurpose = "method secret"
)

// checkKey holds the master key against the one that the installation began
// with, and leaves its mark on the first start.
func (d *Directory) checkKey(ctx context.Context) error {
	sealer := d.keys.Sealer(checkPurpose)
	for range maxAttempts {
		mark, ok := known[*internal](d.Snapshot(), kindInternal, keyCheckID)
		if ok {
			if _, err := sealer.Open(mark.Sealed, keyCheckID); err != nil {
				return fault.New(fault.Precondition, "MASTER_KEY_UNKNOWN",
					"the master key is not the one that this installation's secrets are sealed under; put the old key file back").Because(err)
			}
			if sealer.Current(mark.Sealed) {
				return nil
			}
		}
		sealed, err := sealer.Seal([]byte("tocsin"), keyCheckID)
		if err != nil {
			return fmt.Errorf("seal the mark of the master key: %w", err)
		}
		next := &internal{ID: keyCheckID, Sealed: sealed}
		if ok {
			next.Meta = mark.Meta
		}
		change, err := stamp(next, next.Revision, d.now())
		if err != nil {
			return err
		}
		err = d.log.Apply(ctx, []Change{change}, nil)
		if err == nil || fault.KindOf(err) == fault.Conflict { // another instance was faster: look at its mark
			if err := d.CatchUp(ctx); err != nil {
				return err
			}
			continue
		}
		return fmt.Errorf("keep the mark of the master key: %w", err)
	}
	return errors.New("the mark of the master key keeps changing")
}
