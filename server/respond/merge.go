package respond

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Merge ends the sources and lets their alerts live on in the target. Each
// source is taken over by one commit on the target and ended by one of its own,
// as they may be in different partitions; what is cut off in between is
// finished from the target's work. Repeating a merge is no error. What cannot
// be merged is refused before anything has begun.
func (d *Desk) Merge(ctx context.Context, target incident.ID, sources []incident.ID, by incident.Actor, o Options) (*incident.Incident, error) {
	in, err := d.Store.Incident(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("read the target %s of a merge: %w", target, err)
	}
	if o.Etag != 0 && o.Etag != in.Version {
		return nil, ErrStale.With("incident", string(target))
	}
	todo, err := d.mergeable(ctx, target, sources, by)
	if err != nil {
		return nil, err
	}
	for _, id := range todo {
		if err := d.FinishMerge(ctx, target, id, by); err != nil {
			return nil, err
		}
	}
	o.Etag = 0 // compared above: the merge itself moves it
	return d.Do(ctx, target, incident.AddNote{By: by, Text: mergeNote(len(sources))}, o)
}

// mergeable returns those of the sources that are not in the target yet, or why one cannot be.
func (d *Desk) mergeable(ctx context.Context, target incident.ID, sources []incident.ID, by incident.Actor) ([]incident.ID, error) {
	var todo []incident.ID
	for _, id := range sources {
		source, err := d.Store.Incident(ctx, id)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read source %s of a merge: %w", id, err)
		case id == target:
			return nil, fault.InvalidField("sources", "an incident cannot be merged into itself")
		case source.MergedInto == target:
		case source.OnlyFollows(by):
			return nil, fault.New(fault.Denied, "SHADOW_ONLY", "you follow this incident as a shadow and cannot merge it away", "incident", string(id))
		case !source.Open():
			return nil, fault.New(fault.Precondition, "SOURCE_RESOLVED", "only an open incident can be merged", "incident", string(id))
		default:
			todo = append(todo, id)
		}
	}
	return todo, nil
}

func mergeNote(n int) string {
	if n == 1 {
		return "merged 1 incident"
	}
	return fmt.Sprintf("merged %d incidents", n)
}

// FinishMerge takes the source over and ends it, as far as that is not done.
func (d *Desk) FinishMerge(ctx context.Context, target, source incident.ID, by incident.Actor) error {
	for range maxTries {
		moved, number, err := d.takeOver(ctx, target, source, by)
		if err != nil {
			return fmt.Errorf("merge incident %s into %s: %w", source, target, err)
		}
		grown := false
		_, err = d.do(ctx, source, func(ctx context.Context, in *incident.Incident) (incident.Command, error) {
			all, err := d.Store.Alerts(ctx, in.ID)
			grown = len(all) > moved // an alert came in meanwhile: the target has to have it first
			if err != nil || grown {
				return incident.AddNote{}, orConflict(err)
			}
			return incident.CloseMerged{By: by, Target: target, Number: number, Alerts: all}, nil
		}, Options{})
		if err == nil || !grown {
			return err
		}
	}
	return fault.New(fault.Conflict, "INCIDENT_BUSY", "alerts come in faster than the incidents can be merged; try again", "incident", string(source))
}

func orConflict(err error) error {
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "SOURCE_GREW", "the source of the merge has a new alert")
}

