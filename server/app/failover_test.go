package app

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestFailoversAreTold(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 14, 3, 9, 26, 0, time.UTC)
	for name, c := range map[string]struct {
		stats store.FailoverStats
		want  string // of the problems; "" for none
	}{
		"quiet":                     {store.FailoverStats{}, ""},
		"nothing was lost for good": {store.FailoverStats{Failovers: 1, Restored: 12}, ""},
		"lost":                      {store.FailoverStats{Failovers: 1, Lost: 1, LastLost: at.Add(-time.Hour)}, "lost in a failover of Redis, 1 time, the last at 2026-03-14 02:09:26 UTC"},
		"lost the day before":       {store.FailoverStats{Failovers: 1, Lost: 2, LastLost: at.Add(-25 * time.Hour)}, ""},
		"no replica":                {store.FailoverStats{Unconfirmed: 3, LastUnconfirmed: at.Add(-time.Second)}, "No replica of Redis confirms"},
		"a replica again":           {store.FailoverStats{Unconfirmed: 3, LastUnconfirmed: at.Add(-2 * time.Minute)}, ""},
	} {
		f := failovers{stats: func() store.FailoverStats { return c.stats }, now: func() time.Time { return at }}
		got := strings.Join(f.problems(), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	r := prometheus.NewRegistry()
	failovers{stats: func() store.FailoverStats { return store.FailoverStats{Restored: 2, Lost: 1} }}.register(r)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families {
		if m.GetName() != "tocsin_store_lost_writes_detected_total" {
			continue
		}
		got := map[string]float64{}
		for _, x := range m.GetMetric() {
			got[x.GetLabel()[0].GetValue()] = x.GetCounter().GetValue()
		}
		if len(got) != 2 || got["restored"] != 2 || got["lost"] != 1 {
			t.Errorf("lost writes: got %v, want 2 restored and 1 lost", got)
		}
		return
	}
	t.Error("there is no metric of lost writes")
}
