package ingest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

// seed adds the bodies of a source's golden files, up to 20 KB each.
func seed(f *testing.F, source string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", source, "*"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if !strings.HasSuffix(file, ".expected.json") && len(body) < 20<<10 {
			f.Add(bytes.ReplaceAll(body, []byte("{key}"), []byte(key)))
		}
	}
	f.Add([]byte("\xef\xbb\xbf{\"a\":\"\xff\"}"))
	f.Add([]byte(strings.Repeat("[", 70)))
}

// lawful maps a body with each of the options and checks what holds for all sources.
func lawful(t *testing.T, name string, body []byte, options ...ingest.Options) {
	t.Helper()
	source, _ := ingest.Lookup(name)
	for _, o := range options {
		r := ingest.Request{Body: body, Header: http.Header{"Webhook-Id": {"m1"}}, Options: o, ID: "rq", Integration: "in", NewKey: "new"}
		first, err := source.Map(r)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid && name != "pagerduty" {
				t.Fatalf("refused with %v, want an Invalid fault", err)
			}
			continue
		}
		if len(first.Events) > event.MaxBatch+1 {
			t.Fatalf("%d events, want at most %d", len(first.Events), event.MaxBatch+1)
		}
		for _, e := range first.Events {
			if err := event.Check(e); err != nil {
				t.Fatalf("%+v breaks a limit: %v", e, err)
			}
		}
		if second, err := source.Map(r); err != nil || !cmp.Equal(first, second) {
			t.Fatalf("the same request again: %v\n%s", err, cmp.Diff(first, second))
		}
	}
}

func FuzzAlertmanager(f *testing.F) {
	seed(f, "alertmanager")
	f.Fuzz(func(t *testing.T, body []byte) {
		lawful(t, "alertmanager", body, ingest.Options{}, ingest.Options{Mode: ingest.PerGroup})
	})
}

func FuzzGeneric(f *testing.F) {
	seed(f, "generic")
	f.Fuzz(func(t *testing.T, body []byte) {
		lawful(t, "generic", body, ingest.Options{}, ingest.Options{AllowText: true})
	})
}

func FuzzPagerDuty(f *testing.F) {
	seed(f, "pagerduty")
	f.Fuzz(func(t *testing.T, body []byte) {
		lawful(t, "pagerduty", body, ingest.Options{})
		b := &backend{}
		w := httptest.NewRecorder()
		b.handler(io.Discard).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v2/enqueue", bytes.NewReader(body)))
		if w.Code != http.StatusAccepted && w.Code != http.StatusBadRequest {
			t.Fatalf("status = %d, want 202 or 400", w.Code)
		}
		if (w.Code == http.StatusAccepted) != (len(b.events) == 1) {
			t.Fatalf("status = %d with %d events", w.Code, len(b.events))
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("text"), false)
	f.Add(zip(f, "text"), true)
	f.Add(zip(f, strings.Repeat("x", 200<<10)), true)
	f.Fuzz(func(t *testing.T, body []byte, zipped bool) {
		const limit = 128 << 10
		encoding := ""
		if zipped {
			encoding = "gzip"
		}
		got, err := ingest.Read(request(t.Context(), body, encoding), limit)
		switch {
		case err != nil && fault.KindOf(err) != fault.Invalid:
			t.Fatalf("refused with %v, want an Invalid fault", err)
		case len(got) > limit || (zipped && len(got) > 64<<10 && len(got) > 20*len(body)):
			t.Fatalf("%d bytes became %d, want at most %d and 20 for each", len(body), len(got), limit)
		case err == nil && !zipped && !bytes.Equal(got, body):
			t.Fatalf("the body changed: %q, want %q", got, body)
		}
	})
}

// benchmark sends body through the handler, without a network.
func benchmark(b *testing.B, path, body string) {
	b.Helper()
	back := &backend{}
	h := back.handler(io.Discard)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		back.events = back.events[:0]
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodPost, path, strings.NewReader(body)))
		if w.Code != http.StatusAccepted {
			b.Fatalf("status = %d, want 202; body %s", w.Code, w.Body)
		}
	}
}

func BenchmarkEnqueue(b *testing.B) {
	body, err := os.ReadFile("testdata/pagerduty/trigger-full.json")
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, "/v2/enqueue", strings.ReplaceAll(string(body), "{key}", key))
}

func BenchmarkAlertmanager50(b *testing.B) {
	var alerts []string
	for i := range 50 {
		alerts = append(alerts, fmt.Sprintf(`{"status":"firing","labels":{"alertname":"PaymentLatencyHigh","instance":"pay-%d.shop.example:9102",
			"job":"payments","severity":"critical","team":"money"},"annotations":{"summary":"p99 of pay-%d above 2 s","description":"Checkout is slow.",
			"runbook_url":"https://runbooks.shop.example/latency"},"startsAt":"2026-11-21T10:04:11.482Z","endsAt":"0001-01-01T00:00:00Z",
			"generatorURL":"https://prom.shop.example/graph?g0.expr=x&g0.tab=1","fingerprint":"%016x"}`, i, i, i))
	}
	benchmark(b, "/integrations/"+key+"/alertmanager", `{"version":"4","status":"firing","receiver":"tocsin","groupKey":"{}:{}","externalURL":"https://a.example",
		"truncatedAlerts":0,"alerts":[`+strings.Join(alerts, ",")+`]}`)
}

func BenchmarkLargeAlert(b *testing.B) {
	body, err := os.ReadFile("testdata/alertmanager/large-490kb.json")
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, "/integrations/"+key+"/alertmanager", string(body))
}