// takeOver adds those of the source's alerts to the target that it lacks. It
// returns how many the source had, and the target's number.
func (d *Desk) takeOver(ctx context.Context, target, source incident.ID, by incident.Actor) (moved int, number int64, err error) {
	alerts, err := d.Store.Alerts(ctx, source)
	if err != nil {
		return 0, 0, err
	}
	in, err := d.do(ctx, target, func(ctx context.Context, in *incident.Incident) (incident.Command, error) {
		have, err := d.Store.Alerts(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		known := map[alertKey]bool{}
		for _, a := range have {
			known[keyOf(a)] = true
		}
		c := incident.AcceptMerge{By: by, Source: source}
		for _, a := range alerts {
			if !known[keyOf(a)] {
				c.Alerts = append(c.Alerts, a)
			}
		}
		return c, nil
	}, Options{})
	if err != nil {
		return 0, 0, err
	}
	return len(alerts), in.Number, nil
}

// alertKey names an alert within an incident.
type alertKey struct {
	service catalog.ServiceID
	key     string
}

func keyOf(a incident.Alert) alertKey { return alertKey{a.Service, a.Key} }

// Part is what is split off an incident.
type Part struct {
	Alerts []string // their keys
	Title  string   // of the new incident; empty: the first alert's summary
}

// Split makes an incident of its own of some alerts of one. The new one begins
// first, with the dedup keys, so that no event falls in between; a repeated
// call finds it and only finishes.
func (d *Desk) Split(ctx context.Context, id incident.ID, part Part, by incident.Actor, o Options) (*incident.Incident, error) {
	old, err := d.Store.Incident(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read incident %s: %w", id, err)
	}
	if o.Etag != 0 && o.Etag != old.Version {
		return nil, ErrStale.With("incident", string(id))
	}
	alerts, err := d.chosen(ctx, id, part.Alerts)
	if err != nil {
		return nil, err
	}
	split := incident.SplitOff{By: by, Alerts: alerts, Other: store.NewIncidentID(store.PartitionOf(string(alerts[0].Service)), d.Now())}
	if _, err := d.Decide(ctx, old, id, split); err != nil {
		return nil, err // refused before anything has begun
	}
	begun, err := d.beginSplit(ctx, old, split, part.Title)
	if err != nil {
		return nil, fmt.Errorf("split incident %s: %w", id, err)
	}
	split.Other = begun.ID
	if _, err := d.Do(ctx, id, split, Options{}); err != nil {
		return nil, err
	}
	return begun, nil
}

// chosen returns the named alerts of an incident.
func (d *Desk) chosen(ctx context.Context, id incident.ID, keys []string) ([]incident.Alert, error) {
	all, err := d.Store.Alerts(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read the alerts of incident %s: %w", id, err)
	}
	var chosen []incident.Alert
	for _, k := range keys {
		found := false
		for _, a := range all {
			if a.Key == k {
				chosen, found = append(chosen, a), true
			}
		}
		if !found {
			return nil, fault.InvalidField("alerts", "the incident has no alert with the key %q", k)
		}
	}
	if len(chosen) == 0 {
		return nil, fault.InvalidField("alerts", "name at least one alert")
	}
	return chosen, nil
}

// beginSplit makes the new incident, or returns the one that an earlier try made.
func (d *Desk) beginSplit(ctx context.Context, old *incident.Incident, split incident.SplitOff, title string) (*incident.Incident, error) {
	svc, _ := d.View().Service(split.Alerts[0].Service)
	svc.ID = split.Alerts[0].Service
	begin := incident.Begin{ID: split.Other, Service: svc, By: split.By, From: old.ID, Alerts: split.Alerts, HoldOpen: old.HoldOpen}
	begin.Event.Summary, begin.Event.Severity = cmp.Or(title, split.Alerts[0].Summary), split.Alerts[0].Severity
	var guards []store.KeyGuard
	home := store.PartitionOf(string(svc.ID))
	for _, a := range split.Alerts {
		if !a.Open || store.PartitionOf(string(a.Service)) != home {
			continue
		}
		leads, err := d.Store.Linked(ctx, a.Service, a.Key)
		if err != nil {
			return nil, err
		}
		now := leads[a.Key]
		if now != old.ID && now != "" {
			if begun, err := d.Store.Incident(ctx, now); err == nil && begun.Open() {
				return begun, nil
			}
		}
		guards = append(guards, store.KeyGuard{Service: a.Service, Key: a.Key, Was: now, Now: begin.ID})
	}
	return d.Begin(ctx, begin, guards, Options{})
}

// Begin makes a new incident. Its number is taken here.
func (d *Desk) Begin(ctx context.Context, begin incident.Begin, keys []store.KeyGuard, o Options) (*incident.Incident, error) {
	var err error
	if begin.Number, err = d.Store.NextNumber(ctx); err != nil {
		return nil, fmt.Errorf("number a new incident: %w", err)
	}
	dec, err := d.Decide(ctx, nil, begin.ID, begin)
	if err != nil {
		return nil, err
	}
	c := Commit(nil, dec)
	c.Keys, c.Request = keys, o.request(nil, dec.Incident)
	done, err := d.Store.Commit(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("commit a new incident: %w", err)
	}
	d.Tell(done)
	done.Stamp(dec.Incident)
	return dec.Incident, nil
}
