package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Source has what a packet is made of.
type Source interface {
	List(ctx context.Context, q store.Query, token string) (store.Page, error)
	Timeline(ctx context.Context, id incident.ID, from, n int) ([]incident.Entry, error)
	Peek(ctx context.Context, key string) ([]byte, error)
}

// The most incidents that are looked at.
const (
	mostOpen     = 200
	mostResolved = 500
	pageSize     = 100
	mostEntries  = 5000 // of one timeline
)

// lookAhead is how far behind the hand-off gaps are looked for.
const lookAhead = 30 * 24 * time.Hour

// Gather reads what is handed over at a turn.
func Gather(ctx context.Context, src Source, snap *directory.Snapshot, turn Turn, now time.Time) (*Packet, error) {
	open, err := Open(ctx, src, snap, turn)
	if err != nil {
		return nil, err
	}
	p := &Packet{Turn: turn, Services: snap.ServicesAsking(turn.Schedule), Truncated: len(open) >= mostOpen}
	closed, all, err := resolved(ctx, src, p.Services, turn)
	if err != nil {
		return nil, err
	}
	p.Truncated = p.Truncated || !all
	tales := make([]told, 0, len(open)+len(closed))
	for _, in := range slices.Concat(open, closed) {
		timeline, err := src.Timeline(ctx, in.ID, 1, mostEntries)
		if err != nil {
			return nil, fmt.Errorf("read what happened to incident %s: %w", in.ID, err)
		}
		tales = append(tales, told{in, timeline})
	}
	p.tell(tales)
	p.ahead(snap, now)
	if p.Note, err = noteOf(ctx, src, turn); err != nil {
		return nil, err
	}
	return p, nil
}

// Open returns the open incidents of a hand-off, at most 200, latest first:
// those of the services that ask the schedule, and what it has asked the one who
// leaves for by other ways.
func Open(ctx context.Context, src Source, snap *directory.Snapshot, turn Turn) ([]*incident.Incident, error) {
	var open []*incident.Incident
	err := eachOpen(ctx, src, snap, turn, func(in *incident.Incident) bool {
		open = append(open, in)
		return len(open) < mostOpen
	})
	return open, err
}

// ToTake is Open for somebody who takes them over, those first that are not his
// yet: of more than 200, the next call takes others.
func ToTake(ctx context.Context, src Source, snap *directory.Snapshot, turn Turn, user roster.UserID) ([]*incident.Incident, error) {
	var open, his []*incident.Incident
	err := eachOpen(ctx, src, snap, turn, func(in *incident.Incident) bool {
		if in.Assigned(user) != nil && in.Assigned(turn.From) == nil && !in.AckedBy(turn.From) {
			his = append(his, in)
		} else {
			open = append(open, in)
		}
		return len(open) < mostOpen
	})
	open = append(open, his...)
	return open[:min(len(open), mostOpen)], err
}

// eachOpen reads the open incidents of a hand-off until take has enough.
func eachOpen(ctx context.Context, src Source, snap *directory.Snapshot, turn Turn, take func(*incident.Incident) bool) error {
	services := snap.ServicesAsking(turn.Schedule)
	statuses := []incident.Status{incident.Triggered, incident.Acknowledged}
	more := true
	for _, id := range services {
		q := store.Query{Service: id, Statuses: statuses, PageSize: pageSize}
		err := list(ctx, src, q, func(in *incident.Incident) bool {
			more = take(in)
			return more
		})
		if err != nil || !more {
			return err
		}
	}
	if turn.From == "" {
		return nil
	}
	return list(ctx, src, store.Query{Assignee: turn.From, Statuses: statuses, PageSize: pageSize}, func(in *incident.Incident) bool {
		_, known := slices.BinarySearch(services, in.Service)
		a := in.Assigned(turn.From)
		return known || a == nil || a.Schedule != turn.Schedule || take(in)
	})
}

