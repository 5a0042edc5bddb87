package handover

import (
	"cmp"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Packet is what is handed over. What it tells of the shift is of [Start, At), as
// far as that has passed; what is open is so now.
type Packet struct {
	Turn

	Services  []catalog.ServiceID // that ask the schedule, by id
	Open      []Item              // the most pressing first
	Resolved  int                 // incidents that were resolved during the shift
	Pages     int                 // that went out during the shift
	Remarks   []Remark            // during the shift, oldest first
	Noise     []Noise             // the noisiest first
	Misses    []Miss              // oldest first
	Gaps      []schedule.Gap      // that begin within 30 days of the hand-off
	Covers    []*directory.Cover  // open requests, by start
	Note      *Note               // of the one who leaves; nil: none
	Truncated bool                // there were more incidents than are looked at
}

// Item is an open incident and the latest note on it; nil: none.
type Item struct {
	*incident.Incident

	Note *incident.Entry
}

// Remark is a note on an incident.
type Remark struct {
	Incident *incident.Incident
	Note     incident.Entry
}

// Noise is how much was heard of one alert. Pages are counted for the alert that
// began their incident.
type Noise struct {
	Service   catalog.ServiceID
	Key       string // empty: incidents made by hand
	Title     string // of the latest incident
	Incidents int    // that it began or opened again
	Pages     int
	Repeats   int
}

// Miss is a response target that was missed.
type Miss struct {
	Incident *incident.Incident
	User     roster.UserID
	Target   time.Duration
	At       time.Time
}

// The most that a packet tells of.
const (
	mostRemarks = 100
	mostNoise   = 10
)

// told is an incident with all that happened to it.
type told struct {
	incident *incident.Incident
	timeline []incident.Entry
}

// telling folds what happened into a packet.
type telling struct {
	*Packet

	noise map[noiseKey]*Noise
}

type noiseKey struct {
	service catalog.ServiceID
	key     string
}

// tell fills in what the incidents have to say, the open ones and those that
// were resolved during the shift, the oldest first.
func (p *Packet) tell(all []told) {
	slices.SortFunc(all, func(a, b told) int { return a.incident.Created.Compare(b.incident.Created) })
	t := telling{p, map[noiseKey]*Noise{}}
	for _, one := range all {
		t.incident(one)
	}
	slices.SortFunc(p.Open, func(a, b Item) int {
		return cmp.Or(cmp.Compare(pressing(a), pressing(b)), a.Created.Compare(b.Created))
	})
	slices.SortStableFunc(p.Remarks, func(a, b Remark) int { return a.Note.At.Compare(b.Note.At) })
	p.Remarks = p.Remarks[max(0, len(p.Remarks)-mostRemarks):]
	slices.SortStableFunc(p.Misses, func(a, b Miss) int { return a.At.Compare(b.At) })
	for _, n := range t.noise {
		if n.Pages+n.Repeats > 0 {
			p.Noise = append(p.Noise, *n)
		}
	}
	slices.SortFunc(p.Noise, func(a, b Noise) int {
		return cmp.Or(cmp.Compare(b.Pages, a.Pages), cmp.Compare(b.Repeats, a.Repeats), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Key, b.Key))
	})
	p.Noise = p.Noise[:min(mostNoise, len(p.Noise))]
}

// pressing orders open incidents: what nobody has taken, what somebody holds,
// what sleeps; among those high urgency first, and the more severe.
func pressing(i Item) int {
	n := int(i.Status) * 100
	if i.Snoozed() {
		n += 100
	}
	return n + int(i.Urgency)*10 + int(i.Severity)
}

func (t telling) during(at time.Time) bool { return !at.Before(t.Start) && at.Before(t.At) }

// incident takes one incident in.
func (t telling) incident(one told) {
	in := one.incident
	item := Item{Incident: in}
	first := noiseKey{in.Service, ""} // of the alert that began it
	for _, e := range one.timeline {
		switch e.Type {
		case incident.EntryTriggered:
			first.key = e.Key
		case incident.EntryNote:
			item.Note = &e
		default:
		}
		if t.during(e.At) {
			t.entry(in, e, first)
		}
	}
	if in.Open() {
		t.Open = append(t.Open, item)
	}
}

// entry takes one line of the shift in.
func (t telling) entry(in *incident.Incident, e incident.Entry, first noiseKey) {
	switch e.Type {
	case incident.EntryTriggered, incident.EntryReopened:
		n := t.of(first)
		n.Incidents, n.Title = n.Incidents+1, in.Text.Title
	case incident.EntryNotified:
		t.Pages++
		n := t.of(first)
		n.Pages, n.Title = n.Pages+1, in.Text.Title
	case incident.EntryDuplicate:
		n := t.of(noiseKey{e.Service, e.Key})
		n.Repeats, n.Title = n.Repeats+e.Count, in.Text.Title
	case incident.EntryNote:
		t.Remarks = append(t.Remarks, Remark{in, e})
	case incident.EntryResponseMissed:
		for _, u := range e.Users {
			t.Misses = append(t.Misses, Miss{in, u, e.Took, e.At})
		}
	case incident.EntryResolved:
		if !in.Open() {
			t.Resolved++
		}
	default:
	}
}

func (t telling) of(k noiseKey) *Noise {
	n, ok := t.noise[k]
	if !ok {
		n = &Noise{Service: k.service, Key: k.key}
		t.noise[k] = n
	}
	return n
}
