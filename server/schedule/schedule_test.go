package schedule

import (
	"time"
	_ "time/tzdata" // the zones of the tests do not depend on the machine

	"github.com/tocsin-oncall/tocsin/server/civil"
)

// failer is a test, a benchmark or a rapid run.
type failer interface{ Fatalf(string, ...any) }

func zone(t failer, name string) *time.Location {
	l, ok := zones(name)
	if !ok {
		t.Fatalf("zone %q is not known", name)
	}
	return l
}

func wall(t failer, s string) civil.Time {
	c, err := civil.ParseTime(s)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return c
}

// at reads an instant: 2026-03-29T08:00Z, or with an offset.
func at(t failer, s string) time.Time {
	v, err := time.Parse("2006-01-02T15:04Z07:00", s)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return v.UTC()
}

func compiled(t failer, s Schedule) *Resolver {
	r, err := New(s, zones)
	if err != nil {
		t.Fatalf("compile the schedule: %v", err)
	}
	return r
}
