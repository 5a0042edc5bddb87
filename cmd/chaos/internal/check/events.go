package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// tally is what the source sent of one key.
type tally struct {
	accepted int // triggers that were answered with a success
	possible int // triggers that may have been taken in
	blurred  bool
	last     ledger.Event // of those accepted
}

func (c *checker) tallies() map[store.LinkedKey]*tally {
	all := map[store.LinkedKey]*tally{}
	for _, e := range c.b.Events {
		k := store.LinkedKey{Service: catalog.ServiceID(e.Service), Key: e.Key}
		t := all[k]
		if t == nil {
			t = &tally{}
			all[k] = t
		}
		// What was sent again may have been in when it seemed lost. Without a
		// sender's id the server cannot know that it is the same.
		again := e.Sender == "" && e.Tries > 1
		t.blurred = t.blurred || again || e.Accepted.IsZero()
		if !e.Accepted.IsZero() && e.Accepted.After(t.last.Accepted) {
			t.last = e
		}
		if e.Action != "trigger" {
			continue
		}
		t.possible++
		if again {
			t.possible += e.Tries - 1
		}
		if !e.Accepted.IsZero() {
			t.accepted++
		}
	}
	return all
}

// accepted is I1: every event that was answered with a success is reflected,
// and counted once.
func (c *checker) accepted() {
	counted, open, in := map[store.LinkedKey]int{}, map[store.LinkedKey]int{}, map[store.LinkedKey][]string{}
	for _, r := range c.f.Records {
		for _, a := range r.Alerts {
			k := store.LinkedKey{Service: a.Service, Key: a.Key}
			counted[k] += a.Count
			in[k] = append(in[k], fmt.Sprintf("%s %d", r.Incident.ID, a.Count))
			if a.Open {
				open[k]++
			}
		}
	}
	for k, t := range c.tallies() {
		c.held("I1")
		switch n := counted[k]; {
		case n < t.accepted && !c.t.Loses:
			c.broken("I1", "", t.last.Accepted, "%d triggers of %s on %s were accepted, and the incidents count %d: %v", t.accepted, k.Key, k.Service, n, in[k])
		case n > t.possible:
			c.broken("I1", "", t.last.Accepted, "%d triggers of %s on %s were sent, and the incidents count %d: %v", t.possible, k.Key, k.Service, n, in[k])
		}
		if t.last.Action == "resolve" && !t.blurred && open[k] > 0 && !c.t.Loses {
			c.broken("I1", "", t.last.Accepted, "the end of %s on %s was accepted at %s, and its alert is open", k.Key, k.Service, clock(t.last.Accepted))
		}
	}
	for k, n := range counted {
		if c.tallies()[k] == nil && n > 0 {
			c.broken("I1", "", time.Time{}, "%d triggers of %s on %s are counted, and none was sent", n, k.Key, k.Service)
		}
	}
}

// unique is I2: never two open alerts of one key.
func (c *checker) unique() {
	at := map[store.LinkedKey][]incident.ID{}
	for _, r := range c.f.Records {
		for _, a := range r.Alerts {
			k := store.LinkedKey{Service: a.Service, Key: a.Key}
			if a.Open {
				at[k] = append(at[k], r.Incident.ID)
			}
		}
	}
	for k, ids := range at {
		c.held("I2")
		if len(ids) > 1 {
			c.broken("I2", ids[0], time.Time{}, "%s on %s is open in %d incidents: %v", k.Key, k.Service, len(ids), ids)
		}
	}
}

// indexes is I3: the incident, the index of open ones and the dedup keys agree.
func (c *checker) indexes() {
	known := map[incident.ID]bool{}
	for _, r := range c.f.Records {
		c.held("I3")
		in := r.Incident
		known[in.ID] = true
		if in.Open() != c.f.Open[in.ID] {
			c.broken("I3", in.ID, time.Time{}, "it is open: %t; in the index of open incidents: %t", in.Open(), c.f.Open[in.ID])
		}
		openAlerts := 0
		for _, a := range r.Alerts {
			to := c.f.Linked[store.LinkedKey{Service: a.Service, Key: a.Key}]
			if a.Open {
				openAlerts++
			}
			if a.Open && to != in.ID {
				c.broken("I3", in.ID, time.Time{}, "its alert %s is open, and the key leads to %q", a.Key, to)
			}
			if a.Open && !in.Open() {
				c.broken("I3", in.ID, time.Time{}, "it is resolved, and its alert %s is open", a.Key)
			}
		}
		if openAlerts != in.AlertsOpen {
			c.broken("I3", in.ID, time.Time{}, "it says that %d alerts are open, and %d are", in.AlertsOpen, openAlerts)
		}
	}
	for id := range c.f.Open {
		if !known[id] {
			c.broken("I3", id, time.Time{}, "it is in the index of open incidents, and does not exist")
		}
	}
	for k, id := range c.f.Linked {
		c.held("I3")
		i := slices.IndexFunc(c.f.Records, func(r store.Record) bool { return r.Incident.ID == id })
		if i < 0 {
			c.broken("I3", id, time.Time{}, "the key %s of %s leads to it, and it does not exist", k.Key, k.Service)
			continue
		}
		if !c.f.Records[i].Incident.Open() {
			c.broken("I3", id, time.Time{}, "the key %s of %s leads to it, and it is resolved", k.Key, k.Service)
		}
	}
}

// drained is I14: nothing waits, and nothing was given up.
func (c *checker) drained() {
	c.held("I14")
	if c.f.Inbox > 0 || c.f.Work > 0 {
		c.broken("I14", "", time.Time{}, "%d accepted events and %d items of work still wait", c.f.Inbox, c.f.Work)
	}
	for _, d := range c.f.Dead {
		c.broken("I14", "", time.Time{}, "dead letter: %s", d)
	}
}

// listed compares what the API listed with what is stored.
func (c *checker) listed() {
	if c.f.Listed == nil {
		return
	}
	for _, r := range c.f.Records {
		c.held("API")
		if _, ok := c.f.Listed[r.Incident.ID]; !ok && r.Incident.Created.Before(c.f.At.Add(-c.t.Late)) {
			c.broken("API", r.Incident.ID, time.Time{}, "it is stored, and the API did not list it")
		}
	}
	for id := range c.f.Listed {
		if !slices.ContainsFunc(c.f.Records, func(r store.Record) bool { return r.Incident.ID == id }) {
			c.broken("API", id, time.Time{}, "the API listed it, and it is not stored")
		}
	}
}
