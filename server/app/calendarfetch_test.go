package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/calendar"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// A calendar is read from where the configuration lets it be read, and a
// redirect leads nowhere else.
func TestCalendarsAreReadFromOutside(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux) // on 127.0.0.1
	t.Cleanup(srv.Close)
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("BEGIN")) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2*calendar.MaxCalendar)) })
	mux.HandleFunc("/gone", http.NotFound)
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.Handle("/once", http.RedirectHandler("/good", http.StatusFound))
	mux.Handle("/house", http.RedirectHandler(strings.Replace(srv.URL, "127.0.0.1", "127.0.0.2", 1)+"/good", http.StatusFound))
	mux.Handle("/file", http.RedirectHandler("file:///etc/passwd", http.StatusFound))

	outside, err := calendarFetcher(config.Webhooks{Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	strict, err := calendarFetcher(config.Webhooks{Allow: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := calendarFetcher(config.Webhooks{Allow: []string{"127.0.0.1"}, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/good", "/once"} {
		if raw, err := allowed(t.Context(), srv.URL+path); err != nil || string(raw) != "BEGIN" {
			t.Errorf("%s: got %q, %v", path, raw, err)
		}
	}
	if raw, err := allowed(t.Context(), srv.URL+"/large"); err != nil || len(raw) != calendar.MaxCalendar+1 {
		t.Errorf("of a large one %d bytes are read, %v; want one more than may be", len(raw), err)
	}
	for path, says := range map[string]string{
		"/house": "inside the house", "/loop": "more than 5 times", "/file": "no https URL", "/gone": "answers 404",
	} {
		if raw, err := allowed(t.Context(), srv.URL+path); fault.KindOf(err) != fault.Invalid || !strings.Contains(reason(err), strings.TrimPrefix(says, "no ")) || raw != nil {
			t.Errorf("%s: got %q, %v; want that it %s", path, raw, err, says)
		}
	}
	if _, err := outside(t.Context(), srv.URL+"/good"); !strings.Contains(reason(err), "inside the house") {
		t.Errorf("a private address: %v", err)
	}
	for _, address := range []string{srv.URL + "/good", "ftp://example.org/", "https://ann:secret@example.org/", "https:///x", "file:///etc/passwd", ":"} {
		if _, err := strict(t.Context(), address); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// What is said of a calendar that did not answer, in the log too, has no address
// in it: whoever knows the address reads the calendar.
func TestACalendarThatIsSilentIsNotNamed(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	mux.HandleFunc("/cut/secret", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.Handle("/on", http.RedirectHandler("/cut/secret", http.StatusFound))
	fetch, err := calendarFetcher(config.Webhooks{Allow: []string{"127.0.0.1"}, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/cut/secret", "/on"} {
		_, err := fetch(t.Context(), srv.URL+path)
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v, want that it did not answer", path, err)
		}
		if strings.Contains(reason(err), "secret") {
			t.Errorf("%s: the address is told: %v", path, err)
		}
	}
}

// reason is all that a fault says.
func reason(err error) string {
	if err == nil {
		return ""
	}
	said := err.Error()
	if f, ok := asFault(err); ok {
		for _, field := range f.Fields {
			said += " " + field.Fix
		}
	}
	return said
}

func asFault(err error) (*fault.Error, bool) {
	f, ok := err.(*fault.Error) //nolint:errorlint // the test wants the fault itself
	return f, ok
}
