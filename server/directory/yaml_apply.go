package directory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Action is what happens to a record.
type Action uint8

// The actions. The zero Action: it stays as it is.
const (
	Unchanged Action = iota
	Created
	Updated
	Deleted
	Orphaned // the folder does not declare it any more; it stays until it is pruned
)

func (a Action) String() string {
	switch a {
	case Created:
		return "create"
	case Updated:
		return "update"
	case Deleted:
		return "delete"
	case Orphaned:
		return "orphan"
	default:
		return "unchanged"
	}
}

// Item is what happens to one record.
type Item struct {
	Key      Key
	Action   Action
	Fields   []string  // that change, with values where they are no secrets
	Secret   string    // of a new integration: its key, shown this once
	Warnings []string  // what is doubtful about it, one sentence each
	ByHand   time.Time // when it was changed last, if that was after its folder had been applied
}

// ApplyOptions say how a document is applied.
type ApplyOptions struct {
	DryRun bool   // plan and check only
	Force  bool   // take policies and a catch-all that can reach nobody; they are warned of
	Owner  string // name of the folder that declares what the document describes; empty: no marks
	Prune  bool   // delete what the owner declared before and does not any more
	Take   bool   // take over what another owner declares
	// Revision is the position of the log on which the document was planned. If
	// configuration has changed since, applying it is a Conflict fault
	// (CONFIGURATION_MOVED), unless nothing is left to do. Empty: whatever it is.
	Revision string
}

// Applied is what became, or would become, of the configuration.
type Applied struct {
	// Items are the records of the document in its order, then those that it
	// does not describe any more.
	Items         []Item
	Before, After *Snapshot // without the change, and with it
}

// ApplyDocument is ApplyFiles for one document.
func (d *Directory) ApplyDocument(ctx context.Context, by By, text []byte, o ApplyOptions) ([]Item, error) {
	a, err := d.ApplyFiles(ctx, by, []File{{Text: text}}, o)
	return a.Items, err
}

// ApplyFiles brings the configuration to what the files say together, all of it
// or nothing, and tells what became of each record. Applying the same files
// again changes nothing.
//
// What is wrong is an Invalid fault that names the fields by their path in the
// document, with file and line.
func (d *Directory) ApplyFiles(ctx context.Context, by By, files []File, o ApplyOptions) (Applied, error) {
	docs, lines, err := parseFiles(files)
	if err != nil {
		return Applied{}, err
	}
	var list []named
	var orphans []Key
	edit := func(e *Edit) error {
		l := &Lines{at: lines.at, named: lines.named}
		r := &reader{s: e.Snapshot, l: l, seal: d.secrets, has: map[Key]int{}}
		for _, p := range docs {
			r.records(p)
		}
		if r.err != nil {
			return r.err
		}
		list = r.out
		e.owner, e.planned, e.declared = o.Owner, o.Revision, make(map[Key]bool, len(list))
		for i, n := range list {
			list[i].record = e.describe(l, n)
			e.declared[n.record.key()] = true
			if !o.Take {
				e.foreign(l, n)
			}
		}
		if o.Force {
			e.Force()
		}
		if orphans = e.orphans(); o.Prune {
			for _, k := range orphans {
				if err := e.Delete(k, ""); err != nil {
					return err
				}
			}
		}
		return l.err()
	}
	p, err := d.change(ctx, by, edit, o.DryRun)
	if err != nil {
		return Applied{}, locate(lines, list, err)
	}
	a := Applied{Items: make([]Item, len(list), len(list)+len(orphans)), Before: p.before, After: p.next}
	for i, n := range list {
		a.Items[i] = p.item(n.record.key())
		if a.Items[i].Action == Created && !o.DryRun {
			a.Items[i].Secret = n.secret
		}
	}
	for _, k := range orphans {
		item := p.item(k)
		if item.Action != Deleted {
			item.Action = Orphaned
		}
		item.Warnings = p.before.company(k)
		a.Items = append(a.Items, item)
	}
	return a, nil
}

// item tells what the change does to one record.
func (p prepared) item(k Key) Item {
	done := p.done[k]
	i := Item{Key: k, Action: done.action, Fields: done.fields, Warnings: p.next.doubts(k)}
	if old, ok := p.before.records[k.Kind].get(k.ID); ok && done.action != Unchanged && old.meta().ByHand() {
		i.ByHand = old.meta().Updated
	}
	return i
}

