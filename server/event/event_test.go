package event_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

func trigger(change func(*event.Event)) event.Event {
	e := event.Event{Action: event.Trigger, DedupKey: "k", Summary: "s"}
	change(&e)
	return e
}

func TestSeverityOf(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]event.Severity{
		"critical": event.Critical, " CRIT ": event.Critical, "Sev-1": event.Critical, "page": event.Critical,
		"error": event.Error, "major": event.Error, "P2": event.Error,
		"warn": event.Warning, "Degraded": event.Warning,
		"ok": event.Info, "Not Classified": event.Info, "sev5": event.Info,
		"": 0, "3": 0, "banana": 0,
	} {
		if got := event.SeverityOf(word); got != want {
			t.Errorf("SeverityOf(%q) = %v, want %v", word, got, want)
		}
	}
	for _, name := range []string{"critical", "Error", " warning", "info"} {
		s, ok := event.ParseSeverity(name)
		if !ok || !strings.EqualFold(s.String(), strings.TrimSpace(name)) {
			t.Errorf("ParseSeverity(%q) = %v, %v, want the same name", name, s, ok)
		}
	}
	for _, name := range []string{"warn", "p1", "", "fatal"} {
		if s, ok := event.ParseSeverity(name); ok || s != 0 {
			t.Errorf("ParseSeverity(%q) = %v, %v, want none: it is a word, not a name", name, s, ok)
		}
	}
}

