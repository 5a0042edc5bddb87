package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// pages walks a list to its end, calling between after each page.
func pages(tb testing.TB, s *Store, q Query, between func()) []*incident.Incident {
	tb.Helper()
	var all []*incident.Incident
	for token, n := "", 0; ; n++ {
		page, err := s.List(tb.Context(), q, token)
		if err != nil {
			tb.Fatalf("page %d: %v", n, err)
		}
		if q.PageSize > 0 && len(page.Incidents) > q.PageSize {
			tb.Fatalf("page %d: got %d incidents, want %d at most", n, len(page.Incidents), q.PageSize)
		}
		all = append(all, page.Incidents...)
		if token = page.Next; token == "" {
			return all
		}
		if n > 1000 {
			tb.Fatal("the list has no end")
		}
		between()
	}
}

func ids(list []*incident.Incident) []incident.ID {
	var out []incident.ID
	for _, in := range list {
		out = append(out, in.ID)
	}
	return out
}

func TestEveryIncidentIsListedOnceWhileOthersAreMade(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	rapid.Check(t, func(r *rapid.T) {
		srv.Flush(t)
		var open, closed []*incident.Incident
		clock, made := base, 0
		make1 := func() *incident.Incident {
			clock = clock.Add(time.Duration(rapid.IntRange(0, 2).Draw(r, "step")) * time.Millisecond) // many of one millisecond
			made++
			service := catalog.ServiceID(fmt.Sprint(rapid.IntRange(0, 9).Draw(r, "service")))
			in, _ := mustCommit(t, s, begin(opened(service, clock), fmt.Sprint(made)))
			return in
		}
		for range rapid.IntRange(0, 60).Draw(r, "incidents") {
			in := make1()
			if rapid.IntRange(0, 2).Draw(r, "close") == 0 {
				closed = append(closed, resolve(t, s, in, clock))
			} else {
				open = append(open, in)
			}
		}
		later := clock.Add(time.Second)
		got := pages(t, s, Query{PageSize: rapid.IntRange(1, 20).Draw(r, "size")}, func() {
			clock = later
			make1()
			resolve(t, s, make1(), clock)
		})
		count := map[incident.ID]int{}
		for _, id := range ids(got) {
			count[id]++
		}
		for _, in := range append(slices.Clone(open), closed...) {
			if count[in.ID] != 1 {
				r.Fatalf("incident %s was listed %d times", in.ID, count[in.ID])
			}
		}
		var mine []*incident.Incident // without those made meanwhile
		for _, in := range got {
			if in.Created.Before(later) {
				mine = append(mine, in)
			}
		}
		for i := 1; i < len(mine); i++ {
			a, b := mine[i-1], mine[i]
			if !a.Open() && b.Open() {
				r.Fatalf("closed %s is listed before open %s", a.ID, b.ID)
			}
			if a.Open() && b.Open() && (a.Created.Before(b.Created) || (a.Created.Equal(b.Created) && a.ID < b.ID)) {
				r.Fatalf("open %s (%v) is listed before %s (%v)", a.ID, a.Created, b.ID, b.Created)
			}
		}
	})
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	var all []*incident.Incident
	for i := range 6 {
		in := opened(catalog.ServiceID(fmt.Sprint("s", i%2)), base.Add(time.Duration(i)*time.Second))
		in.Team = roster.TeamID(fmt.Sprint("t", i%3))
		if i%2 == 1 {
			in.Urgency, in.Assignees[0].User = incident.Low, "bob"
		}
		in, _ = mustCommit(t, s, begin(in, fmt.Sprint(i)))
		all = append(all, in)
	}
	all[0] = resolve(t, s, all[0], base.Add(time.Minute))
	acked := *all[1]
	acked.Status = incident.Acknowledged
	all[1], _ = mustCommit(t, s, Commit{Before: all[1], After: &acked})
	moved := *all[2]
	moved.Assignees = []incident.Assignee{{User: "bob", Elapsed: -1}}
	all[2], _ = mustCommit(t, s, Commit{Before: all[2], After: &moved})

	pick := func(which ...int) (want []incident.ID) {
		for _, i := range which {
			want = append(want, all[i].ID)
		}
		return want
	}
	for name, c := range map[string]struct {
		q    Query
		want []incident.ID
	}{
		"all":                {Query{}, pick(5, 4, 3, 2, 1, 0)},
		"open":               {Query{Statuses: []incident.Status{incident.Triggered, incident.Acknowledged}}, pick(5, 4, 3, 2, 1)},
		"acknowledged":       {Query{Statuses: []incident.Status{incident.Acknowledged}}, pick(1)},
		"resolved":           {Query{Statuses: []incident.Status{incident.Resolved}}, pick(0)},
		"service":            {Query{Service: "s0"}, pick(4, 2, 0)},
		"service of nothing": {Query{Service: "s9"}, nil},
		"team":               {Query{Team: "t0"}, pick(3, 0)},
		"low":                {Query{Urgency: incident.Low}, pick(5, 3, 1)},
		"assigned to bob":    {Query{Assignee: "bob"}, pick(5, 3, 2, 1)},
		"assigned to ann":    {Query{Assignee: "ann"}, pick(4)},
		"bob and service":    {Query{Assignee: "bob", Service: "s1"}, pick(5, 3, 1)},
	} {
		for _, size := range []int{0, 1, 2} {
			c.q.PageSize = size
			if d := diff(c.want, ids(pages(t, s, c.q, func() {}))); d != "" {
				t.Errorf("%s, pages of %d (-want +got):\n%s", name, size, d)
			}
		}
	}
	page, err := s.List(t.Context(), Query{PageSize: 1}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"nonsense": "!", "cut": page.Next[:8], "of another list": page.Next} {
		if _, err := s.List(t.Context(), Query{Team: "t1"}, token); fault.KindOf(err) != fault.Invalid {
			t.Errorf("token %s: got %v, want invalid", name, err)
		}
	}
}

func FuzzPageToken(f *testing.F) {
	f.Add(place{section: sectionOpen, begun: true, row: row{ms: 5, id: "x"}}.token(Query{}))
	f.Fuzz(func(t *testing.T, token string) {
		if pl, err := (Query{}).place(token); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("got %+v, %v, want a place or an invalid token", pl, err)
		}
	})
}

// TestADamagedIncidentHidesNoOther: it alone is missing in the list and where
// several are read, and what may be there is not taken for gone.
func TestADamagedIncidentHidesNoOther(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL(), func(o *Options) { o.Timeout = 200 * time.Millisecond })
	var made []incident.ID
	for range 3 {
		in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
		made = append(made, in.ID)
	}
	p, err := PartitionOfIncident(made[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.Set(t.Context(), incidentKey(p, made[1]), "damaged", 0).Err(); err != nil {
		t.Fatal(err)
	}
	got, want := ids(pages(t, s, Query{}, func() {})), []incident.ID{made[0], made[2]}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("listed: got %v, want %v", got, want)
	}
	found, err := s.Incidents(t.Context(), made[0], made[1], "absent", made[2])
	if err != nil || found[0] == nil || found[1] != nil || found[2] != nil || found[3] == nil {
		t.Errorf("read together: got %v, %v, want all but the damaged and the absent one", found, err)
	}
	srv.Kill(t)
	if found, err := s.Incidents(t.Context(), made...); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("of a Redis that is out: got %v, %v, want unavailable", found, err)
	}
}
