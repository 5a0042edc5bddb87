package schedule

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// TestOverridesAreRefused has the errors that somebody gets to see.
func TestOverridesAreRefused(t *testing.T) {
	now := at(t, "2026-06-09T10:00Z")
	s := weekly(t, "ABC")
	s.Overrides = []Override{{ID: "o", Start: now.Add(-2 * day), End: now.Add(-day), User: "X"}}
	fine := Override{ID: "n", Start: now, End: now.Add(day), User: "X"}
	for _, c := range []struct {
		name  string
		spoil func(*Override)
		field string // empty: another kind of error
	}{
		{"ends before it starts", func(o *Override) { o.End = o.Start.Add(-time.Minute) }, "end_time"},
		{"has no length", func(o *Override) { o.End = o.Start }, "end_time"},
		{"no start", func(o *Override) { o.Start = time.Time{} }, "start_time"},
		{"for ever", func(o *Override) { o.End = o.Start.Add(401 * day) }, "end_time"},
		{"no id", func(o *Override) { o.ID = "" }, "id"},
		{"a taken id", func(o *Override) { o.ID = "o" }, "id"},
		{"over already", func(o *Override) { o.Start, o.End = now.Add(-2*day), now }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := fine
			c.spoil(&o)
			_, err := s.WithOverrides(now, o)
			f, _ := errors.AsType[*fault.Error](err)
			switch {
			case c.field == "" && errors.Is(err, ErrOverridePast):
			case c.field != "" && f != nil && len(f.Fields) == 1 && f.Fields[0].Path == c.field:
			default:
				t.Errorf("refused with %v, want a complaint about %q", err, c.field)
			}
		})
	}
	if _, err := s.WithOverrides(now, fine, Override{ID: "m", Start: now, End: now}); err == nil {
		t.Error("one of two overrides was bad, and both were taken")
	}
	for i := range MaxOverrides {
		s.Overrides = append(s.Overrides, Override{ID: OverrideID(fmt.Sprint(i)), Start: now, End: now.Add(day)})
	}
	if _, err := s.WithOverrides(now, fine); fault.KindOf(err) != fault.Invalid {
		t.Errorf("the override after the last that there is room for: %v", err)
	}
}

func TestOverrideIsCutToWhatIsAhead(t *testing.T) {
	now := at(t, "2026-06-09T10:00Z") // B's week
	s, err := weekly(t, "ABC").WithOverrides(now, Override{ID: "o", Start: now.Add(-time.Hour), End: now.Add(2 * time.Hour), User: "X", CreatedAt: now.Add(-day)})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Overrides[0]; !got.Start.Equal(now) || !got.CreatedAt.Equal(now) {
		t.Errorf("it starts %v and was created %v, want now", got.Start, got.CreatedAt)
	}
	later := now.Add(time.Hour)
	s, err = s.WithoutOverride("o", time.Time{}, time.Time{}, "", later)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Overrides[0]; !got.End.Equal(later) {
		t.Errorf("removed after an hour, it ends %v, want then", got.End)
	}
	if _, err = s.WithoutOverride("o", time.Time{}, time.Time{}, "", later); !errors.Is(err, ErrOverridePast) {
		t.Errorf("removed again: %v, want that it is past", err)
	}
	if _, err = s.WithoutOverride("p", time.Time{}, time.Time{}, "", later); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removed one that never was: %v", err)
	}
	s, err = s.WithOverrides(now.Add(Kept+3*time.Hour), Override{ID: "n", Start: now.Add(Kept + 3*time.Hour), End: now.Add(Kept + 4*time.Hour)})
	if err != nil || len(s.Overrides) != 1 {
		t.Errorf("after 400 days %d overrides are kept (%v), want the new one", len(s.Overrides), err)
	}
}

func TestHoleInAnOverride(t *testing.T) {
	now := at(t, "2026-06-09T10:00Z")
	s, err := weekly(t, "ABC").WithOverrides(now, Override{ID: "o", Start: now, End: now.Add(4 * time.Hour), User: "X"})
	if err != nil {
		t.Fatal(err)
	}
	from, to := now.Add(time.Hour), now.Add(2*time.Hour)
	for _, rest := range []OverrideID{"", "o"} {
		if _, err := s.WithoutOverride("o", from, to, rest, now); fault.KindOf(err) != fault.Invalid {
			t.Errorf("a hole with %q for the rest: %v, want a complaint", rest, err)
		}
	}
	if _, err := s.WithoutOverride("o", to, from, "r", now); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a hole that ends before it starts: %v, want a complaint", err)
	}
	s, err = s.WithoutOverride("o", from, to, "r", now)
	if err != nil {
		t.Fatal(err)
	}
	got := compiled(t, s).Render(now, now.Add(5*time.Hour))
	want := []Shift{
		{now, from, "X", "", "o"},
		{from, to, "B", "l", ""},
		{to, now.Add(4 * time.Hour), "X", "", "r"},
		{now.Add(4 * time.Hour), now.Add(5 * time.Hour), "B", "l", ""},
	}
	compare(t, got, want)
}

// TestDeliberateGap: nobody, although the layers have somebody, and said so.
func TestDeliberateGap(t *testing.T) {
	now := at(t, "2026-06-09T10:00Z")
	s, err := weekly(t, "ABC").WithOverrides(now, Override{ID: "o", Start: now.Add(time.Hour), End: now.Add(2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	r := compiled(t, s)
	if got := r.At(now.Add(time.Hour)); !got.Gap() || got.Override != "o" {
		t.Errorf("in the gap it is %+v", got)
	}
	gaps := r.Gaps(now, now.Add(day))
	if len(gaps) != 1 || gaps[0] != (Gap{now.Add(time.Hour), now.Add(2 * time.Hour), "o"}) {
		t.Errorf("the gaps are %+v, want the one that the override made", gaps)
	}
}

func compare(t *testing.T, got, want []Shift) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d shifts %+v, want %d", len(got), got, len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("shift %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}
