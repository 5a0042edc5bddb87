package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestImitationIsWhatAlertmanagerPosts compares with what Alertmanager 0.25
// posted for the same alert, recorded in testdata.
func TestImitationIsWhatAlertmanagerPosts(t *testing.T) {
	t.Parallel()
	for name, over := range map[string]bool{"firing": false, "resolved": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("testdata", "alertmanager-"+name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			want := readJSON(t, text)
			got := imitated(t, over)
			for _, body := range []map[string]any{want, got} { // what differs from machine to machine and run to run
				body["externalURL"], body["groupKey"] = "", ""
				for _, a := range body["alerts"].([]any) {
					a := a.(map[string]any)
					a["startsAt"] = ""
					if over {
						a["endsAt"] = ""
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("body (-Alertmanager +ours):\n%s", diff)
			}
		})
	}
}

// imitated is what the imitation posts, the second time that it tries.
func imitated(t *testing.T, over bool) map[string]any {
	t.Helper()
	tries, bodies := 0, make(chan map[string]any, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- readJSON(t, text)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	m := startImitation(t.Context(), hooks{"checkout": server.URL})
	if err := m.fire(t.Context(), shopAlerts[0], over); err != nil {
		t.Fatal(err)
	}
	body := <-bodies
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	return body
}

// TestAlertmanager runs the real one where it is installed; where it is not,
// what it would have said is in testdata, and the imitation is held to that.
func TestAlertmanager(t *testing.T) {
	t.Parallel()
	program, ok := findAlertmanager()
	if !ok {
		t.Log("no Alertmanager is installed here")
		return
	}
	bodies := make(chan []byte, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- text
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	dir := t.TempDir()
	g := testGuard(t, dir)
	m, err := startAlertmanager(t.Context(), g, program, dir, hooks{"checkout": server.URL + "/integrations/k/alertmanager", "search": server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		over   bool
		status string
	}{{false, "firing"}, {true, "resolved"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := m.fire(ctx, shopAlerts[0], c.over); err != nil {
			t.Fatal(err)
		}
		select {
		case text := <-bodies:
			body := readJSON(t, text)
			if body["status"] != c.status {
				t.Errorf("status: got %v, want %s", body["status"], c.status)
			}
			if *update {
				pretty, err := json.MarshalIndent(body, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join("testdata", "alertmanager-"+c.status+".json"), append(pretty, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		case <-ctx.Done():
			t.Fatalf("Alertmanager did not tell that it is %s: %s", c.status, m.process.tail(5))
		}
		cancel()
	}
	if err := m.stop(); err != nil {
		t.Error(err)
	}
}

func testGuard(t *testing.T, dir string) *guard {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	g, err := startGuard(t.Context(), program, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestFingerprintsDiffer(t *testing.T) {
	t.Parallel()
	all := map[string]string{}
	for _, a := range shopAlerts {
		all[fingerprint(a.labels())] = a.name
	}
	if len(all) != len(shopAlerts) {
		t.Errorf("got the names %v for %d alerts", slices.Collect(maps.Values(all)), len(shopAlerts))
	}
	if got, again := fmt.Sprint(all), fmt.Sprint(all); got != again {
		t.Errorf("got %s, then %s", got, again)
	}
}
