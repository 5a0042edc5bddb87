package directory

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// How long tombstones and old versions are kept.
const (
	keepService = 7 * 24 * time.Hour   // events accepted before the deletion still page
	keepArchive = 400 * 24 * time.Hour // as long as archived incidents name them
	keepToken   = 30 * 24 * time.Hour  // after it stopped working, so that one can see why
	keepDevice  = keepArchive          // after it was taken out: deliveries name it
)

const tidyEvery = time.Hour

func (d *Directory) keepTidy(ctx context.Context) {
	for {
		// Jitter, so that instances started together do not meet every hour.
		pause(ctx, tidyEvery/2+rand.N(tidyEvery)) //nolint:gosec // jitter
		if ctx.Err() != nil {
			return
		}
		if err := d.Tidy(ctx); err != nil && ctx.Err() == nil {
			d.logger.WarnContext(ctx, "old configuration cannot be removed", slog.Any("cause", err))
		}
	}
}

// Tidy removes tombstones, superseded versions and tokens whose time is over.
// Of several instances that do so at once, one removes a record.
func (d *Directory) Tidy(ctx context.Context) error {
	snap := d.Snapshot()
	for _, r := range snap.outdated(d.now()) {
		k, rev := r.key(), r.meta().Revision
		if v, ok := r.(*Version); ok && d.inUse != nil {
			open, err := d.inUse(ctx, Key{KindVersion, versionID(v.Ref())})
			if err != nil {
				return fmt.Errorf("look for open incidents of %s: %w", k, err)
			}
			if len(open) > 0 {
				continue
			}
		}
		err := d.log.Apply(ctx, []Change{{Stored: Stored{Key: k, Revision: rev + 1, Updated: d.now()}, Was: rev}}, nil)
		if err != nil && fault.KindOf(err) != fault.Conflict {
			return fmt.Errorf("remove %s: %w", k, err)
		}
	}
	return d.CatchUp(ctx)
}

// outdated returns the records that nothing speaks of any more.
func (s *Snapshot) outdated(now time.Time) []Record {
	var out []Record
	add := func(kind Kind, life time.Duration) {
		for _, r := range s.records[kind].all() {
			if at := r.meta().Deleted; !at.IsZero() && now.Sub(at) > life {
				out = append(out, r)
			}
		}
	}
	add(KindService, keepService)
	add(KindPolicy, keepArchive) // its versions go by their own age, and the newest with it
	add(KindUser, keepArchive)
	for t := range s.Tokens() {
		if end := earlier(t.Expires, t.Revoked); !end.IsZero() && now.Sub(end) > keepToken {
			out = append(out, t)
		}
	}
	for o := range s.Overrides() {
		if now.Sub(o.End) > keepArchive {
			out = append(out, o)
		}
	}
	for h := range s.Shadows() {
		if !h.End.IsZero() && now.Sub(h.End) > keepArchive {
			out = append(out, h)
		}
	}
	for c := range s.Covers() {
		if now.Sub(c.End) > keepArchive {
			out = append(out, c)
		}
	}
	for d := range s.AllDevices() {
		named, _ := s.referrer.get(reference{d.key(), KindUser}) // by a contact method
		if d.State == roster.DeviceRevoked && now.Sub(d.Updated) > keepDevice && named.size() == 0 {
			out = append(out, d)
		}
	}
	for _, r := range s.records[KindVersion].all() {
		if v, ok := r.(*Version); ok && s.superseded(v, now) {
			out = append(out, v)
		}
	}
	return out
}

// superseded reports whether the version has not been the newest for as long
// as archived incidents may name it.
func (s *Snapshot) superseded(v *Version, now time.Time) bool {
	if latest, _ := s.latest.get(v.ID); v.Version >= latest {
		p, ok := known[*Policy](s, KindPolicy, string(v.ID))
		return !ok || (!p.Deleted.IsZero() && now.Sub(p.Deleted) > keepArchive)
	}
	next, ok := known[*Version](s, KindVersion, versionID(escalation.Ref{ID: v.ID, Version: v.Version + 1}))
	return !ok || now.Sub(next.Created) > keepArchive
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