// foreign refuses a record that another folder declares: two would take turns
// in changing it.
func (e *Edit) foreign(l *Lines, n named) {
	old, ok := e.records[n.record.key().Kind].get(n.record.key().ID)
	if !ok || !old.meta().Deleted.IsZero() {
		return
	}
	if by := old.meta().Mark.Owner; e.owner != "" && by != "" && by != e.owner {
		l.bad(n.path, "%s is declared by %s: take it out there, or take it over", n.record.key(), by)
	}
}

// still refuses a change whose plan is older than the last change of what it
// was planned on.
func (d *Directory) still(ctx context.Context, p prepared) error {
	if p.planned == "" || p.planned == p.before.position {
		return nil
	}
	stale := func(what string) *fault.Error {
		return fault.New(fault.Conflict, "CONFIGURATION_MOVED", "the configuration is not what was planned on: "+what+"; plan again",
			"planned", p.planned, "current", p.before.position)
	}
	moved := map[string]bool{}
	for at := p.planned; ; {
		entries, err := d.log.After(ctx, at, 0)
		switch {
		case fault.KindOf(err) == fault.OutOfRange || fault.KindOf(err) == fault.Invalid:
			return stale("the plan is older than what is remembered of changes, or another installation's")
		case err != nil:
			return fmt.Errorf("read what changed after %s: %w", p.planned, err)
		case len(entries) == 0 && len(moved) == 0:
			return nil
		case len(entries) == 0:
			return stale("since then " + names(slices.Collect(maps.Keys(moved))) + " changed")
		}
		for _, e := range entries {
			switch e.Kind {
			case KindDevice, KindToken, KindFeed, KindCover, KindVacations, KindVersion, kindInternal: // no plan speaks of them
			case KindUser, KindTeam, KindService, KindIntegration, KindPolicy, KindSchedule, KindOverride, KindShadow, KindDrillPlan, KindSettings:
				moved[e.String()] = true
			}
		}
		at = entries[len(entries)-1].Position
	}
}

// describe puts a record of a document into the edit, and enters what is wrong
// with it by itself into l, so that a document tells all its faults at once.
func (e *Edit) describe(l *Lines, n named) Record {
	k := n.record.key()
	var err error
	if wanted, ok := n.record.(*Schedule); ok {
		err = e.PutSchedule(wanted, "", schedule.AtHandOff)
	}
	if e.puts[k] == nil { // a schedule that is wrong stands as it was written
		e.put(k, n.record)
	}
	r := e.puts[k]
	if err == nil {
		err = validate(r, e.pace, e.zones)
	}
	if f, ok := asFault(err); ok {
		for _, field := range f.Fields {
			l.bad(n.path+"."+documentPath(field.Path), "%s", field.Fix)
		}
	}
	return r
}

// doubts returns the warnings about a record.
func (s *Snapshot) doubts(k Key) []string {
	switch k.Kind {
	case KindPolicy:
		if p, ok := find[*Policy](s, KindPolicy, k.ID); ok {
			return s.Warnings(p)
		}
	case KindUser:
		u, ok := s.GetUser(roster.UserID(k.ID))
		if ok && !u.Inactive && !u.Reachable(true, s.Devices(u.ID)) {
			return []string{"cannot be paged yet: no device and no verified method"}
		}
	case KindSettings:
		if err := s.catchesNobody(s.GetSettings()); err != nil {
			return []string{err.Error()}
		}
	default: // of the others nothing can be doubtful
	}
	return nil
}

// documentPath translates a field's path from the API's names to a document's.
func documentPath(path string) string {
	if path == "display_name" {
		return "name"
	}
	return path
}

// locate says in which line of the document the record stands that a fault is about.
func locate(l *Lines, list []named, err error) error {
	f, ok := asFault(err)
	if !ok || f.Meta["name"] == "" {
		return err
	}
	for _, n := range list {
		if n.record.key().String() != f.Meta["name"] {
			continue
		}
		at := &Lines{at: l.at, named: l.named}
		fields := f.Fields
		if len(fields) == 0 {
			fields = []fault.Field{{Fix: f.Message}}
		}
		for _, field := range fields {
			at.bad(strings.TrimSuffix(n.path+"."+documentPath(field.Path), "."), "%s", field.Fix)
		}
		located, _ := asFault(at.err())
		located.Reason, located.Meta = f.Reason, f.Meta
		if f.Kind != fault.NotFound { // a document that names what is not there is a wrong document
			located.Kind = f.Kind
		}
		return located
	}
	return err
}

func byKey(a, b Key) int {
	return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.ID, b.ID))
}
