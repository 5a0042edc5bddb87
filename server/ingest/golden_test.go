package ingest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

// golden is a file testdata/<source>/<name>.expected.json; the body that it
// speaks of is beside it.
type golden struct {
	Request struct {
		Method   string            `json:"method"`
		Path     string            `json:"path"`
		Headers  map[string]string `json:"headers"`
		BodyFile string            `json:"body_file"`
		Options  map[string]any    `json:"options"`
	} `json:"request"`
	Response struct {
		Status int `json:"status"`
	} `json:"response"`
	Events []map[string]any `json:"events"`
}

func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*/*.expected.json")
	if err != nil || len(files) < 19 {
		t.Fatalf("found %d golden files, %v, want at least 19", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/"), ".expected.json"), func(t *testing.T) {
			t.Parallel()
			var want golden
			readJSON(t, file, &want)
			body, err := os.ReadFile(filepath.Join(filepath.Dir(file), want.Request.BodyFile))
			if err != nil {
				t.Fatal(err)
			}
			first := want.send(t, body)
			if second := want.send(t, body); !cmp.Equal(first, second) {
				t.Errorf("the same body sent again gives other events:\n%s", cmp.Diff(first, second))
			}
			compareEvents(t, want.Events, first)
		})
	}
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// send posts the body through the handler and returns what the acceptor got.
func (g *golden) send(t *testing.T, body []byte) []event.Event {
	t.Helper()
	settings := map[string]string{}
	for name, value := range g.Request.Options {
		if name != "rules" { // expressions: not of this source as it stands, and the outcome is the same
			settings[name] = fmt.Sprint(value)
		}
	}
	options, err := ingest.ParseOptions(settings)
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{integration: ingest.Integration{ID: "in1", ServiceID: "sv1", Options: options}}
	body = bytes.ReplaceAll(body, []byte("{key}"), []byte(key))
	r := httptest.NewRequestWithContext(t.Context(), g.Request.Method, strings.ReplaceAll(g.Request.Path, "{key}", key), bytes.NewReader(body))
	for name, value := range g.Request.Headers {
		r.Header.Set(name, strings.ReplaceAll(value, "{key}", key))
	}
	w := httptest.NewRecorder()
	b.handler(io.Discard).ServeHTTP(w, r)
	if w.Code != g.Response.Status {
		t.Fatalf("status = %d, want %d; body %s", w.Code, g.Response.Status, w.Body)
	}
	return b.events
}

func compareEvents(t *testing.T, want []map[string]any, got []event.Event) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("got %d events, want %d: %+v", len(got), len(want), got)
	}
	for i, fields := range want {
		if err := event.Check(got[i]); err != nil {
			t.Errorf("event %d breaks a limit: %v", i, err)
		}
		have := asFields(t, got[i])
		for name, value := range fields {
			switch {
			case name == "timestamp":
				wantTime, ok := event.ParseTime(fmt.Sprint(value))
				if !ok || !got[i].Timestamp.Equal(wantTime) {
					t.Errorf("event %d: timestamp = %v, want %v", i, got[i].Timestamp, value)
				}
			case name == "custom_details":
				subset(t, fmt.Sprintf("event %d: custom_details", i), value, have[name])
			case !cmp.Equal(value, have[name]):
				t.Errorf("event %d: %s = %v, want %v", i, name, have[name], value)
			}
		}
	}
}

// subset reports what of want is not in got; lists are compared whole.
func subset(t *testing.T, where string, want, got any) {
	t.Helper()
	object, ok := want.(map[string]any)
	if !ok {
		if !cmp.Equal(want, got) {
			t.Errorf("%s = %v, want %v", where, got, want)
		}
		return
	}
	have, ok := got.(map[string]any)
	if !ok {
		t.Errorf("%s = %v, want an object", where, got)
		return
	}
	for name, value := range object {
		subset(t, where+"."+name, value, have[name])
	}
}

// asFields is e under the field names of the common event.
func asFields(t *testing.T, e event.Event) map[string]any {
	t.Helper()
	fields := map[string]any{
		"event_action": e.Action.String(), "dedup_key": e.DedupKey, "summary": e.Summary, "source": e.Source,
		"severity": e.Severity.String(), "component": e.Component, "group": e.Group, "class": e.Class,
		"client": e.Client, "client_url": e.ClientURL,
	}
	var links, images []any
	for _, l := range e.Links {
		links = append(links, map[string]any{"href": l.Href, "text": l.Text})
	}
	for _, i := range e.Images {
		images = append(images, map[string]any{"src": i.Src, "href": i.Href, "alt": i.Alt})
	}
	fields["links"], fields["images"] = links, images
	if len(e.Details) > 0 {
		var details any
		if err := json.Unmarshal(e.Details, &details); err != nil {
			t.Fatal(err)
		}
		fields["custom_details"] = details
	}
	return fields
}

func TestEverySourceHasGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, name := range ingest.Names() {
		files, err := filepath.Glob(filepath.Join("testdata", name, "*.expected.json"))
		if err != nil || len(files) == 0 {
			t.Errorf("the source %s has %d golden files, %v, want some", name, len(files), err)
		}
	}
	if want := []string{"alertmanager", "generic", "pagerduty"}; !slices.Equal(ingest.Names(), want) {
		t.Errorf("sources = %v, want %v", ingest.Names(), want)
	}
}
