package app

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Redis fails over to a replica that has heard nothing of two incidents, one of
// which Ann has acknowledged. The one goes on to Bo five minutes later, the
// other stays hers.
func TestFailoverForgetsNeitherPagesNorAcknowledgements(t *testing.T) {
	t.Parallel()
	redis := redistest.StartPair(t)
	w := newWorld(t, redis.URL())
	in := w.start()
	in.apply(organisation)
	ann, bo := in.bring(w, "ann", pb.Device_PLATFORM_IOS), in.enrol(w, "bo", roster.IOS)
	redis.InStep(t)
	redis.Cut()
	in.send("trigger", "db", "the disk is full")
	first := gets(t, ann.Phone, "the page", page)
	in.send("trigger", "web", "the site is down")
	second := gets(t, ann.Phone, "the other page", func(n pushtest.Notification) bool {
		return page(n) && n.IncidentID != first.IncidentID
	})
	_, err := ann.devices.Act(ann.auth, &pb.ActRequest{
		ActionId: uuid.NewString(), DeliveryId: first.DeliveryID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE,
	})
	if err != nil {
		t.Fatal(err)
	}
	redis.Promote(t)
	eventually(t, "the server makes good what is missing", func() bool { return in.server.store.FailoverStats().Restored > 0 })
	if got := in.server.store.FailoverStats(); got.Lost > 0 {
		t.Errorf("got %+v, want nothing lost", got)
	}
	if got := in.acknowledgements(first.IncidentID); got != 1 {
		t.Errorf("the timeline has %d acknowledgements, want one", got)
	}
	in.forward(w, 6*time.Minute)
	gets(t, bo, "the page", func(n pushtest.Notification) bool { return page(n) && n.IncidentID == second.IncidentID })
	for _, n := range bo.Got() {
		if n.IncidentID == first.IncidentID {
			t.Errorf("Bo got %+v of what Ann has acknowledged", n)
		}
	}
}

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
