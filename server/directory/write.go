package directory

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
)

// stamp gives a record its times, and returns the change that writes it on top
// of the revision was.
func stamp(r Record, was uint64, now time.Time) (Change, error) {
	m := r.meta()
	now = now.UTC().Truncate(time.Millisecond)
	if was == 0 || m.Created.IsZero() {
		m.Created = now
	}
	m.Updated, m.Revision = now, was+1
	payload, err := encode(r)
	if err != nil {
		return Change{}, err
	}
	return Change{
		Stored: Stored{Key: r.key(), Revision: m.Revision, Created: m.Created, Updated: now, Payload: payload}, Was: was,
	}, nil
}

// write turns the edit into changes with guards, and their audit records.
func (e *Edit) write(next *Snapshot, by By) (prepared, error) {
	p := prepared{before: e.Snapshot, planned: e.planned, keys: e.order, next: next, done: make(map[Key]outcome, len(e.order))}
	ordered := false
	for _, k := range e.order {
		old, existed := e.records[k.Kind].get(k.ID)
		var was uint64
		if existed {
			was = old.meta().Revision
		} else {
			old = nil
		}
		now := e.puts[k]
		ordered = ordered || structural(old, now)
		action := "delete"
		if now == nil {
			p.changes = append(p.changes, Change{Stored: Stored{Key: k, Revision: was + 1, Updated: e.Now}, Was: was})
		} else {
			if action = "update"; !existed || !old.meta().Deleted.IsZero() {
				action = "create"
				now.meta().Created = time.Time{}
			} else {
				now.meta().Created = old.meta().Created
			}
			if e.gone[k] {
				action = "delete"
			}
			change, err := stamp(now, was, e.Now)
			if err != nil {
				return prepared{}, err
			}
			p.changes = append(p.changes, change)
		}
		if k.Kind == KindVersion { // told by the record of its policy
			continue
		}
		fields := differences(old, now)
		switch action {
		case "create":
			p.done[k] = outcome{Created, fields}
		case "update":
			p.done[k] = outcome{Updated, fields}
		case "delete":
			p.done[k] = outcome{action: Deleted}
		}
		line, err := json.Marshal(auth.Audit{
			At: e.Now, Actor: by.Principal.String(), Method: by.Method, Resource: k.String(), Action: action,
			Change: strings.Join(fields, ", "), Request: by.Request, IP: by.IP,
		})
		if err != nil {
			return prepared{}, fmt.Errorf("encode audit record of %s: %w", k, err)
		}
		p.audit = append(p.audit, line)
	}
	if len(p.changes) == 0 || !ordered {
		return p, nil
	}
	change, err := e.structure()
	if err != nil {
		return prepared{}, err
	}
	p.changes = append(p.changes, change)
	return p, nil
}

// structure returns the change that puts this edit into one order with every
// other that bears on rules between records.
func (e *Edit) structure() (Change, error) {
	var was uint64
	next := &internal{ID: structureID}
	if old, ok := known[*internal](e.Snapshot, kindInternal, structureID); ok {
		was, next.Created = old.Revision, old.Created
	}
	return stamp(next, was, e.Now)
}