// Summary says in two sentences what is handed over, and where the rest of it is.
func Summary(open []*incident.Incident) string {
	var waiting, asleep int
	for _, in := range open {
		switch {
		case in.Snoozed():
			asleep++
		case in.Status == incident.Triggered:
			waiting++
		}
	}
	const more = " The whole hand-off: tocsin oncall handoff."
	if len(open) == 0 {
		return "No incident is open." + more
	}
	text := fmt.Sprintf("%d incidents are open", len(open))
	if len(open) == 1 {
		text = "1 incident is open"
	}
	if waiting > 0 {
		text += fmt.Sprintf(", %d not acknowledged", waiting)
	}
	if asleep > 0 {
		text += fmt.Sprintf(", %d snoozed", asleep)
	}
	return text + "." + more
}

// resolved returns what was resolved during the shift, and whether that is all of it.
func resolved(ctx context.Context, src Source, services []catalog.ServiceID, turn Turn) ([]*incident.Incident, bool, error) {
	var closed []*incident.Incident
	for _, id := range services {
		q := store.Query{Service: id, Statuses: []incident.Status{incident.Resolved}, PageSize: pageSize}
		if err := list(ctx, src, q, func(in *incident.Incident) bool {
			if in.ResolvedAt.Before(turn.Start) { // the latest come first
				return false
			}
			if in.Created.Before(turn.At) {
				closed = append(closed, in)
			}
			return len(closed) < mostResolved
		}); err != nil {
			return nil, false, err
		}
	}
	return closed, len(closed) < mostResolved, nil
}

// list reads pages until take has enough.
func list(ctx context.Context, src Source, q store.Query, take func(*incident.Incident) bool) error {
	for token := ""; ; {
		page, err := src.List(ctx, q, token)
		if err != nil {
			return fmt.Errorf("list the incidents that are handed over: %w", err)
		}
		for _, in := range page.Incidents {
			if !take(in) {
				return nil
			}
		}
		if token = page.Next; token == "" {
			return nil
		}
	}
}

// ahead fills in what whoever comes should know of the time to come.
func (p *Packet) ahead(snap *directory.Snapshot, now time.Time) {
	if turns, err := snap.Turns(p.Schedule); err == nil {
		from := p.At
		if now.After(from) {
			from = now
		}
		p.Gaps = turns.Gaps(from, from.Add(lookAhead))
	}
	for c := range snap.Covers() {
		if c.Schedule == p.Schedule && c.StateAt(now) == schedule.RequestOpen {
			p.Covers = append(p.Covers, c)
		}
	}
	slices.SortFunc(p.Covers, func(a, b *directory.Cover) int { return a.Start.Compare(b.Start) })
}

// Note is what somebody leaves to say to whoever follows.
type Note struct {
	User roster.UserID `json:"user"`
	Text string        `json:"text"`
	At   time.Time     `json:"at"`
}

// NoteKept is how long a note is kept.
const NoteKept = 30 * 24 * time.Hour

// NoteKey is where the store keeps the note of a person in a schedule.
func NoteKey(id schedule.ID, user roster.UserID) string {
	return "handover/" + string(id) + "/" + string(user)
}

// Encode returns the note as it is kept.
func (n Note) Encode() ([]byte, error) {
	b, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encode the note of %s: %w", n.User, err)
	}
	return b, nil
}

// noteOf returns the note of the one who leaves, if he wrote it in the shift
// that ends or shortly after it.
func noteOf(ctx context.Context, src Source, turn Turn) (*Note, error) {
	if turn.From == "" {
		return nil, nil //nolint:nilnil // nobody leaves, and nobody says anything
	}
	b, err := src.Peek(ctx, NoteKey(turn.Schedule, turn.From))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return nil, nil //nolint:nilnil // he left none
	}
	if err != nil {
		return nil, fmt.Errorf("read the note of %s: %w", turn.From, err)
	}
	var n Note
	if err := json.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("decode the note of %s: %w", turn.From, err)
	}
	if n.At.Before(turn.Start) || n.At.After(turn.At.Add(Ahead)) {
		return nil, nil //nolint:nilnil // it was for another hand-off
	}
	return &n, nil
}