func TestParseAction(t *testing.T) {
	t.Parallel()
	for _, want := range []event.Action{event.Trigger, event.Acknowledge, event.Resolve} {
		if got, ok := event.ParseAction(strings.ToUpper(want.String()) + " "); !ok || got != want {
			t.Errorf("ParseAction(%q) = %v, %v, want %v", want, got, ok, want)
		}
	}
	for _, name := range []string{"", "change", "triggered"} {
		if got, ok := event.ParseAction(name); ok {
			t.Errorf("ParseAction(%q) = %v, want none", name, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-21T12:00:00Z":           noon,
		" 2026-11-21T13:00:00+01:00":     noon,
		"2026-11-21T12:00:00.000+0000":   noon,
		"2026-11-21 12:00:00Z":           noon,
		"2026-11-21T12:00:00.000000000Z": noon,
		"0001-01-01T00:00:00Z":           {}, // Alertmanager's word for "not ended"
		"2026-11-21T12:00:00":            {}, // without a zone it is no instant
		"1795255200":                     {},
		"":                               {},
		"2026-13-41T12:00:00Z":           {},
	} {
		got, ok := event.ParseTime(text)
		if ok == want.IsZero() || (ok && !got.Equal(want)) {
			t.Errorf("ParseTime(%q) = %v, %v, want %v", text, got, ok, want)
		}
	}
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestKey(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", event.MaxKey)
	for _, tc := range []struct{ name, key, want string }{
		{"as it is", "srv01/disk", "srv01/disk"},
		{"just fits", long, long},
		{"one byte too long", long + "x", "nagios:sha256:" + hexSum(long+"x")},
		{"trimmed", "  a b\t", "a b"},
		{"same letters, two spellings", "ko\u0308ln", "köln"},
		{"no UTF-8", "a\xffb", "a\uFFFDb"},
		{"empty", " ", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := event.Key("nagios", tc.key)
			if got != tc.want {
				t.Errorf("Key(%q) = %q, want %q", tc.key, got, tc.want)
			}
		})
	}
	if a, b := event.Key("x", "a\nb"), event.Key("x", "ab"); a == b || !strings.HasPrefix(a, "x:sha256:") {
		t.Errorf("a key with a control character became %q, the one without %q, want two keys", a, b)
	}
}

func TestStableKeyFollowsTheCondition(t *testing.T) {
	t.Parallel()
	base := event.Event{Source: "db-1", Class: "disk", Component: "pg", Summary: "full"}
	key := event.StableKey("in1", base)
	later := base
	later.Timestamp, later.Severity, later.Details = time.Unix(5, 0), event.Info, []byte(`{"at":5}`)
	if got := event.StableKey("in1", later); got != key {
		t.Errorf("the same condition later has key %q, want %q", got, key)
	}
	for name, other := range map[string]string{
		"integration": event.StableKey("in2", base),
		"source":      event.StableKey("in1", event.Event{Source: "db-2", Class: "disk", Component: "pg", Summary: "full"}),
		"border":      event.StableKey("in1", event.Event{Source: "db-1d", Class: "isk", Component: "pg", Summary: "full"}),
		"summary":     event.StableKey("in1", event.Event{Source: "db-1", Class: "disk", Component: "pg", Summary: "fuller"}),
	} {
		if other == key {
			t.Errorf("another %s has the same key %q, want another", name, key)
		}
	}
}

func TestNormaliseText(t *testing.T) {
	t.Parallel()
	e, err := event.Normalise(trigger(func(e *event.Event) {
		e.Summary = " disk\r\nfull\x00 on\u2028db\tone\xff "
		e.Source = strings.Repeat("é", event.MaxField+1)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if want := "disk full on db\tone\uFFFD"; e.Summary != want {
		t.Errorf("summary = %q, want %q", e.Summary, want)
	}
	if n := utf8.RuneCountInString(e.Source); n != event.MaxField || !strings.HasSuffix(e.Source, "é…") {
		t.Errorf("source has %d runes and ends with %q, want %d and an ellipsis", n, e.Source[len(e.Source)-5:], event.MaxField)
	}
	if e.Severity != event.Error {
		t.Errorf("severity = %v, want error for a trigger that says none", e.Severity)
	}
}

func TestNormaliseRefuses(t *testing.T) {
	t.Parallel()
	for field, e := range map[string]event.Event{
		"event_action":   {DedupKey: "k", Summary: "s"},
		"dedup_key":      {Action: event.Resolve},
		"summary":        {Action: event.Trigger, DedupKey: "k", Summary: "\n\t "},
		"custom_details": trigger(func(e *event.Event) { e.Details = []byte(`{"a":`) }),
	} {
		_, err := event.Normalise(e)
		if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("Normalise without a good %s: %v, want an Invalid fault that names it", field, err)
		}
	}
}

func TestNormaliseLinks(t *testing.T) {
	t.Parallel()
	in := []event.Link{
		{Href: "javascript:alert(1)", Text: "no"},
		{Href: "https://a.example/x", Text: "one\ntwo"},
		{Href: " https://a.example/x "},
		{Href: "HTTP://b.example"},
		{Href: "https://"},
		{Href: "//c.example"},
		{Href: "https://d.example/" + strings.Repeat("x", event.MaxURL)},
	}
	for i := range 20 {
		in = append(in, event.Link{Href: fmt.Sprintf("https://many.example/%d", i)})
	}
	e, err := event.Normalise(trigger(func(e *event.Event) {
		e.Links = in
		e.Images = []event.Image{{Src: "file:///etc/passwd"}, {Src: "https://i.example/a.png", Href: "ftp://x", Alt: "a\x1bb"}}
		e.ClientURL = "javascript:alert(1)"
	}))
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Links) != event.MaxLinks || e.Links[0] != (event.Link{Href: "https://a.example/x", Text: "one two"}) || e.Links[1].Href != "HTTP://b.example" {
		t.Errorf("links = %v, want the %d first good ones", e.Links, event.MaxLinks)
	}
	if diff := cmp.Diff([]event.Image{{Src: "https://i.example/a.png", Alt: "ab"}}, e.Images); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if e.ClientURL != "" {
		t.Errorf("client_url = %q, want none", e.ClientURL)
	}
}

func TestNormaliseDetails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"none", ``, ``},
		{"null", ` null`, ``},
		{"empty", `{ }`, ``},
		{"sorted and compact", "{\n \"b\": 1, \"a\": [true, null] }", `{"a":[true,null],"b":1}`},
		{"last of a repeated key", `{"a":1,"a":{"x":1},"a":{"y":2}}`, `{"a":{"y":2}}`},
		{"digits stay", `{"n":12345678901234567890,"f":1.10}`, `{"f":1.10,"n":12345678901234567890}`},
		{"no escapes for HTML", `{"q":"a<b && c"}`, `{"q":"a<b && c"}`},
		{"lone surrogate", `{"q":"\ud800"}`, "{\"q\":\"\uFFFD\"}"},
		{"text", `"broken"`, `{"value":"broken"}`},
		{"list", `[1,2]`, `{"value":[1,2]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e, err := event.Normalise(trigger(func(e *event.Event) { e.Details = []byte(tc.in) }))
			if err != nil || string(e.Details) != tc.want {
				t.Errorf("details %s became %s, %v, want %s", tc.in, e.Details, err, tc.want)
			}
		})
	}
}

func TestNormaliseCutsDetails(t *testing.T) {
	t.Parallel()
	read := func(t *testing.T, details string) map[string]any {
		t.Helper()
		e, err := event.Normalise(trigger(func(e *event.Event) { e.Details = []byte(details) }))
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Details) > event.MaxDetails {
			t.Fatalf("details have %d bytes, want at most %d", len(e.Details), event.MaxDetails)
		}
		var got map[string]any
		if err := json.Unmarshal(e.Details, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	t.Run("long strings are enough", func(t *testing.T) {
		t.Parallel()
		got := read(t, fmt.Sprintf(`{"deep":[{"s":%q}],"n":1}`, strings.Repeat("ß", 40<<10)))
		s := got["deep"].([]any)[0].(map[string]any)["s"].(string)
		if len(s) > 1<<10 || len(s) < 1<<10-4 || !strings.HasSuffix(s, "ß…") || !utf8.ValidString(s) {
			t.Errorf("string has %d bytes and ends with %q, want 1 KiB cut at a rune border", len(s), s[len(s)-5:])
		}
		if got["truncated"] != true || got["n"] != 1.0 {
			t.Errorf("n, truncated = %v, %v, want 1, true", got["n"], got["truncated"])
		}
	})
	t.Run("the largest key goes", func(t *testing.T) {
		t.Parallel()
		list := strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("x", 1000)+`",`, 40), ",")
		more := strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("x", 1000)+`",`, 41), ",")
		got := read(t, `{"a":[`+list+`],"b":[`+more+`],"c":"small","truncated":"mine"}`)
		if got["b"] != nil || got["a"] == nil || got["c"] != "small" || got["truncated"] != true {
			t.Errorf("a, b, c, truncated present: %v, %v, %v, %v, want b gone, c small and truncated true",
				got["a"] != nil, got["b"] != nil, got["c"], got["truncated"])
		}
	})
}

