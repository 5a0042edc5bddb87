package notify

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/fcm"
	"github.com/tocsin-oncall/tocsin/push/seal"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// The marks stand in the texts of an incident; what may be told at a level is
// told by which of them come through.
const (
	markTitle   = "TITLEMARK"
	markSource  = "SOURCEMARK"
	markService = "SERVICEMARK"
	markSecret  = "SECRETMARK"
)

// Whatever an incident says and whoever writes the message about it, a level
// lets through what it stands for and no more, on every provider and in every
// form, and no level lets a secret through.
func TestLevelsTellNoMoreThanTheyMay(t *testing.T) {
	k, err := seal.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	text := rapid.StringN(0, 200, 600)
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SampledFrom([]string{"password=" + markSecret, "--token " + markSecret, "https://u:" + markSecret + "@h.example/", `{"api_key":"` + markSecret + `"}`}).Draw(t, "secret")
		around := func(mark, name string) string {
			return text.Draw(t, "before "+name) + " " + secret + " " + mark + " " + text.Draw(t, "after "+name)
		}
		in := &incident.Incident{
			ID: "01k9x2m4q7", Number: 42, Service: markService, Status: incident.Triggered, Severity: event.Critical,
			Text: incident.Text{Title: around(markTitle, "title"), Source: around(markSource, "source"), Component: around(markSource, "component")},
		}
		name := func(*incident.Incident) string { return around(markService, "service") }
		level := roster.Privacy(rapid.IntRange(int(roster.PrivacyFull), int(roster.PrivacySealed)).Draw(t, "level"))
		card := attention.Card{Kind: attention.CardDigest}
		say := map[string]func(roster.Privacy) words{
			"page": func(p roster.Privacy) words {
				return pageWords(in, name(in), incident.Work{Number: 2, Follows: "ann", Mode: schedule.Duty}, p)
			},
			"storm":  func(p roster.Privacy) words { return stormWords([]*incident.Incident{in, in}, "ann", name, p) },
			"clear":  func(p roster.Privacy) words { return clearWords(in, incident.Work{Text: "acknowledged"}, "Bob", p) },
			"notice": func(p roster.Privacy) words { return noticeWords(in, name(in), "merged", p) },
			"digest": func(p roster.Privacy) words {
				return digestWords(card, 1, digestLines(card, []*incident.Incident{in}, name, p))
			},
		}
		for what, say := range say {
			w := say(level)
			m := push.Message{
				Kind: push.KindPage, DeliveryID: "8f14e45f-ceea-467f-9a1b-3c2f4b7d9e01", IncidentID: string(in.ID), Title: w.Title, Subtitle: w.Subtitle, Body: w.Body,
				ThreadID: thread(in.Service, level), OpenPages: 2, Deadline: in.Created,
			}
			n := &Notifier{o: Options{Link: func(incident.ID) string { return "" }}}
			l := &leg{d: &dispatch{n: n, e: envelope{sealed: n.fuller(level, in, say)}}, phone: Phone{SealKey: k.Public(), SealKeyID: "k1"}}
			n.seal(l, &m)
			if (m.Sealed != "") != (level == roster.PrivacySealed) {
				t.Fatalf("%s at %v: sealed text %v", what, level, m.Sealed != "")
			}
			if m.Sealed != "" {
				plain, err := k.Open(m.Sealed, seal.Binding{Delivery: m.DeliveryID, Incident: m.IncidentID, Key: "k1", Deadline: m.Deadline.Unix()})
				if err != nil || strings.Contains(string(plain), markSecret) {
					t.Fatalf("%s opens to %s, %v; want no secret in it", what, plain, err)
				}
			}
			form := push.Form(rapid.IntRange(0, 2).Draw(t, "form"))
			ios, _, err := apns.Build(&m, &push.Device{}, form, true)
			if err != nil {
				t.Fatal(err)
			}
			android, _, _ := fcm.Build(&m, &push.Device{}, form, in.Created)
			data, err := json.Marshal(android.Data)
			if err != nil {
				t.Fatal(err)
			}
			web, _, err := webpush.Build(&m, &push.Device{Token: "https://web.push.apple.com/x"}, form, "https://oncall.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			for _, payload := range []string{string(ios), string(data), string(web)} {
				forbidden := []string{markSecret}
				if level > roster.PrivacyFull {
					forbidden = append(forbidden, markSource)
				}
				if level > roster.PrivacyTitle {
					forbidden = append(forbidden, markTitle, markService)
				}
				for _, mark := range forbidden {
					if strings.Contains(payload, mark) {
						t.Fatalf("%s at %v tells %s: %s", what, level, mark, payload)
					}
				}
				if len(payload) > push.MaxPayload+500 { // the data's own frame is not counted
					t.Fatalf("%s has %d bytes", what, len(payload))
				}
			}
		}
	})
}
