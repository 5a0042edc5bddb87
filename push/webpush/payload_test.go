package webpush

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/golden"
)

const (
	testAppURL = "https://oncall.example.com/app/"
	chrome     = push.Token("https://fcm.googleapis.com/fcm/send/x")
	safari     = push.Token("https://web.push.apple.com/QX")
)

func sample() push.Message {
	badge := 3
	return push.Message{
		Kind: push.KindPage, DeliveryID: "8f14e45f-ceea-467f-9a1b-3c2f4b7d9e01", IncidentID: "01k9x2m4q7", IncidentNumber: 42, Revision: 7,
		Severity: "critical", Title: "CRITICAL checkout", Subtitle: "Database down", Body: "pg-1 does not answer <since 03:12>",
		Details: map[string]string{"runbook": "https://wiki.example.com/pg"}, OpenPages: 2, Badge: &badge, CollapseID: "inc-01k9x2m4q7", ThreadID: "checkout",
		Sound: push.SoundNormal, At: time.Unix(1_799_999_880, 0), Deadline: time.Unix(1_800_000_000, 0), HighUrgency: true, ReceiptPath: "/v1/push/receipts",
		ActionToken: "v1.k.d.1800000000.ack.mac",
	}
}

func TestPayloadGolden(t *testing.T) {
	for name, tc := range map[string]struct {
		to     push.Token
		form   push.Form
		change func(*push.Message)
	}{
		"page":             {chrome, push.FormFull, func(*push.Message) {}},
		"page-declarative": {safari, push.FormFull, func(*push.Message) {}},
		"page-critical":    {chrome, push.FormFull, func(m *push.Message) { m.Sound = push.SoundCritical }}, // no browser plays it
		"page-redacted": {chrome, push.FormFull, func(m *push.Message) {
			m.Title, m.Subtitle, m.Body, m.Redacted, m.Details = "Page", "", "1 incident needs you: #42", true, nil
		}},
		"test": {chrome, push.FormFull, func(m *push.Message) { m.Kind, m.IncidentID = push.KindTest, "" }},
		"clear": {chrome, push.FormFull, func(m *push.Message) {
			m.Kind, m.Title, m.Subtitle, m.Body, m.Details, m.ReceiptPath, m.ActionToken = push.KindClear, "Acked by Ann", "", "#42 CRITICAL checkout", nil, "", ""
		}},
		"clear-declarative": {safari, push.FormFull, func(m *push.Message) {
			m.Kind, m.Title, m.Subtitle, m.Body, m.Details, m.ReceiptPath, m.ActionToken = push.KindClear, "Acked by Ann", "", "#42 CRITICAL checkout", nil, "", ""
		}},
		"info": {chrome, push.FormFull, func(m *push.Message) {
			m.Kind, m.Title, m.Subtitle, m.Body, m.Sound, m.Details, m.ActionToken = push.KindInfo, "You are on call", "", "From 09:00", push.SoundNone, nil, ""
		}},
		"body-alone": {chrome, push.FormFull, func(m *push.Message) { m.Title, m.Subtitle = "", "" }},
		"minimal":    {safari, push.FormMinimal, func(*push.Message) {}},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			tc.change(&m)
			body, _, err := Build(&m, &push.Device{Platform: push.Web, Token: tc.to}, tc.form, testAppURL)
			if err != nil {
				t.Fatal(err)
			}
			golden.JSON(t, "payload/"+name+".json", body)
		})
	}
}

func TestTTLUrgencyTopic(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tc := range []struct {
		kind         push.Kind
		left         time.Duration
		ttl, urgency string
	}{
		{push.KindPage, 2 * time.Minute, "120", "high"},
		{push.KindPage, 100 * time.Millisecond, "1", "high"},
		{push.KindPage, -time.Minute, "1", "high"},
		{push.KindPage, 365 * 24 * time.Hour, "2419200", "high"},
		{push.KindTest, time.Minute, "60", "high"},
		{push.KindClear, time.Minute, "300", "high"},
		{push.KindInfo, time.Minute, "3600", "normal"},
	} {
		m := &push.Message{Kind: tc.kind, Deadline: now.Add(tc.left)}
		if got := ttl(m, now); got != tc.ttl {
			t.Errorf("%v with %v left: TTL %s, want %s", tc.kind, tc.left, got, tc.ttl)
		}
		if got := urgency(m); got != tc.urgency {
			t.Errorf("%v: urgency %s, want %s", tc.kind, got, tc.urgency)
		}
	}
	if topic(&push.Message{}) != "" {
		t.Error("a message that replaces nothing has a topic")
	}
	a, b := topic(&push.Message{CollapseID: "inc-1"}), topic(&push.Message{CollapseID: "inc-2"})
	if len(a) != 32 || a == b || strings.Trim(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		t.Errorf("topics %q and %q", a, b)
	}
}

// FuzzBuild holds every payload to what must be so: it fits, it is JSON, it shows
// something, and no browser throws on it.
func FuzzBuild(f *testing.F) {
	f.Add(uint8(1), uint8(0), true, "title", "body", "inc-1", "detail", 1)
	f.Add(uint8(2), uint8(2), false, "", "", "", strings.Repeat("\x00", 5000), 3)
	f.Add(uint8(4), uint8(1), true, strings.Repeat("🔥", 3000), strings.Repeat(`"\`, 3000), strings.Repeat("x", 300), "", -1)
	f.Fuzz(func(t *testing.T, kind, form uint8, declared bool, title, body, collapse, detail string, sound int) {
		m := sample()
		m.Kind, m.Title, m.Body, m.CollapseID, m.Sound = push.Kind(kind%4+1), title, body, collapse, push.Sound(uint8(sound)%3)
		m.Details = map[string]string{detail: detail}
		m.IncidentID, m.ReceiptPath = title, body
		to := chrome
		if declared {
			to = safari
		}
		plain, _, err := Build(&m, &push.Device{Token: to}, push.Form(form%3), testAppURL)
		if err != nil {
			t.Fatal(err)
		}
		var p struct {
			WebPush      int `json:"web_push"`
			Notification struct {
				Title, Navigate, Tag *string
				Renotify, Silent     bool
				Vibrate              []int
				Data                 *struct{ K string }
			}
		}
		switch err := json.Unmarshal(plain, &p); {
		case len(plain) > MaxClear:
			t.Fatalf("%d bytes", len(plain))
		case err != nil || !utf8.Valid(plain):
			t.Fatalf("%v: %s", err, plain)
		case p.Notification.Title == nil || *p.Notification.Title == "" || p.Notification.Data == nil || p.Notification.Data.K != m.Kind.String():
			t.Fatalf("it shows nothing: %s", plain)
		case p.Notification.Renotify && (p.Notification.Tag == nil || *p.Notification.Tag == ""):
			t.Fatalf("renotify without a tag: %s", plain)
		case p.Notification.Silent && p.Notification.Vibrate != nil:
			t.Fatalf("silent and shaking: %s", plain)
		case declared != (p.WebPush == 8030) || declared != (p.Notification.Navigate != nil):
			t.Fatalf("declared %t: %s", declared, plain)
		}
	})
}