func TestTooDeep(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		strings.Repeat("[", event.MaxJSONDepth) + strings.Repeat("]", event.MaxJSONDepth): false,
		strings.Repeat("[", event.MaxJSONDepth+1):                                         true,
		strings.Repeat(`{"a":`, event.MaxJSONDepth+1):                                     true,
		`"` + strings.Repeat("[", 100) + `"`:                                              false,
		`"\"` + strings.Repeat("[", 100) + `"`:                                            false,
		strings.Repeat("[]", 100):                                                         false,
	} {
		if got := event.TooDeep([]byte(text)); got != want {
			t.Errorf("TooDeep(%.80s) = %v, want %v", text, got, want)
		}
	}
}

// anyEvent draws events with everything that may be wrong with them.
func anyEvent(t *rapid.T) event.Event {
	text := rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.IntRange(0, 3000), func(n int) string { return strings.Repeat("ü ", n) }),
		rapid.SampledFrom([]string{"", " ", "\n", "a\u2028b", "e\u0301", "alertmanager:x"}),
	)
	address := rapid.OneOf(text, rapid.SampledFrom([]string{
		"https://a.example/1", "https://a.example/2", "http://b.example", " https://a.example/1", "javascript:x", "https://%zz", "https://a b/",
	}))
	details := rapid.OneOf(
		rapid.Just(""), text,
		rapid.Custom(func(t *rapid.T) string {
			m := rapid.MapOfN(text, rapid.OneOf(text, rapid.Map(rapid.IntRange(0, 40), func(n int) string { return strings.Repeat("€", n<<10) })), 0, 5).Draw(t, "object")
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}),
		rapid.Map(rapid.IntRange(0, 70), func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }),
	)
	return event.Event{
		Action:    event.Action(rapid.Uint8Range(0, 4).Draw(t, "action")),
		DedupKey:  text.Draw(t, "key"),
		Summary:   text.Draw(t, "summary"),
		Source:    text.Draw(t, "source"),
		Severity:  event.Severity(rapid.Uint8Range(0, 5).Draw(t, "severity")),
		Timestamp: time.Unix(rapid.Int64Range(-1e11, 4e11).Draw(t, "timestamp"), 5),
		Component: text.Draw(t, "component"),
		Group:     text.Draw(t, "group"),
		Class:     text.Draw(t, "class"),
		Details:   []byte(details.Draw(t, "details")),
		Links: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Link {
			return event.Link{Href: address.Draw(t, "href"), Text: text.Draw(t, "text")}
		}), 0, 15).Draw(t, "links"),
		Images: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Image {
			return event.Image{Src: address.Draw(t, "src"), Href: address.Draw(t, "href"), Alt: text.Draw(t, "alt")}
		}), 0, 15).Draw(t, "images"),
		Client:    text.Draw(t, "client"),
		ClientURL: address.Draw(t, "client url"),
		SenderID:  text.Draw(t, "sender"),
	}
}

func TestNormaliseLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		once, err := event.Normalise(anyEvent(t))
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("refused with %v, want an Invalid fault", err)
			}
			return
		}
		if err := event.Check(once); err != nil {
			t.Fatalf("the result breaks a limit: %v", err)
		}
		twice, err := event.Normalise(once)
		if err != nil {
			t.Fatalf("the second time: %v, want no error", err)
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Fatalf("the second time changed it (-once +twice):\n%s", diff)
		}
	})
}

func FuzzNormalise(f *testing.F) {
	f.Add("k", "s", "https://a.example", []byte(`{"a":[1,"x",{"b":null}]}`))
	f.Add("a\x00b", "ü\xff", "javascript:x", []byte(`"\ud800"`))
	f.Fuzz(func(t *testing.T, key, text, address string, details []byte) {
		once, err := event.Normalise(event.Event{
			Action: event.Trigger, DedupKey: key, Summary: text, Source: text, ClientURL: address, Details: details,
			Links: []event.Link{{Href: address, Text: text}}, Images: []event.Image{{Src: address, Alt: text}},
		})
		if err != nil {
			return
		}
		if err := event.Check(once); err != nil {
			t.Fatalf("the result breaks a limit: %v", err)
		}
		if twice, err := event.Normalise(once); err != nil || !cmp.Equal(once, twice) {
			t.Fatalf("the second time: %v, %v, want %v", twice, err, once)
		}
	})
}

func BenchmarkNormalise(b *testing.B) {
	e := event.Event{
		Action: event.Trigger, DedupKey: "srv01/disk", Summary: "disk full on srv01", Source: "srv01", Severity: event.Critical,
		Component: "disk", Group: "prod", Class: "capacity", Details: []byte(`{"free":"1%","labels":{"a":"b","c":"d"}}`),
		Links: []event.Link{{Href: "https://runbooks.example/disk", Text: "Runbook"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Normalise(e); err != nil {
			b.Fatal(err)
		}
	}
}
