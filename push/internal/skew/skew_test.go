package skew

import (
	"net/http"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	said := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	var g Gauge
	for _, tc := range []struct {
		date string
		far  bool
		skew time.Duration
	}{
		{"", false, 0},
		{"yesterday", false, 0},
		{said(0), false, 0},
		{said(time.Minute), false, time.Minute},
		{said(61 * time.Second), true, 61 * time.Second},
		{said(-61 * time.Second), true, -61 * time.Second},
		{"nonsense", false, -61 * time.Second}, // says nothing: what was known stays
		{said(-61 * time.Second), true, -61 * time.Second},
		{said(2 * time.Second), false, 2 * time.Second},
	} {
		if far := g.Compare(tc.date, now); far != tc.far || g.Skew() != tc.skew {
			t.Errorf("%q: far %t, skew %v; want %t, %v", tc.date, far, g.Skew(), tc.far, tc.skew)
		}
	}
	if g.Compare(said(2*time.Second), now.Add(time.Hour)); g.Skew() != 2*time.Second-time.Hour {
		t.Errorf("the same header an hour later: skew %v, want our own clock to count", g.Skew())
	}
}
