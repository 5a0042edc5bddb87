package ingest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

// mapped maps a body with the source of that name.
func mapped(t *testing.T, source, body string, options ingest.Options) []event.Event {
	t.Helper()
	s, ok := ingest.Lookup(source)
	if !ok {
		t.Fatalf("there is no source %s", source)
	}
	result, err := s.Map(ingest.Request{Body: []byte(body), Header: http.Header{}, Options: options, ID: "rq1", Integration: "in1", NewKey: "made"})
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	for i, e := range result.Events {
		if err := event.Check(e); err != nil {
			t.Errorf("event %d breaks a limit: %v", i, err)
		}
	}
	return result.Events
}

// outline is what matters of events for their order: action, key, severity, summary.
func outline(events []event.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s %s %s\n", e.Action, e.DedupKey, e.Severity, e.Summary)
	}
	return b.String()
}

func wantOutline(t *testing.T, got []event.Event, want ...string) {
	t.Helper()
	all := ""
	for _, line := range want {
		all += line + "\n"
	}
	if diff := cmp.Diff(all, outline(got)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func detail(t *testing.T, e event.Event, name string) any {
	t.Helper()
	var details map[string]any
	if err := json.Unmarshal(e.Details, &details); err != nil {
		t.Fatalf("details %s: %v", e.Details, err)
	}
	return details[name]
}

func TestAlertmanagerMembersFailOnTheirOwn(t *testing.T) {
	t.Parallel()
	got := mapped(t, "alertmanager", `{"alerts":[
		{"status":"firing","fingerprint":"f1","labels":{"alertname":"A","severity":""},"annotations":{"summary":" ","title":"T"}},
		{"status":"pending","fingerprint":"f2"},
		7,
		{"status":"resolved","fingerprint":3,"labels":["no","object"],"endsAt":"2026-11-21T10:00:00Z"},
		{"status":"firing","labels":{},"annotations":{"summary":"nobody knows who"}}]}`, ingest.Options{})
	wantOutline(t, got,
		"trigger alertmanager:f1 error T",
		"trigger unreadable error Unreadable alertmanager event",
		"resolve alertmanager:3 error Alertmanager alert",
		"trigger "+got[3].DedupKey+" error nobody knows who")
	if detail(t, got[1], "count") != 2.0 || detail(t, got[1], "problem") != "the status of alerts[1] is neither firing nor resolved" || detail(t, got[1], "request_id") != "rq1" {
		t.Errorf("details of the unreadable ones = %s, want their number, the first problem and the request", got[1].Details)
	}
	if !got[2].Timestamp.Equal(time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("timestamp of the resolve = %v, want endsAt", got[2].Timestamp)
	}
	if !got[3].KeyMade || !strings.HasPrefix(got[3].DedupKey, "auto:") || got[0].KeyMade {
		t.Errorf("keys made: %v %q, %v, want one for the alert without labels only", got[3].KeyMade, got[3].DedupKey, got[0].KeyMade)
	}
}

func TestAlertmanagerFields(t *testing.T) {
	t.Parallel()
	got := mapped(t, "alertmanager", `{"externalURL":"https://am.example:9093/x","receiver":"r","alerts":[{"status":"firing","fingerprint":"f",
		"labels":{"alertname":"A","priority":"P1","service":"shop","job":"node"},
		"annotations":{"description":"D","runbook":"https://r.example","dashboard_url":"https://d.example","image":"https://i.example/a.png"},
		"generatorURL":"not a link"}]}`, ingest.Options{})
	want := []event.Event{{
		Action: event.Trigger, DedupKey: "alertmanager:f", Summary: "D", Source: "node", Severity: event.Critical,
		Component: "shop", Class: "A", Client: "Alertmanager", ClientURL: "https://am.example:9093/x",
		Links:  []event.Link{{Href: "https://r.example", Text: "Runbook"}, {Href: "https://d.example", Text: "Dashboard"}},
		Images: []event.Image{{Src: "https://i.example/a.png"}},
		Details: []byte(`{"annotations":{"dashboard_url":"https://d.example","description":"D","image":"https://i.example/a.png","runbook":"https://r.example"},` +
			`"labels":{"alertname":"A","job":"node","priority":"P1","service":"shop"},"receiver":"r","severity_raw":"P1"}`),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestAlertmanagerLastOfRepeatedKeyWins(t *testing.T) {
	t.Parallel()
	got := mapped(t, "alertmanager", `{"alerts":[{"status":"firing","fingerprint":"f1"},{"status":"firing","fingerprint":"f2"}],
		"alerts":[{"status":"resolved","labels":{"alertname":"A","instance":"old"},"labels":{"alertname":"B"},"fingerprint":"f3"}]}`, ingest.Options{})
	wantOutline(t, got, "resolve alertmanager:f3 error B")
	if got[0].Source != "alertmanager" {
		t.Errorf("source = %q, want that of the last labels, not a mixture", got[0].Source)
	}
}

func TestAlertmanagerPerGroup(t *testing.T) {
	t.Parallel()
	body := func(status, key string) string {
		return `{"status":"` + status + `","groupKey":"` + key + `","groupLabels":{"alertname":"A"},"alerts":[
			{"status":"resolved","labels":{"alertname":"A","severity":"critical","instance":"a"}},
			{"status":"firing","labels":{"alertname":"A","severity":"warn","instance":"b"}}]}`
	}
	perGroup := ingest.Options{Mode: ingest.PerGroup}
	firing := mapped(t, "alertmanager", body("firing", "g"), perGroup)
	key := "alertmanager:group:cd0aa9856147b6c5b4ff2b7dfee5da20aa38253099ef1b4a64aced233c9afe29" // sha256 of "g"
	wantOutline(t, firing, "trigger "+key+" warning A (1 firing)")
	if firing[0].Source != "a" {
		t.Errorf("source = %q, want that of the first member", firing[0].Source)
	}
	wantOutline(t, mapped(t, "alertmanager", body("resolved", "g"), perGroup), "resolve "+key+" critical A (1 firing)")
	wantOutline(t, mapped(t, "alertmanager", body("asleep", "g"), perGroup), "trigger unreadable error Unreadable alertmanager event")
	keyless := mapped(t, "alertmanager", body("firing", ""), perGroup)
	if other := mapped(t, "alertmanager", body("resolved", ""), perGroup); keyless[0].DedupKey != other[0].DedupKey || keyless[0].DedupKey == key {
		t.Errorf("without a group key: trigger %q and resolve %q, want one key from the group's labels", keyless[0].DedupKey, other[0].DedupKey)
	}
}

func TestBodiesThatAreNotUnderstoodStillPage(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"alertmanager", "generic"} {
		for _, body := range []string{`{}`, `null`, `"text"`, `5`, `{"alerts":{}}`, `{"alerts":null}`, "\uFEFF {\"x\":\"\xff\"} "} {
			got := mapped(t, source, body, ingest.Options{})
			wantOutline(t, got, "trigger unreadable error Unreadable "+source+" event")
			if len(got) == 1 && (got[0].Source != "tocsin" || got[0].Class != "ingest" || detail(t, got[0], "body") == "") {
				t.Errorf("%s: %s became %+v, want source tocsin, class ingest and the body", source, body, got[0])
			}
		}
	}
}

func TestBatchLimit(t *testing.T) {
	t.Parallel()
	for source, body := range map[string]string{
		"alertmanager": `{"alerts":[` + strings.Repeat(`{"status":"firing","fingerprint":"f"},`, 1001) + `{"status":"firing","fingerprint":"last"}]}`,
		"generic":      `[` + strings.Repeat(`{"summary":"s"},`, 1001) + `{"summary":"last"}]`,
	} {
		got := mapped(t, source, body, ingest.Options{})
		if len(got) != event.MaxBatch+1 {
			t.Fatalf("%s: %d events, want %d and a warning", source, len(got), event.MaxBatch)
		}
		wantOutline(t, got[event.MaxBatch:], "trigger unreadable warning Only the first 1000 of 1002 events in one "+source+" body were taken")
	}
}

func TestGeneric(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 300)
	for _, tc := range []struct {
		name, body string
		want       []string
	}{
		{"a first curl", `{"summary":"s","dedup_key":"k"}`, []string{"trigger k error s"}},
		{"word and case", `{"event_action":"Trigger","summary":"s","dedup_key":"k","severity":"Sev-1"}`, []string{"trigger k critical s"}},
		{"a long key", `{"event_action":"resolve","dedup_key":"` + long + `"}`, []string{"resolve " + event.Key("generic", long) + " error "}},
		{
			"a batch", `[{"event_action":"acknowledge","dedup_key":"a"},5,{"event_action":"resolve","dedup_key":7},{"event_action":"nap"}]`,
			[]string{"acknowledge a error ", "trigger unreadable error Unreadable generic event", "resolve 7 error "},
		},
		{"empty batch", `[]`, nil},
		{"nothing to go by", `{"event_action":"resolve"}`, []string{"trigger unreadable error Unreadable generic event"}},
		{"no summary", `{"event_action":"trigger","dedup_key":"k","summary":"  "}`, []string{"trigger unreadable error Unreadable generic event"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			wantOutline(t, mapped(t, "generic", tc.body, ingest.Options{}), tc.want...)
		})
	}
}

func TestGenericWithoutKey(t *testing.T) {
	t.Parallel()
	one := mapped(t, "generic", `{"summary":"disk full","source":"db","custom_details":{"at":1}}`, ingest.Options{})[0]
	again := mapped(t, "generic", `{"summary":"disk  full","summary":"disk full","source":"db","custom_details":{"at":2}}`, ingest.Options{})[0]
	healed := mapped(t, "generic", `{"event_action":"resolve","summary":"disk full","source":"db"}`, ingest.Options{})[0]
	other := mapped(t, "generic", `{"summary":"disk full","source":"db2"}`, ingest.Options{})[0]
	if !one.KeyMade || one.DedupKey != again.DedupKey || one.DedupKey != healed.DedupKey || one.DedupKey == other.DedupKey {
		t.Errorf("keys: %q, again %q, healed %q, of another source %q; want the first three equal and made here", one.DedupKey, again.DedupKey, healed.DedupKey, other.DedupKey)
	}
}

func TestGenericKeepsAllFields(t *testing.T) {
	t.Parallel()
	got := mapped(t, "generic", `{"event_action":"trigger","dedup_key":"k","summary":"s","source":"h","severity":"urgent","timestamp":"2026-11-21T10:00:00+01:00",
		"component":"c","group":"g","class":"cl","custom_details":{"id":12345678901234567890},"links":[{"href":"https://l.example","text":"t"},5],
		"images":[{"src":"https://i.example","href":"https://l.example","alt":"a"}],"client":"cron","client_url":"https://c.example"}`, ingest.Options{})
	want := []event.Event{{
		Action: event.Trigger, DedupKey: "k", Summary: "s", Source: "h", Severity: event.Error,
		Timestamp: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC), Component: "c", Group: "g", Class: "cl",
		Details: []byte(`{"id":12345678901234567890,"severity_raw":"urgent"}`),
		Links:   []event.Link{{Href: "https://l.example", Text: "t"}},
		Images:  []event.Image{{Src: "https://i.example", Href: "https://l.example", Alt: "a"}},
		Client:  "cron", ClientURL: "https://c.example",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestGenericText(t *testing.T) {
	t.Parallel()
	allow := ingest.Options{AllowText: true}
	for body, summary := range map[string]string{
		"[CRITICAL] disk full\r\nmore": "[CRITICAL] disk full",
		"\n\n  it broke":               "it broke",
		`{"cut on the wi`:              `{"cut on the wi`,
		`42`:                           "42",
	} {
		got := mapped(t, "generic", body, allow)
		if len(got) != 1 || got[0].Summary != summary || !strings.HasPrefix(got[0].DedupKey, "generic:") {
			t.Errorf("%q became %s, want the summary %q", body, outline(got), summary)
		}
	}
	wantOutline(t, mapped(t, "generic", `{"summary":"s","dedup_key":"k"}`, allow), "trigger k error s")
	s, _ := ingest.Lookup("generic")
	if _, err := s.Map(ingest.Request{Body: []byte("it broke")}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("text without the option: %v, want an Invalid fault", err)
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	got, err := ingest.ParseOptions(map[string]string{"alertmanager_mode": "per_group", "allow_text": "true", "dedup_scope": "integration"})
	want := ingest.Options{Mode: ingest.PerGroup, AllowText: true, DedupScope: ingest.ScopeIntegration}
	if err != nil || got != want {
		t.Errorf("ParseOptions = %+v, %v, want %+v", got, err, want)
	}
	_, err = ingest.ParseOptions(map[string]string{"alertmanager_mode": "x", "allow_text": "perhaps", "dedup_scope": "y", "alow_text": "true"})
	for _, name := range []string{"alertmanager_mode", "allow_text", "dedup_scope", "alow_text"} {
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "options."+name+":") {
			t.Errorf("ParseOptions: %v, want an Invalid fault that names %s", err, name)
		}
	}
}
