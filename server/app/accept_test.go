package app

import (
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

func TestDedupKeysAreScoped(t *testing.T) {
	for _, c := range []struct {
		name    string
		service catalog.KeyScope
		option  ingest.Scope
		want    string
	}{
		{"as the service says by default", catalog.ScopeService, "", "db"},
		{"each integration of the service for itself", catalog.ScopeIntegration, "", "m1/db"},
		{"the integration wants its own", catalog.ScopeService, ingest.ScopeIntegration, "m1/db"},
		{"the integration shares", catalog.ScopeIntegration, ingest.ScopeService, "db"},
	} {
		from := ingest.Integration{ID: "m1", Options: ingest.Options{DedupScope: c.option}}
		if got := scoped(from, catalog.Service{KeyScope: c.service}, "db"); got != c.want {
			t.Errorf("%s: key = %q, want %q", c.name, got, c.want)
		}
	}
	long := make([]byte, event.MaxKey)
	for i := range long {
		long[i] = 'k'
	}
	from := ingest.Integration{ID: "m1", Options: ingest.Options{DedupScope: ingest.ScopeIntegration}}
	if got := scoped(from, catalog.Service{}, string(long)); len(got) > event.MaxKey {
		t.Errorf("a key of %d bytes became one of %d, want %d at most", len(long), len(got), event.MaxKey)
	}
}

func TestTheTraceTravelsWithTheEvent(t *testing.T) {
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	got := traceparent(trace.ContextWithSpanContext(t.Context(), span))
	if want := "00-01000000000000000000000000000000-0200000000000000-01"; got != want {
		t.Errorf("traceparent = %q, want %q", got, want)
	}
	if got := traceparent(t.Context()); got != "" {
		t.Errorf("traceparent of no trace = %q, want none", got)
	}
}

func TestPhonesNameTheirApp(t *testing.T) {
	all := apps{
		{ID: "oncall", Platform: "ios", Bundle: "com.example.oncall"},
		{ID: "oncall", Platform: "ios", Environment: "sandbox", Bundle: "com.example.oncall"},
		{ID: "ops", Platform: "ios", Bundle: "com.example.ops"},
		{ID: "oncall", Platform: "android"},
	}
	for _, c := range []struct {
		name     string
		platform push.Platform
		app      string
		want     string
	}{
		{"by its id", push.IOS, "ops", "ops"},
		{"by its bundle id", push.IOS, "com.example.oncall", "oncall"},
		{"an iPhone app that nobody configured", push.IOS, "com.example.other", "com.example.other"},
		{"any Android package of the one project", push.Android, "com.example.oncall.android", "oncall"},
		{"no app of that platform", push.Web, "x", "x"},
	} {
		if got := all.resolve(c.platform, c.app); got != c.want {
			t.Errorf("%s: app = %q, want %q", c.name, got, c.want)
		}
	}
	two := append(apps{}, append(all, config.PushApp{ID: "ops", Platform: "android"})...)
	if got := two.resolve(push.Android, "com.example.ops"); got != "com.example.ops" {
		t.Errorf("with two projects, app = %q: a phone was given to one by chance", got)
	}
}

func TestPositionsAreCompared(t *testing.T) {
	for _, c := range []struct {
		have, want string
		older      bool
	}{
		{"5-1", "5-1", false},
		{"5-1", "5-2", true},
		{"5-9", "6-0", true},
		{"10-0", "9-9", false},
		{"5-1", "", false},
		{"", "5-1", true},
		{"nonsense", "5-1", true},
	} {
		if got := older(c.have, c.want); got != c.older {
			t.Errorf("older(%q, %q) = %t, want %t", c.have, c.want, got, c.older)
		}
	}
}
