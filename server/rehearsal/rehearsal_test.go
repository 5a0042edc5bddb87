package rehearsal_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/directory/directorytest"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/rehearsal"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// now is a Tuesday, three in the morning.
var now = time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC)

const organisation = `
people:
  - {id: ann, name: Ann, email: ann@example.org, contact_methods: [{id: mail, kind: email, address: ann@example.org, verified: true}],
     high_steps: [{contact_method: push}, {contact_method: mail, delay: 3m}], quiet_hours: {start: "22:00", end: "07:00"}}
  - {id: ben, name: Ben, email: ben@example.org, high_steps: [{contact_method: push, loud: true}]}
  - {id: cyd, name: Cyd, email: cyd@example.org, high_steps: [{contact_method: push}]}
  - {id: dee, name: Dee, email: dee@example.org}
policies:
  - {id: shop, name: Shop, levels: [{targets: [ann], delay: 5m}, {targets: [ben, cyd], delay: 5m, strategy: round_robin}], fallback: [cyd]}
  - {id: nobody, name: Nobody, levels: [{targets: [dee], delay: 5m}]}
services:
  - {id: cart, name: Cart, escalation_policy: shop, integrations: [{id: cart, source: generic}]}
  - {id: blog, name: Blog, escalation_policy: nobody, integrations: [{id: blog, source: generic}]}
  - {id: off, name: Off, escalation_policy: shop, disabled: true, integrations: [{id: off, source: generic}]}
settings: {catch_all: [ben]}
`

// world is the organisation, in which everybody but dee has a phone.
func world(t *testing.T) *directory.Snapshot {
	t.Helper()
	d := directorytest.Open(t, func() time.Time { return now })
	if _, err := d.ApplyFiles(t.Context(), directory.By{}, []directory.File{{Text: []byte(organisation)}}, directory.ApplyOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	snap, err := d.Change(t.Context(), directory.By{}, func(e *directory.Edit) error {
		for i, u := range []roster.UserID{"ann", "ben", "cyd"} {
			id := roster.DeviceID(u + "phone")
			address, err := d.SealAddress(id, directory.APNs, directory.AddressSecret{Value: strings.Repeat("ab", 32) + string(u)}, now)
			if err != nil {
				return err
			}
			phone := &directory.Device{
				Device: roster.Device{ID: id, User: u, Name: "phone", Platform: roster.IOS, State: roster.DeviceActive},
				App:    "org.example.app", Install: fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i), Address: address,
			}
			if err := e.Create(phone); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func ask(t *testing.T, service string, severity event.Severity) rehearsal.Question {
	t.Helper()
	e, err := event.Normalise(event.Event{Action: event.Trigger, DedupKey: "k", Summary: "disk full", Source: "db", Severity: severity})
	if err != nil {
		t.Fatal(err)
	}
	return rehearsal.Question{At: now, Event: e, Integration: catalog.Integration{ID: catalog.IntegrationID(service), Service: catalog.ServiceID(service), Source: "generic"}}
}

// said lists the first messages: "5m0s ben push loud".
func said(a rehearsal.Answer, n int) []string {
	var all []string
	for _, m := range a.Messages[:min(n, len(a.Messages))] {
		line := fmt.Sprint(m.At.Sub(now), " ", m.User, " ", m.Method)
		switch {
		case m.Loud:
			line += " loud"
		case m.Sound:
			line += " sound"
		}
		if m.Kind == rehearsal.Card {
			line += " collected"
		}
		all = append(all, line)
	}
	return all
}

func TestPlay(t *testing.T) {
	snap := world(t)
	for name, tc := range map[string]struct {
		service  string
		severity event.Severity
		change   func(*rehearsal.Question)
		end      rehearsal.End
		want     []string
	}{
		"to the end": {"cart", event.Critical, nil, rehearsal.Repeating, []string{
			"0s ann push sound", "3m0s ann mail", "5m0s ben push loud", "10m0s ben push loud", "10m0s cyd push sound",
		}},
		"phones confirm nothing": {"cart", event.Critical, func(q *rehearsal.Question) { q.Deaf = true }, rehearsal.Repeating, []string{
			"0s ann push sound", "20s ann mail", "20s ann push loud", "5m0s ben push loud", "5m20s ben push loud",
		}},
		"another one's turn": {"cart", event.Critical, func(q *rehearsal.Question) {
			q.Turn = func(_ context.Context, at rehearsal.Level, members []roster.UserID) (roster.UserID, error) {
				if at.Number != 1 || !slices.Equal(members, []roster.UserID{"ben", "cyd"}) {
					t.Errorf("asked whose turn it is at %+v of %v", at, members)
				}
				return "cyd", nil
			}
		}, rehearsal.Repeating, []string{"0s ann push sound", "3m0s ann mail", "5m0s cyd push sound"}},
		"quiet hours":       {"cart", event.Info, nil, rehearsal.Quiet, []string{"4h0m0s ann push sound collected"}},
		"nobody reachable":  {"blog", event.Critical, nil, rehearsal.Repeating, []string{"0s ben push", "0s ben push loud", "5m0s ben push loud"}}, // the first tells who owns it
		"a service is off":  {"off", event.Critical, nil, rehearsal.Dropped, nil},
		"an integration is": {"cart", event.Critical, func(q *rehearsal.Question) { q.Integration.Disabled = true }, rehearsal.Dropped, nil},
		"nothing is open":   {"cart", event.Critical, func(q *rehearsal.Question) { q.Event.Action = event.Resolve }, rehearsal.Dropped, nil},
	} {
		t.Run(name, func(t *testing.T) {
			q := ask(t, tc.service, tc.severity)
			if tc.change != nil {
				tc.change(&q)
			}
			a, err := rehearsal.Play(t.Context(), snap, q)
			if err != nil {
				t.Fatal(err)
			}
			if a.End != tc.end || (a.End == rehearsal.Dropped) != (a.Reason != "" && a.Opened == nil) {
				t.Errorf("it ends by %d %q, want %d", a.End, a.Reason, tc.end)
			}
			if diff := cmp.Diff(tc.want, said(a, len(tc.want))); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlayIsTheSameTwice: nothing of one rehearsal is left for the next.
func TestPlayIsTheSameTwice(t *testing.T) {
	snap, q := world(t), ask(t, "cart", event.Critical)
	var all [2][]string
	for i := range all {
		a, err := rehearsal.Play(t.Context(), snap, q)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = said(a, len(a.Messages))
	}
	if diff := cmp.Diff(all[0], all[1]); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
}
