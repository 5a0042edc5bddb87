package push_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/golden"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// What dashboards and alerts name: after a run that touches everything, the
// registry has exactly these metrics with these labels, and no label holds a
// person, a phone, a token or an incident.
func TestMetricsByName(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	r := newRig(t, func(o *rigOptions) {
		o.options.Registerer = registry
		o.options.Metrics = push.NewMetrics(registry)
	})
	phone, _ := r.android()
	iphone, _ := r.iphone()
	phone.Person, iphone.Person = "person-ann", "person-ann"
	var secrets []string
	send := func(d push.Device, change func(*push.Message)) push.Result {
		m := r.page()
		if change != nil {
			change(&m)
		}
		secrets = append(secrets, m.DeliveryID, m.IncidentID, d.ID, string(d.Token), "person-ann")
		return r.send(m, d)
	}
	r.want(send(phone, nil), push.EndAccepted)
	r.want(send(phone, func(m *push.Message) { m.Details = map[string]string{"log": strings.Repeat("x", 6000)} }), push.EndAccepted)
	r.want(send(phone, func(m *push.Message) { m.Kind = push.KindHeartbeat }), push.EndAccepted)
	r.want(send(phone, func(m *push.Message) { m.Deadline = time.Now().Add(-time.Second) }), push.EndExpired)
	r.google.Script(string(phone.Token), pushtest.Reject(503, "UNAVAILABLE"))
	r.want(send(phone, nil), push.EndAccepted)
	r.want(send(iphone, nil), push.EndAccepted)
	r.apple.Script(string(iphone.Token), pushtest.Shutdown())
	r.want(send(iphone, nil), push.EndAccepted)
	r.google.Unregister(string(phone.Token))
	r.want(send(phone, nil), push.EndRejected)
	r.google.Cut()
	closed := func() bool {
		all := gather(t, registry)
		return all["push_connection_closes_total"] != nil
	}
	for end := time.Now().Add(10 * time.Second); !closed(); {
		if time.Now().After(end) {
			t.Fatal("no connection is counted as closed after GOAWAY and a cut")
		}
		d, _ := r.android()
		send(d, nil) // gives the pool something to notice it by
	}

	families := gather(t, registry)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
				if i := slices.IndexFunc(secrets, func(s string) bool { return strings.Contains(l.GetValue(), s) }); i >= 0 {
					t.Errorf("%s has the label %s=%q, which names %q", name, l.GetName(), l.GetValue(), secrets[i])
				}
			}
		}
		fmt.Fprintf(&b, "%s %s {%s} %s\n", strings.ToLower(f.GetType().String()), name, strings.Join(slices.Sorted(maps.Keys(labels)), ","), f.GetHelp())
	}
	golden.Check(t, "metrics.txt", b.String())
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

func gather(t *testing.T, g prometheus.Gatherer) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]*dto.MetricFamily{}
	for _, f := range all {
		families[f.GetName()] = f
	}
	return families
}
