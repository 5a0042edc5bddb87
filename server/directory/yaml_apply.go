package directory

import (
	"context"
	"strings"

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
)

func (a Action) String() string {
	switch a {
	case Created:
		return "create"
	case Updated:
		return "update"
	default:
		return "unchanged"
	}
}

// Item is what happens to one record that a document names.
type Item struct {
	Key      Key
	Action   Action
	Fields   []string // that change, with values where they are no secrets
	Secret   string   // of a new integration: its key, shown this once
	Warnings []string // what is doubtful about it, one sentence each
}

// ApplyOptions say how a document is applied.
type ApplyOptions struct {
	DryRun bool // plan and check only
	Force  bool // take policies and a catch-all that can reach nobody; they are warned of
}

// ApplyDocument brings the configuration to what the YAML document says, all
// of it or nothing, and returns what became of each record, in the order of the
// document. Applying the same document again changes nothing.
//
// What is wrong is an Invalid fault that names the fields by their path in the
// document, with the line.
func (d *Directory) ApplyDocument(ctx context.Context, by By, text []byte, o ApplyOptions) ([]Item, error) {
	doc, lines, err := ParseDocument(text)
	if err != nil {
		return nil, err
	}
	var list []named
	edit := func(e *Edit) error {
		l := &Lines{at: lines.at}
		r := &reader{s: e.Snapshot, l: l, seal: d.secrets}
		list = r.records(doc)
		if r.err != nil {
			return r.err
		}
		for i, n := range list {
			list[i].record = e.describe(l, n)
		}
		if o.Force {
			e.Force()
		}
		return l.err()
	}
	p, err := d.change(ctx, by, edit, o.DryRun)
	if err != nil {
		return nil, locate(lines, list, err)
	}
	items := make([]Item, len(list))
	for i, n := range list {
		k := n.record.key()
		done := p.done[k]
		items[i] = Item{Key: k, Action: done.action, Fields: done.fields, Warnings: p.next.doubts(k)}
		if done.action == Created && !o.DryRun {
			items[i].Secret = n.secret
		}
	}
	return items, nil
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
		at := &Lines{at: l.at}
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
