package directory

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func example(t tb) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func actions(items []Item) map[string]string {
	out := map[string]string{}
	for _, i := range items {
		out[i.Key.String()] = i.Action.String()
	}
	return out
}

func TestApplyDocument(t *testing.T) {
	j := newJournal()
	d := open(t, j)
	text := example(t)
	plan, err := d.ApplyDocument(t.Context(), By{}, text, ApplyOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if d.Snapshot().Count(KindUser) != 0 {
		t.Error("a plan changes something")
	}
	items, err := d.ApplyDocument(t.Context(), By{}, text, ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(actions(plan), actions(items)); diff != "" {
		t.Errorf("the plan is not what is done (-plan +done):\n%s", diff)
	}
	var keys int
	for i, item := range items {
		if item.Action != Created {
			t.Errorf("%s: %s, want create", item.Key, item.Action)
		}
		if plan[i].Secret != "" {
			t.Errorf("%s: a plan shows a key that is never made", item.Key)
		}
		if item.Secret == "" {
			continue
		}
		keys++
		if in, ok := d.Snapshot().IntegrationByHash(auth.HashSecret(item.Secret)); !ok || "integrations/"+string(in.ID) != item.Key.String() {
			t.Errorf("%s: the key leads to %q", item.Key, in.ID)
		}
	}
	if keys != 1 {
		t.Errorf("%d keys made, want 1: the other integration brings its own", keys)
	}
	before := j.all()
	again, err := d.ApplyDocument(t.Context(), By{}, text, ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range again {
		if item.Action != Unchanged || item.Secret != "" {
			t.Errorf("applied again, %s: %s with fields %v, want nothing", item.Key, item.Action, item.Fields)
		}
	}
	if !sameRecords(before, j.all()) {
		t.Error("applied again, something is written")
	}
}

func TestExportBringsItAbout(t *testing.T) {
	d := open(t, newJournal())
	if _, err := d.ApplyDocument(t.Context(), By{}, example(t), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	text, err := d.Snapshot().Export()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "export.golden.yaml", text)
	items, err := d.ApplyDocument(t.Context(), By{}, text, ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range items {
		if i.Action != Unchanged {
			t.Errorf("%s: %s %v; want unchanged by its own export", i.Key, i.Action, i.Fields)
		}
	}
	fresh := open(t, newJournal())
	withKeys := strings.ReplaceAll(string(text), "kind: webhook", "kind: webhook\n    signing_key: 0123456789abcdef01234567")
	if _, err := fresh.ApplyDocument(t.Context(), By{}, []byte(withKeys), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	second, err := fresh.Snapshot().Export()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(second)); diff != "" {
		t.Errorf("exported, applied elsewhere and exported again (-first +second):\n%s", diff)
	}
	for _, secret := range []string{"0123456789abcdef", someKey} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the export has the secret %s", secret)
		}
	}
}

func TestWhatPeopleChangedStays(t *testing.T) {
	d := open(t, newJournal())
	text := string(example(t))
	if _, err := d.ApplyDocument(t.Context(), By{}, []byte(text), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	change := func(f func(*User)) {
		t.Helper()
		if _, err := d.Change(t.Context(), By{}, func(e *Edit) error {
			u, _ := e.GetUser("ben")
			c := *u
			c.Methods = slices.Clone(u.Methods)
			f(&c)
			return e.Update(&c, "")
		}); err != nil {
			t.Fatal(err)
		}
	}
	change(func(u *User) {
		u.Zone, u.Methods[0].Verified = "Asia/Tokyo", false
		u.High = []roster.Step{{Method: roster.PushAll, Loud: true}}
	})
	create(t, d, device("d1", "ben"))
	if _, err := d.ApplyDocument(t.Context(), By{}, []byte(text), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	ben, _ := d.Snapshot().GetUser("ben")
	if ben.Zone != "Asia/Tokyo" || len(ben.High) != 1 || ben.Methods[0].Verified {
		t.Errorf("ben is %+v; want what he changed, and his method unverified as the server knows it", ben.User)
	}
	if len(d.Snapshot().DevicesOf("ben")) != 1 {
		t.Error("his device is gone")
	}
	text = strings.Replace(text, "address: ben@example.org", "address: ben@example.net", 1)
	change(func(u *User) { u.Methods[0].Bouncing = true })
	if _, err := d.ApplyDocument(t.Context(), By{}, []byte(text), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if ben, _ = d.Snapshot().GetUser("ben"); !ben.Methods[0].Verified || ben.Methods[0].Bouncing {
		t.Errorf("new address: %+v; want what the document vouches for", ben.Methods[0])
	}
}

func TestDocumentFaults(t *testing.T) {
	base := string(example(t))
	for _, tc := range []struct{ name, old, with, want string }{
		{"misspelt key", "escalation_policy: checkout", "escalation_polcy: checkout", "services[0].escalation_polcy: line 60: unknown key; did you mean escalation_policy?"},
		{"misspelt at the top", "settings:", "setings:", "setings: line 80: unknown key; did you mean settings?"},
		{"key twice", "    role: admin", "    role: admin\n    role: admin", "people[0].role: line 6: is given twice, first on line 5"},
		{"wrong word", "role: admin", "role: boss", `people[0].role: line 5: "boss" is none of admin, responder, stakeholder`},
		{"list expected", "members: [ann, ben]", "members: ann", "teams[0].members: line 37: is one value; a list is expected"},
		{"truth value as text", "name: Ann Example", "name: yes", ""},
		{"truth value as name", "name: Ann Example", "name: true", "put it in quotes"},
		{"bad duration", "delay: 5m", "delay: five", `"five" is no duration`},
		{"short level", "delay: 5m", "delay: 5s", "policies[0].levels[0].delay: line 44: is 5s; write 1m to 24h"},
		{"bad time of day", `start: "22:00"`, `start: "25:00"`, "people[0].quiet_hours.start"},
		{"unknown person", "targets: [ann]", "targets: [eve]", "policies[0].levels[0].targets[0]: line 43: there is no user eve"},
		{"unknown policy", "escalation_policy: checkout", "escalation_policy: payments", "services[0].escalation_policy: line 60: there is no escalation policy payments"},
		{"bad zone", "time_zone: Europe/Zurich", "time_zone: Europe/Bern", "people[0].time_zone: line 6:"},
		{"id twice", "- id: ben", "- id: ann", "users/ann is on line 2 already"},
		{"short key", "key: abcdefghijklmnopqrstuvwxyz012345", "key: abc", "key: line 76: a key has 32 characters"},
		{"empty name", "name: Ann Example", `name: " "`, "people[0].name: line 3: must not be empty"},
		{"number in place of a count", "loops: 1", "loops: many", "is no whole number"},
		{"too many loops", "loops: 1", "loops: 10", "policies[0].loops: line 51: is 10; write 0 to 9"},
		{"not YAML", "people:", "people: [", "is no YAML"},
		{"e-mail taken", "email: ben@example.org", "email: ANN@example.org", "email: line"},
		{"bad zone of a schedule", "time_zone: Europe/London", "time_zone: Europe/Londres", "schedules[0].layers[1].time_zone: line "},
		{"a shift of no length", "length: 2", "length: -1", "schedules[0].layers[1].rotation.length: line "},
		{"a unit that is none", "unit: weeks", "unit: fortnights", `"fortnights" is none of hours, days, weeks, months`},
		{"a hand-off that is no time", "2026-03-02T09:00", "monday at nine", "schedules[0].layers[0].rotation.handoff: line "},
		{"a day that is none", "monday, tuesday, sunday", "monday, mardi", `"mardi" is none of`},
		{"somebody unknown takes turns", "participants: [ann, users/ben]", "participants: [ann, zoe]", "schedules[0].layers[1].participants[1]: line "},
		{"an instant that is none", "2026-06-01T00:00:00Z", "first of June", "is no instant"},
		{"pages nobody", "verified: true", "verified: false", "would page nobody"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := newJournal()
			d := open(t, j)
			text := strings.ReplaceAll(base, tc.old, tc.with)
			if text == base {
				t.Fatal("the example has no such text")
			}
			before := j.all()
			_, err := d.ApplyDocument(t.Context(), By{}, []byte(text), ApplyOptions{})
			if got := fmt.Sprint(err); (err == nil) != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Fatalf("got %v\nwant %q", got, tc.want)
			}
			f, ok := errors.AsType[*fault.Error](err)
			if err != nil && (!ok || len(f.Fields) == 0) {
				t.Errorf("%v names no field", err)
			}
			if err != nil && !sameRecords(before, j.all()) {
				t.Error("refused and yet something changed")
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	d := open(t, newJournal())
	_, err := d.ApplyDocument(t.Context(), By{}, []byte(`
people:
  - {id: ann, name: "", email: nobody}
  - {id: Ben!, name: Ben, email: ben@example.org, role: king}
teams:
  - {id: web, name: Web, members: [ann, ann]}
`), ApplyOptions{})
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	var paths []string
	for _, field := range f.Fields {
		paths = append(paths, field.Path)
	}
	want := []string{"people[1].role", "people[0].name", "people[0].email", "people[1].id", "people[1].role", "teams[0].members[1]"}
	if !slices.Equal(paths, want) {
		t.Errorf("faults of %v\nwant %v", paths, want)
	}
}

func TestForcedDocumentWarns(t *testing.T) {
	d := open(t, newJournal())
	text := strings.ReplaceAll(string(example(t)), "verified: true", "verified: false")
	items, err := d.ApplyDocument(t.Context(), By{}, []byte(text), ApplyOptions{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	warned := map[string]bool{}
	for _, i := range items {
		warned[i.Key.String()] = len(i.Warnings) > 0
	}
	for _, name := range []string{"users/ann", "escalationPolicies/checkout", "settings"} {
		if !warned[name] {
			t.Errorf("%s comes without a warning: %v", name, warned)
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add(example(f))
	f.Add([]byte("people: [{id: a, name: A, email: a@b.c, role: admin}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("people: &p\n  - id: x\nteams: *p"))
	f.Add([]byte("services: [{integrations: [{options: {a: b, c: [d]}}]}]"))
	f.Add([]byte("--- {}\n--- {}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := open(t, newJournal())
		_, err := d.ApplyDocument(t.Context(), By{}, text, ApplyOptions{Force: true})
		if err != nil {
			if _, ok := errors.AsType[*fault.Error](err); !ok {
				t.Errorf("%q: %v is no fault", text, err)
			}
			return
		}
		checkWorld(t, d.Snapshot())
		out, err := d.Snapshot().Export()
		if err != nil {
			t.Fatal(err)
		}
		items, err := d.ApplyDocument(t.Context(), By{}, out, ApplyOptions{Force: true})
		if err != nil {
			t.Fatalf("%q: its export is refused: %v\n%s", text, err, out)
		}
		for _, i := range items {
			if i.Action != Unchanged {
				t.Errorf("%q: its export changes %s: %v\n%s", text, i.Key, i.Fields, out)
			}
		}
	})
}
