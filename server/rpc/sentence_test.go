package rpc

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// sample is an entry of the type with what some type of entry tells.
func sample(e incident.EntryType, c incident.Cause) incident.Entry {
	entry := incident.Entry{
		Type: e, Cause: c, At: at, Actor: incident.Actor{Kind: incident.ActorUser, ID: "bo"}, Users: []roster.UserID{"ann"},
		Via: incident.ViaPolicy, From: 0, Level: 1, Loop: 1, Count: 2, Key: "disk", Step: "mail", Text: "disk full", Until: at.Add(time.Hour), Other: "0other",
		Urgency: incident.High, Priority: 2, Severity: event.Critical,
	}
	if e >= incident.EntryShadowAsked && e <= incident.EntryResponseMissed {
		entry.Follows, entry.Mode, entry.Took = "bo", schedule.Practise, 10*time.Minute
	}
	return entry
}

// Every type of entry is said properly with every cause, and whatever a cause
// changes can be read in one file.
func TestSentences(t *testing.T) {
	var b strings.Builder
	s := shaper{book{}}
	for e := incident.EntryTriggered; e <= incident.EntryTakenOver; e++ {
		plain := s.sentence(sample(e, 0))
		fmt.Fprintf(&b, "%s\n  %s\n", strings.TrimPrefix(entryTypes[e].String(), "TYPE_"), plain)
		for c := incident.CauseManual; c <= incident.CauseHandOff; c++ {
			said := s.sentence(sample(e, c))
			if said != plain {
				fmt.Fprintf(&b, "  %s: %s\n", strings.TrimPrefix(causes[c].String(), "CAUSE_"), said)
			}
			for _, bad := range []string{"not know", "  ", "..", ": .", "()"} {
				if strings.Contains(said, bad) {
					t.Errorf("type %d with cause %d is said as %q, with %q in it", e, c, said, bad)
				}
			}
		}
	}
	nobody := sample(incident.EntryNoTarget, incident.CauseGap)
	nobody.Users = nil
	direct := sample(incident.EntryEscalated, incident.CauseTimeout)
	direct.Level = direct.From
	refused := sample(incident.EntryDelivery, incident.CauseUndelivered)
	refused.Text = "550 5.1.1 no such user."
	fmt.Fprintf(&b, "more\n  %s\n  %s\n  %s\n", s.sentence(nobody), s.sentence(direct), s.sentence(refused))

	path := filepath.Join("testdata", "sentences.txt")
	if flag.Lookup("update").Value.String() == "true" { // of the other test package
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the sentences have changed; with -update if they are meant to. got\n%s\nwant\n%s", got, want)
	}
}

// People read names, not ids, of programs as of people.
func TestAccountsHaveNames(t *testing.T) {
	s := shaper{book{}}
	for id, want := range map[string]string{"t1": "release bot", "t2": "token t2", "console": "the server's console"} {
		if got := s.actor(incident.Actor{Kind: incident.ActorService, ID: id}).GetDisplayName(); got != want {
			t.Errorf("service account %s is called %q, want %q", id, got, want)
		}
	}
	for name, want := range map[string]string{
		"user/ann": "ANN", "user/ann/device/d1": "ANN", "user/gone": "gone", "token/t1": "release bot", "console": "the server's console",
		"integration/prom": "integration/prom",
	} {
		if got := s.principal(name); got != want {
			t.Errorf("%s is called %q, want %q", name, got, want)
		}
	}
}
