package apns

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sideshow/apns2"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/golden"
)

func sample() push.Message {
	badge := 3
	return push.Message{
		Kind: push.KindPage, DeliveryID: "8f14e45f-ceea-467f-9a1b-3c2f4b7d9e01", IncidentID: "01k9x2m4q7", IncidentNumber: 42, Revision: 7,
		Severity: "critical", Title: "CRITICAL checkout", Subtitle: "Database down", Body: "pg-1 does not answer <since 03:12>",
		Details: map[string]string{"runbook": "https://wiki.example.com/pg"}, OpenPages: 2, Badge: &badge, CollapseID: "inc-01k9x2m4q7", ThreadID: "checkout",
		Sound: push.SoundCritical, Volume: 0.8, Deadline: time.Unix(1_800_000_000, 0), HighUrgency: true, ReceiptPath: "/v1/push/receipts",
	}
}

func phone() *push.Device {
	return &push.Device{Platform: push.IOS, Token: push.Token(strings.Repeat("ab", 32)), Capabilities: push.Capabilities{Critical: true}}
}

func TestPayloadGolden(t *testing.T) {
	for name, change := range map[string]func(*push.Message){
		"page":          func(m *push.Message) { m.Sound = push.SoundNormal },
		"page-critical": func(*push.Message) {},
		"page-redacted": func(m *push.Message) {
			m.Title, m.Subtitle, m.Body, m.Redacted, m.Details = "Page", "", "1 incident needs you: #42", true, nil
		},
		"page-sealed": func(m *push.Message) {
			m.Title, m.Subtitle, m.Body, m.Details = "Page", "", "1 incident needs you: #42", nil
			m.Sealed, m.SealedKeyID = "c2VhbGVk", "k1"
		},
		"page-action-token": func(m *push.Message) { m.ActionToken, m.ReceiptKey = "v1.k.d.1800000000.ack.mac", "key" },
		"test":              func(m *push.Message) { m.Kind = push.KindTest },
		"clear": func(m *push.Message) {
			m.Kind, m.Title, m.Subtitle, m.Body, m.Details, m.ReceiptPath = push.KindClear, "Acked by Ann", "", "#42 CRITICAL checkout", nil, ""
		},
		"info": func(m *push.Message) {
			m.Kind, m.Title, m.Body, m.Sound, m.Details = push.KindInfo, "You are on call", "From 09:00", push.SoundNone, nil
		},
		"heartbeat": func(m *push.Message) { m.Kind = push.KindHeartbeat },
		"minimal":   func(*push.Message) {},
	} {
		t.Run(name, func(t *testing.T) {
			m, form := sample(), push.FormFull
			change(&m)
			if name == "minimal" {
				form = push.FormMinimal
			}
			body, _, err := Build(&m, phone(), form, true)
			if err != nil {
				t.Fatal(err)
			}
			golden.JSON(t, "payload/"+name+".json", body)
		})
	}
}

func TestShrinkOrder(t *testing.T) {
	long := func(n int) string { return strings.Repeat("é", n/2) }
	for _, tc := range []struct {
		name   string
		change func(*push.Message)
		shrunk string
		check  func(p payload) bool
	}{
		{"fits", func(*push.Message) {}, "", func(p payload) bool { return p.Tocsin.Details != nil }},
		{"details", func(m *push.Message) { m.Details["x"] = long(4000) }, "details", func(p payload) bool {
			return p.Tocsin.Details == nil && p.APS.Alert.Subtitle == "Database down"
		}},
		{"subtitle", func(m *push.Message) { m.Subtitle = long(4000) }, "subtitle", func(p payload) bool { return p.APS.Alert.Subtitle == "" }},
		{"body", func(m *push.Message) { m.Body = long(4000) }, "body to 178", func(p payload) bool {
			return utf8.RuneCountInString(p.APS.Alert.Body) == 178
		}},
		{"sealed", func(m *push.Message) { m.Sealed = long(4000) }, "sealed text", func(p payload) bool {
			return p.Tocsin.Sealed == "" && p.Tocsin.Fetch == 1 && p.Tocsin.Severity != ""
		}},
		{"title", func(m *push.Message) { m.Title = long(4000) }, "all but the essence", func(p payload) bool {
			return utf8.RuneCountInString(p.APS.Alert.Title) == 64 && p.Tocsin.Incident != ""
		}},
		{"identifiers", func(m *push.Message) { m.IncidentID = long(4000) }, "all but the text", func(p payload) bool {
			return p.Tocsin.Incident == "" && p.Tocsin.Delivery != "" && p.Tocsin.Fetch == 1
		}},
	} {
		m := sample()
		tc.change(&m)
		body, shrunk, err := Build(&m, phone(), push.FormFull, true)
		if err != nil {
			t.Fatal(err)
		}
		var p payload
		if err := json.Unmarshal(body, &p); err != nil {
			t.Fatal(err)
		}
		if shrunk != tc.shrunk || len(body) > push.MaxPayload || !tc.check(p) {
			t.Errorf("%s: shrunk %q to %d bytes, want %q: %s", tc.name, shrunk, len(body), tc.shrunk, body)
		}
	}
}

func FuzzBuild(f *testing.F) {
	f.Add("title", "sub", "body", "inc", "sealed", "key", "value", uint8(1), uint8(0), uint8(2), 3)
	f.Add("\x00\xff", "<&>", "\u2028🔥", strings.Repeat("i", 5000), strings.Repeat("s", 9000), "\"", "\\", uint8(2), uint8(2), uint8(1), -1)
	f.Fuzz(func(t *testing.T, title, subtitle, body, incident, sealed, key, value string, kind, form, sound uint8, open int) {
		m := sample()
		m.Kind = push.Kind(kind%5 + 1)
		m.Title, m.Subtitle, m.Body, m.IncidentID, m.Sealed = title, subtitle, body, incident, sealed
		m.Details, m.Sound, m.OpenPages = map[string]string{key: value}, push.Sound(sound%3), open
		m.ThreadID, m.SoundName, m.ReceiptPath, m.ActionToken, m.Severity = incident, value, key, sealed, title
		out, _, err := Build(&m, phone(), push.Form(form%3), sound&4 == 0)
		if err != nil {
			t.Fatalf("no payload: %v", err)
		}
		if len(out) > push.MaxPayload || !json.Valid(out) || !utf8.Valid(out) {
			t.Fatalf("%d bytes, JSON %v, UTF-8 %v: %s", len(out), json.Valid(out), utf8.Valid(out), out)
		}
		if wire, err := json.Marshal(&apns2.Notification{Payload: out}); err != nil || !bytes.Equal(wire, out) {
			t.Fatalf("measured %d bytes, %d go on the wire (%v)", len(out), len(wire), err)
		}
		var p payload
		if err := json.Unmarshal(out, &p); err != nil {
			t.Fatal(err)
		}
		if shown := p.APS.Alert != nil && (p.APS.Alert.Title != "" || p.APS.Alert.Body != ""); shown == (m.Kind == push.KindHeartbeat) {
			t.Fatalf("a %v shows text: %v", m.Kind, shown)
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", strings.Repeat("ab", 32), strings.Repeat("AB", 32), "ab/../cd?x", strings.Repeat("a", 201)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !validToken(push.Token(s)) {
			return
		}
		if len(s) < 64 || len(s) > 200 || strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) >= 0 {
			t.Fatalf("token %q is let through", s)
		}
	})
}
