package directory

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

var update = flag.Bool("update", false, "write the golden files anew")

// reload encodes and decodes a record as the log would.
func reload(t tb, r Record) Record {
	t.Helper()
	payload, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	m := r.meta()
	back, err := decode(Stored{Key: r.key(), Revision: m.Revision, Created: m.Created, Updated: m.Updated, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// full returns one record of each kind with every field set.
func full() []Record {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	meta := Meta{Created: at, Updated: at.Add(time.Hour), Revision: 7, Mark: Mark{Owner: "shop", Applied: at}}
	address := Address{Kind: WebPush, Sealed: []byte{1, 2}, Lookup: LookupOf(WebPush, "x"), Hint: "abcdef", At: at}
	return []Record{
		&User{User: roster.User{
			ID: "ann", Name: "Ann", Email: "ann@example.org", Zone: "Europe/Zurich", Locale: "de-CH", Role: roster.Admin, Inactive: true,
			Methods: []roster.Method{{ID: "hook", Kind: roster.Webhook, Address: "https://example.org/", Device: "d1", Verified: true, Bouncing: true, Secret: []byte{3}}},
			High:    []roster.Step{{Delay: time.Minute, Method: "hook", Loud: true}}, Low: []roster.Step{{Delay: time.Hour, Method: "push", Loud: true}},
			Quiet: roster.QuietHours{Start: 22 * time.Hour, End: 7 * time.Hour}, Privacy: roster.PrivacyMinimal,
			Remind: roster.Reminder{Every: 2 * time.Minute, UntilResolve: true},
		}, Meta: meta},
		&Team{Team: roster.Team{ID: "web", Name: "Web", Members: []roster.UserID{"ann"}, Managers: []roster.UserID{"ann"}}, Meta: meta},
		&Service{Service: catalog.Service{
			ID: "shop", Name: "Shop", Team: "web", Policy: "p", Disabled: true, Urgency: catalog.UrgencyBySupportHours,
			Hours: catalog.SupportHours{
				Zone: "Europe/Zurich", Days: []time.Weekday{time.Monday, time.Friday}, Start: 8 * time.Hour, End: 18 * time.Hour,
			},
			MinSeverity: 2, AckTimeout: -1, AckReminder: time.Hour, AutoResolve: 4 * time.Hour, ReopenWindow: 5 * time.Minute,
			KeyScope: catalog.ScopeIntegration, Privacy: roster.PrivacyTitle,
		}, Meta: meta},
		&Integration{Integration: catalog.Integration{
			ID: "shop-am", Service: "shop", Name: "Alertmanager", Source: "alertmanager", KeyHash: auth.HashSecret("k"),
			Options: map[string]string{"a": "b"}, Disabled: true,
		}, Hint: "wxyz", Meta: meta},
		&Policy{Policy: fullPolicy(), Meta: meta},
		&Version{Policy: fullPolicy(), Meta: meta},
		&Schedule{Schedule: fullSchedule(), Meta: meta},
		&Override{Override: schedule.Override{
			ID: "o1", Start: at, End: at.Add(time.Hour), User: "ann", CreatedAt: at, By: "ann", Request: "r1",
		}, Schedule: "primary", Meta: meta},
		&Shadow{Shadow: schedule.Shadow{
			ID: "s1", User: "ann", Person: "ben", Mode: schedule.Duty, Start: at, End: at.Add(time.Hour),
		}, Schedule: "primary", Meta: meta},
		&Cover{Cover: schedule.Cover{
			ID: "c1", Schedule: "primary", User: "ann", Start: at, End: at.Add(time.Hour), CreatedAt: at, Note: "wedding",
			Outcome: schedule.Outcome{State: schedule.RequestTaken, By: "ben", At: at},
		}, Theirs: schedule.Part{User: "ben", Start: at, End: at.Add(time.Hour)}, Overrides: []schedule.OverrideID{"c1-1"}, Meta: meta},
		&Token{Token: auth.Token{
			ID: "t1", Name: "ci", Hash: auth.HashSecret("t"), User: "ann", Role: roster.Responder, Scopes: []auth.Scope{auth.ScopeRead},
			Expires: at, By: "user/ann", Revoked: at,
		}, Hint: "wxyz", Meta: meta},
		&Feed{ID: "f1", Hash: auth.HashSecret("f"), Hint: "abcd", Owner: "ann", User: "ann", Team: "web", Schedule: "primary", Revoked: at, Meta: meta},
		&Device{
			Device:  roster.Device{ID: "d1", User: "ann", Name: "Ann's phone", Platform: roster.Web, State: roster.DeviceParked, Silenced: true},
			Install: "i", App: "dev.tocsin.app", Environment: Sandbox, Confirmed: true, Address: address,
			Claim: &Claim{Address: address, Install: "j", Nonce: auth.HashSecret("n"), Expires: at}, SealKey: []byte{4}, SealKeyID: "k", SealKeyAt: at, SealFailed: at, UnlockKey: []byte{5},
			Locale: "de", Zone: "UTC", AppVersion: "1", OSVersion: "2", Model: "m",
			Can: Capabilities{
				Critical: true, TimeSensitive: true, FullScreen: true, DNDBypass: true, ChannelOK: true, LiveActivity: true, Actions: true,
				LockScreen: true, ScheduledSummary: true, BatteryUnrestricted: true, Alert: true, Sound: true,
			},
			Permission: PermissionDenied, StateReason: "BadDeviceToken", Epoch: 3, Credential: auth.HashSecret("c"), Meta: meta,
		},
		&DrillPlan{Plan: drill.Plan{
			ID: "monthly", Name: "Monthly", Team: "web", People: []escalation.Target{{Kind: escalation.TeamTarget, ID: "web"}}, Every: drill.DefaultEvery,
			Days: []time.Weekday{time.Monday}, Start: 9 * time.Hour, End: 17 * time.Hour, Limit: time.Minute, Night: true, OnCall: time.Hour, Seed: "s",
		}, Meta: meta},
		&Vacations{User: "ann", Sealed: []byte{8}, Host: "calendar.example.org", Away: []Away{{at, at.Add(time.Hour)}}, Meta: meta},
		&Settings{
			Settings: catalog.Settings{
				CatchAll: []roster.UserID{"ann"}, Privacy: roster.PrivacyTitle, Held: true, HeldBy: "user/ann", HeldSince: at,
				OverdueBefore: at, OverdueNotice: "0incident", Resumed: at,
			}, Organization: "Example", HeldReason: "test", Meta: meta,
		},
		&internal{ID: "x", Sealed: []byte{9}, Meta: meta},
	}
}

func fullSchedule() schedule.Schedule {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	layer := schedule.Layer{
		ID: "week", Name: "Week", Priority: 1, Zone: "Europe/Zurich", Start: at, End: at.Add(time.Hour),
		Rotation:     schedule.Rotation{Unit: schedule.Weeks, Length: 2, Anchor: civil.Time{Day: civil.Date(2026, 3, 2), Clock: 9 * time.Hour}},
		Participants: []roster.UserID{"ann", ""}, Offset: 1, Restrictions: []schedule.Restriction{{Weekday: 1, Start: 8 * time.Hour, Length: 10 * time.Hour}},
		Trainees: schedule.Trainees{Users: []roster.UserID{"", "cyd"}, Mode: schedule.Practise, Start: at, End: at.Add(time.Hour)}, Since: at, Made: at,
	}
	return schedule.Schedule{
		ID: "primary", Name: "Primary", Zone: "UTC", Team: "web", Layers: []schedule.Layer{layer}, Response: 15 * time.Minute,
		Replaced: []schedule.Version{{Layer: layer, Until: at}},
	}
}

func fullPolicy() escalation.Policy {
	return escalation.Policy{
		ID: "p", Version: 3, Name: "P", Team: "web", Loops: 2, EscalateLow: true, HandOff: escalation.HandOffMove,
		Levels: []escalation.Level{{
			Targets: []escalation.Target{{Kind: escalation.UserTarget, ID: "ann"}}, Delay: 5 * time.Minute,
			Strategy: escalation.RoundRobin, MultiAck: true,
		}},
		Fallback: []escalation.Target{{Kind: escalation.UserTarget, ID: "ann"}},
	}
}

func TestEveryFieldIsStored(t *testing.T) {
	for _, r := range full() {
		if zero := unset(r); zero != "" {
			t.Errorf("%s: the test leaves %s unset", r.key(), zero)
		}
		r.meta().Deleted = r.meta().Created
		if diff := cmp.Diff(r, reload(t, r), cmpopts.EquateEmpty(), cmp.AllowUnexported(internal{})); diff != "" {
			t.Errorf("%s (-wrote +read):\n%s", r.key(), diff)
		}
	}
}

// What is stored outlives this version: a renamed field loses configuration.
func TestStoredForm(t *testing.T) {
	var lines []byte
	for _, r := range full() {
		payload, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(payload, &v); err != nil {
			t.Fatal(err)
		}
		pretty, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, string(r.key().Kind)+" "...), append(pretty, '\n')...)
	}
	golden(t, "stored.golden", lines)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestUnknownKindIsSkipped(t *testing.T) {
	r, err := decode(Stored{Key: Key{"runbook", "x"}, Payload: []byte(`{"v":{}}`)})
	if r != nil || err != nil {
		t.Errorf("got %v, %v; want neither: a newer server wrote it", r, err)
	}
	r, err = decode(Stored{Key: Key{KindTeam, "x"}, Payload: []byte(`{"v":{"id":"x","name":"X","colour":"red"}}`)})
	if err != nil || r.(*Team).Name != "X" {
		t.Errorf("got %v, %v; want the team without what is new", r, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range full() {
		payload, err := encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(r.key().Kind), payload)
	}
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		r, err := decode(Stored{Key: Key{Kind(kind), "x"}, Payload: payload})
		if err != nil || r == nil {
			return
		}
		if _, err := encode(r); err != nil {
			t.Errorf("read %q and cannot write it: %v", payload, err)
		}
		r.refs(func(string, Key) {})
	})
}

func TestDeviceRoundTripLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &Device{
			Device:     roster.Device{ID: "d", User: "u", Name: rapid.String().Draw(t, "name"), Platform: roster.IOS, State: roster.DeviceActive},
			Address:    Address{Sealed: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "sealed"), Kind: AddressKind(rapid.IntRange(0, 3).Draw(t, "kind"))},
			Epoch:      rapid.Uint32().Draw(t, "epoch"),
			Credential: auth.HashSecret(rapid.String().Draw(t, "credential")),
		}
		back, ok := reload(t, d).(*Device)
		if diff := cmp.Diff(d, back, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Device{}, "Meta")); !ok || diff != "" {
			t.Fatalf("(-wrote +read):\n%s", diff)
		}
	})
}
