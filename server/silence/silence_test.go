package silence_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/silence"
)

var start = time.Date(2026, 7, 1, 3, 0, 0, 0, time.UTC)

// pages adds n pages, a second apart, over so many phones; those whose phone
// has a number below silent are not confirmed.
func pages(w *silence.Watch, from time.Time, n, phones, silent int) {
	for i := range n {
		w.Add(silence.Page{
			Device: roster.DeviceID(fmt.Sprint("phone", i%phones)), At: from.Add(time.Duration(i) * time.Second), Confirmed: i%phones >= silent,
		})
	}
}

func TestLook(t *testing.T) {
	for name, c := range map[string]struct {
		pages, phones, silent int
		want                  bool
	}{
		"nobody confirms":                {20, 10, 10, true},
		"one page too few":               {19, 10, 10, false},
		"one phone too few":              {40, 9, 9, false},
		"everybody confirms":             {40, 20, 0, false},
		"three in ten are silent":        {40, 10, 3, false},
		"more than three in ten, a page": {40, 20, 7, true},
	} {
		var w silence.Watch
		pages(&w, start, c.pages, c.phones, c.silent)
		s := w.Look(start.Add(time.Minute))
		if s.Degraded != c.want || s.Pages != c.pages || s.Devices != c.phones {
			t.Errorf("%s: %+v, want degraded %t", name, s, c.want)
		}
	}
}

// One phone that is off in a storm has most of the pages, and is one phone.
func TestDeadPhoneInAStorm(t *testing.T) {
	var w silence.Watch
	pages(&w, start, 20, 10, 0)
	for i := range 180 {
		w.Add(silence.Page{Device: "dead", At: start.Add(time.Duration(i) * time.Second)})
	}
	if s := w.Look(start.Add(3 * time.Minute)); s.Degraded || s.Missing != 180 {
		t.Errorf("state = %+v, want 180 missing pages of one phone to say nothing of the service", s)
	}
}

// Where half of the phones never confirm, that they do not is no news. A service
// that has been well for a day and goes silent counts as degraded for hours.
func TestComparedWithTheDayBefore(t *testing.T) {
	var w silence.Watch
	for hour := range 24 {
		at := start.Add(time.Duration(hour) * time.Hour)
		pages(&w, at, 20, 20, 10)
		w.Look(at.Add(time.Minute))
	}
	now := start.Add(24 * time.Hour)
	pages(&w, now, 40, 20, 10)
	if s := w.Look(now.Add(time.Minute)); s.Degraded || s.Usual < 0.45 || s.Usual > 0.55 {
		t.Errorf("state = %+v, want half to be usual", s)
	}
	pages(&w, now.Add(time.Minute), 160, 20, 20)
	if s := w.Look(now.Add(4 * time.Minute)); !s.Degraded {
		t.Errorf("state = %+v, want it degraded when all are silent", s)
	}

	w = silence.Watch{}
	for i := range 24 * 12 {
		at := start.Add(time.Duration(i) * silence.Window)
		pages(&w, at, 40, 20, 0)
		w.Look(at.Add(time.Minute))
	}
	for i := range 6 * 12 {
		at := now.Add(time.Duration(i) * silence.Window)
		pages(&w, at, 40, 20, 20)
		if s := w.Look(at.Add(time.Minute)); !s.Degraded {
			t.Fatalf("%s into the silence: %+v, want it degraded", time.Duration(i)*silence.Window, s)
		}
	}
}

func TestRecovers(t *testing.T) {
	var w silence.Watch
	pages(&w, start, 60, 20, 20)
	now := start.Add(time.Minute)
	if s := w.Look(now); !s.Degraded || !s.Since.Equal(now) {
		t.Fatalf("state = %+v, want it degraded since now", s)
	}
	if s := w.Look(now.Add(10 * time.Minute)); !s.Degraded || !s.Since.Equal(now) {
		t.Errorf("ten minutes without a page: %+v, want what was known", s)
	}
	again := now.Add(12 * time.Minute)
	pages(&w, again, 6, 6, 0)
	if s := w.Look(again.Add(time.Minute)); s.Degraded {
		t.Errorf("after six pages that were confirmed: %+v, want it well", s)
	}
	if s := w.Look(again.Add(time.Minute)); s.Usual != 0 {
		t.Errorf("usual = %v after a quarter of an hour, want that it is not known", s.Usual)
	}
}

// Where few pages go out, half an hour without a missing one is enough.
func TestForgets(t *testing.T) {
	var w silence.Watch
	pages(&w, start, 60, 20, 20)
	if s := w.Look(start.Add(time.Minute)); !s.Degraded {
		t.Fatalf("state = %+v, want it degraded", s)
	}
	if s := w.Look(start.Add(29 * time.Minute)); !s.Degraded {
		t.Errorf("within half an hour: %+v, want it degraded", s)
	}
	if s := w.Look(start.Add(32 * time.Minute)); s.Degraded {
		t.Errorf("after it: %+v, want it well", s)
	}
}

// A clock that was a year ahead for a while hides nothing afterwards.
func TestClockThatWasAhead(t *testing.T) {
	var w silence.Watch
	ahead := start.AddDate(1, 0, 0)
	pages(&w, ahead, 20, 10, 10)
	w.Look(ahead.Add(time.Minute))
	pages(&w, start, 60, 20, 20)
	if s := w.Look(start.Add(time.Minute)); !s.Degraded || s.Pages != 60 {
		t.Fatalf("state = %+v, want the pages seen", s)
	}
	if s := w.Look(start.Add(40 * time.Minute)); s.Degraded {
		t.Errorf("forty minutes on: %+v, want it forgotten", s)
	}
}

// Whatever comes in: no judgement without the evidence, a share is a share, and
// nothing is remembered for ever.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w silence.Watch
		now, was := start, false
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "seconds")) * time.Second)
			for range rapid.IntRange(0, 40).Draw(t, "pages") {
				w.Add(silence.Page{
					Device: roster.DeviceID(fmt.Sprint(rapid.IntRange(0, 15).Draw(t, "phone"))), Confirmed: rapid.Bool().Draw(t, "confirmed"),
					At: now.Add(-time.Duration(rapid.IntRange(1, 400).Draw(t, "ago")) * time.Second),
				})
			}
			s := w.Look(now)
			if s.Share < 0 || s.Share > 1 || s.Usual < 0 || s.Usual > 1 || s.Missing > s.Pages || s.Devices > s.Pages {
				t.Fatalf("state = %+v", s)
			}
			if s.Degraded && !was && (s.Pages < silence.LeastPages || s.Devices < silence.LeastDevices || s.Share-s.Usual <= silence.Excess) {
				t.Fatalf("degraded without the evidence: %+v", s)
			}
			if was = s.Degraded; was != !s.Since.IsZero() {
				t.Fatalf("degraded %t since %v", was, s.Since)
			}
		}
	})
}
