package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

const someKey = "abcdefghijklmnopqrstuvwxyz012345"

// world returns a directory with one of everything.
func world(t tb, change ...func(*Options)) (*Directory, *journal) {
	t.Helper()
	j := newJournal()
	d := open(t, j, change...)
	create(
		t, d, user("ann", func(u *User) { u.Role = roster.Admin }), user("ben"), device("d1", "ann"),
		&Team{Team: roster.Team{ID: "web", Name: "Web", Members: []roster.UserID{"ann"}}},
		policy("p", "ann"), service("shop", "p"), integration("am", "shop", someKey),
		&Token{Token: auth.Token{ID: "t1", Name: "ci", Hash: auth.HashSecret("t1"), User: "ben"}},
		&Settings{Settings: catalog.Settings{CatchAll: []roster.UserID{"ann"}}},
	)
	return d, j
}

func TestRules(t *testing.T) {
	edit := func(r Record) func(*Edit) error { return func(e *Edit) error { return e.Update(r, "") } }
	add := func(rs ...Record) func(*Edit) error {
		return func(e *Edit) error {
			for _, r := range rs {
				if err := e.Create(r); err != nil {
					return err
				}
			}
			return nil
		}
	}
	remove := func(kind Kind, id string) func(*Edit) error {
		return func(e *Edit) error { return e.Delete(Key{kind, id}, "") }
	}
	unverified := func(u *User) { u.Methods[0].Verified = false }
	many := func(n int) []Record {
		var out []Record
		for i := range n {
			out = append(out, device("n"+string(rune('a'+i)), "ann"))
		}
		return out
	}
	for _, tc := range []struct {
		name   string
		edit   func(*Edit) error
		kind   fault.Kind
		reason string
		says   string
	}{
		{"a new person", add(user("cat")), 0, "", ""},
		{"there already", add(user("ann")), fault.Exists, "ALREADY_EXISTS", "users/ann"},
		{"not there", edit(user("nobody")), fault.NotFound, "NOT_FOUND", "users/nobody"},
		{"stale", func(e *Edit) error { return e.Update(user("ben"), "zzz") }, fault.Conflict, "REVISION_MOVED", "users/ben"},
		{"the version seen", func(e *Edit) error {
			ben, _ := e.GetUser("ben")
			return e.Update(user("ben"), ben.ETag())
		}, 0, "", ""},
		{"e-mail taken in another case", add(user("cat", func(u *User) { u.Email = " ANN@Example.org " })), fault.Exists, "ALREADY_EXISTS", "email: taken by users/ann"},
		{"e-mail handed over in one change", func(e *Edit) error {
			return errors.Join(
				e.Update(user("ann", func(u *User) { u.Role, u.Email = roster.Admin, "ben@example.org" }), ""),
				e.Update(user("ben", func(u *User) { u.Email = "ann@example.org" }), ""),
			)
		}, 0, "", ""},
		{"two with one e-mail in one change", add(user("cat"), user("dan", func(u *User) { u.Email = "cat@example.org" })), fault.Exists, "ALREADY_EXISTS", "email"},
		{"id me", add(user("me")), fault.Invalid, "INVALID_FIELD", "me is taken"},
		{"bad id", add(user("Ann B")), fault.Invalid, "INVALID_FIELD", "id:"},
		{"bad zone", add(user("cat", func(u *User) { u.Zone = "Europe/Zuerich" })), fault.Invalid, "INVALID_FIELD", "time_zone"},
		{"the server's zone", add(user("cat", func(u *User) { u.Zone = "Local" })), fault.Invalid, "INVALID_FIELD", "time_zone"},
		{"bad locale", add(user("cat", func(u *User) { u.Locale = "klingonisch!" })), fault.Invalid, "INVALID_FIELD", "locale"},
		{"step without method", add(user("cat", func(u *User) { u.High = []roster.Step{{Method: "phone"}} })), fault.Invalid, "INVALID_FIELD", "high_steps[0].contact_method"},
		{"step after a day", add(user("cat", func(u *User) { u.Low = []roster.Step{{Method: "push", Delay: 25 * time.Hour}} })), fault.Invalid, "INVALID_FIELD", "low_steps[0].delay"},
		{"webhook over http", add(user("cat", func(u *User) {
			u.Methods = []roster.Method{{ID: "h", Kind: roster.Webhook, Address: "http://x.example/", Secret: []byte{1}}}
		})), fault.Invalid, "INVALID_FIELD", "contact_methods[0].address"},
		{"another's device", edit(user("ben", func(u *User) {
			u.Methods = append(u.Methods, roster.Method{ID: "p", Kind: roster.Push, Device: "d1", Verified: true})
		})), fault.Invalid, "INVALID_FIELD", "contact_methods[1].device"},
		{"reminder too rare", add(user("cat", func(u *User) { u.Remind.Every = 2 * time.Hour })), fault.Invalid, "INVALID_FIELD", "reminder.interval"},
		{"last admin", edit(user("ann")), fault.Precondition, "LAST_ADMIN", ""},
		{"last admin inactive", edit(user("ann", func(u *User) { u.Role, u.Inactive = roster.Admin, true })), fault.Precondition, "LAST_ADMIN", ""},
		{"unknown member", add(&Team{Team: roster.Team{ID: "x", Name: "X", Members: []roster.UserID{"eve"}}}), fault.NotFound, "NOT_FOUND", "members[0]: there is no user eve"},
		{"member twice", add(&Team{Team: roster.Team{ID: "x", Name: "X", Members: []roster.UserID{"ann", "ann"}}}), fault.Invalid, "INVALID_FIELD", "members[1]"},
		{"unknown policy", add(service("x", "none")), fault.NotFound, "NOT_FOUND", "escalation_policy"},
		{"policy and service at once", add(service("x", "q"), policy("q", "ben")), 0, "", ""},
		{"unknown target", add(policy("q", "eve")), fault.NotFound, "NOT_FOUND", "levels[0].targets[0]"},
		{"no levels", add(policy("q")), fault.Invalid, "INVALID_FIELD", "levels: there are 0"},
		{"level too short", add(&Policy{Policy: escalation.Policy{ID: "q", Name: "Q", Levels: []escalation.Level{
			{Delay: 10 * time.Second, Targets: []escalation.Target{{Kind: escalation.UserTarget, ID: "ann"}}},
		}}}), fault.Invalid, "INVALID_FIELD", "levels[0].delay: is 10s; write 1m to 24h"},
		{"target twice on a level", add(&Policy{Policy: escalation.Policy{ID: "q", Name: "Q", Levels: []escalation.Level{
			{Delay: time.Minute, Targets: []escalation.Target{{Kind: escalation.UserTarget, ID: "ann"}, {Kind: escalation.UserTarget, ID: "ann"}}},
		}}}), fault.Invalid, "INVALID_FIELD", "levels[0].targets[1]"},
		{"a schedule that does not exist", add(&Policy{Policy: escalation.Policy{ID: "q", Name: "Q", Levels: []escalation.Level{
			{Delay: time.Minute, Targets: []escalation.Target{{Kind: escalation.ScheduleTarget, ID: "primary"}}},
		}}}), fault.NotFound, "NOT_FOUND", "there is no schedule"},
		{"pages nobody", add(user("cat", unverified), policy("q", "cat")), fault.Precondition, "PAGES_NOBODY", "cat (no device and no verified method)"},
		{"pages nobody, forced", func(e *Edit) error {
			e.Force()
			return add(user("cat", unverified), policy("q", "cat"))(e)
		}, 0, "", ""},
		{"only by the other one", add(user("cat", unverified), policy("q", "cat", "ben")), 0, "", ""},
		{"one with a phone only", add(user("cat", unverified), device("d9", "cat"), policy("q", "cat")), 0, "", ""},
		{"one with a phone that may not notify", add(
			user("cat", unverified), device("d9", "cat", func(d *Device) { d.Permission = PermissionDenied }), policy("q", "cat"),
		), fault.Precondition, "PAGES_NOBODY", ""},
		{"one with a phone without an address", add(
			user("cat", unverified), device("d9", "cat", func(d *Device) { d.Address = Address{} }), policy("q", "cat"),
		), fault.Precondition, "PAGES_NOBODY", ""},
		{"catch-all that catches nobody", func(e *Edit) error {
			if err := e.Create(user("cat", unverified)); err != nil {
				return err
			}
			return e.Update(&Settings{Settings: catalog.Settings{CatchAll: []roster.UserID{"cat"}}}, "")
		}, fault.Precondition, "PAGES_NOBODY", "settings would page nobody"},
		{"empty catch-all", edit(&Settings{}), fault.Precondition, "PAGES_NOBODY", ""},
		{"hold with a catch-all as it is", edit(&Settings{
			Settings: catalog.Settings{CatchAll: []roster.UserID{"ann"}, Held: true, HeldBy: "user/ann"}, HeldReason: "move",
		}), 0, "", ""},
		{"person in a policy", remove(KindUser, "ann"), fault.Precondition, "IN_USE", "escalationPolicies/p, settings, teams/web"},
		{"person with a token only", remove(KindUser, "ben"), 0, "", ""},
		{"policy of a service", remove(KindPolicy, "p"), fault.Precondition, "IN_USE", "services/shop"},
		{"service with an integration", remove(KindService, "shop"), fault.Precondition, "IN_USE", "integrations/am"},
		{"service and all below it", func(e *Edit) error {
			return errors.Join(e.Delete(Key{KindPolicy, "p"}, ""), e.Delete(Key{KindService, "shop"}, ""), e.Delete(Key{KindIntegration, "am"}, ""))
		}, 0, "", ""},
		{"settings", remove(KindSettings, SettingsID), fault.Invalid, "NOT_DELETABLE", ""},
		{"integration key taken", add(integration("x", "shop", someKey)), fault.Exists, "ALREADY_EXISTS", "key: taken by integrations/am"},
		{"support hours without a zone", add(&Service{Service: catalog.Service{
			ID: "x", Name: "X", Policy: "p", Urgency: catalog.UrgencyBySupportHours,
		}}), fault.Invalid, "INVALID_FIELD", "support_hours.time_zone"},
		{"ack timeout too long", add(&Service{Service: catalog.Service{ID: "x", Name: "X", Policy: "p", AckTimeout: 8 * 24 * time.Hour}}), fault.Invalid, "INVALID_FIELD", "acknowledge_timeout"},
		{"severity out of range", add(&Service{Service: catalog.Service{ID: "x", Name: "X", Policy: "p", MinSeverity: event.Info + 1}}), fault.Invalid, "INVALID_FIELD", "min_severity"},
		{"service account without a role", add(&Token{Token: auth.Token{ID: "x", Name: "X", Hash: auth.HashSecret("x")}}), fault.Invalid, "INVALID_FIELD", "role"},
		{"unknown scope", add(&Token{Token: auth.Token{ID: "x", Name: "X", Hash: auth.HashSecret("x"), User: "ann", Scopes: []auth.Scope{"all"}}}), fault.Invalid, "INVALID_FIELD", "scopes[0]"},
		{"address of another phone", add(device("d2", "ben", func(d *Device) { d.Address.Lookup = LookupOf(APNs, "d1") })), fault.Exists, "ALREADY_EXISTS", "address: taken by devices/d1"},
		{"address moves in one change", func(e *Edit) error {
			return errors.Join(
				e.Update(device("d1", "ann", func(d *Device) { d.Address = Address{} }), ""),
				e.Create(device("d2", "ben", func(d *Device) { d.Address.Lookup = LookupOf(APNs, "d1") })),
			)
		}, 0, "", ""},
		{"ten phones", add(many(9)...), 0, "", ""},
		{"eleven phones", add(many(10)...), fault.Precondition, "TOO_MANY_DEVICES", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, j := world(t)
			before := j.all()
			_, err := d.Change(t.Context(), By{Principal: auth.Console()}, tc.edit)
			f, _ := errors.AsType[*fault.Error](err)
			switch {
			case tc.reason == "" && err != nil:
				t.Fatalf("refused: %v", err)
			case tc.reason == "" && len(j.all()) == 0:
				t.Fatal("nothing is stored")
			case tc.reason != "" && f == nil:
				t.Fatalf("got %v, want %s", err, tc.reason)
			case tc.reason != "" && (f.Kind != tc.kind || f.Reason != tc.reason || !strings.Contains(err.Error()+" "+f.Meta["name"], tc.says)):
				t.Fatalf("got %v %s %q, want %v %s %q", f.Kind, f.Reason, err, tc.kind, tc.reason, tc.says)
			}
			if after := j.all(); tc.reason != "" && !sameRecords(before, after) {
				t.Error("refused and yet something changed")
			}
		})
	}
}

func sameRecords(a, b map[Key]Stored) bool {
	if len(a) != len(b) {
		return false
	}
	for k, r := range a {
		if b[k].Revision != r.Revision || string(b[k].Payload) != string(r.Payload) {
			return false
		}
	}
	return true
}

func TestLosingTheLastReachablePerson(t *testing.T) {
	d, _ := world(t)
	quiet := func(change func(*User)) error {
		_, err := d.Change(t.Context(), By{}, func(e *Edit) error {
			u := user("ann", func(u *User) { u.Role = roster.Admin })
			change(u)
			return e.Update(u, "")
		})
		return err
	}
	if err := quiet(func(u *User) { u.Methods = nil }); err != nil {
		t.Errorf("the phone is left: %v", err)
	}
	if _, err := d.Change(t.Context(), By{}, func(e *Edit) error {
		return e.Update(device("d1", "ann", func(d *Device) { d.State = roster.DeviceRevoked }), "")
	}); err != nil {
		t.Errorf("a lost phone has to be revocable whatever hangs on it: %v", err)
	}
	if got := d.Snapshot().Unreachable(); len(got) != 1 || got[0].User != "ann" || len(got[0].By) != 2 {
		t.Errorf("unreachable %+v; want ann, by the policy and the catch-all", got)
	}
	if err := d.Snapshot().Ready(); err == nil {
		t.Error("ready with a catch-all who cannot be paged")
	}
	d, _ = world(t)
	if _, err := d.Change(t.Context(), By{}, func(e *Edit) error { return e.Delete(Key{KindDevice, "d1"}, "") }); err != nil {
		t.Fatal(err)
	}
	if err := quiet(func(u *User) { u.Methods = nil }); fault.KindOf(err) != fault.Precondition {
		t.Errorf("her last way goes: %v, want precondition", err)
	}
}

// A key that was taken in by an earlier version, and is none, keeps nobody from
// revoking the phone.
func TestStoredSealKeyThatIsNone(t *testing.T) {
	d, j := world(t)
	bad := bytes.Repeat([]byte{4}, 65)
	old := device("d8", "ann", func(d *Device) { d.SealKey = bad })
	change, err := stamp(old, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Apply(t.Context(), []Change{change}, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Change(t.Context(), By{}, func(e *Edit) error {
		was, ok := e.GetDevice("d8")
		if !ok {
			return errors.New("the device was not read")
		}
		return e.Update(was.Revoked("lost"), "")
	}); err != nil {
		t.Errorf("it cannot be revoked: %v", err)
	}
	_, err = d.Change(t.Context(), By{}, func(e *Edit) error {
		return e.Update(device("d1", "ann", func(d *Device) { d.SealKey = bad }), "")
	})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("a new key that is none: %v, want it refused", err)
	}
}

func TestOpenIncidentsKeepRecords(t *testing.T) {
	var asked []Key
	d, _ := world(t, func(o *Options) {
		o.InUse = func(_ context.Context, k Key) ([]string, error) {
			asked = append(asked, k)
			if k.ID == "ben" {
				return []string{"incidents/1"}, nil
			}
			return nil, nil
		}
	})
	_, err := d.Change(t.Context(), By{}, func(e *Edit) error { return e.Delete(Key{KindUser, "ben"}, "") })
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Reason != "IN_USE" || !strings.Contains(f.Meta["used_by"], "incidents/1") {
		t.Errorf("got %v; want IN_USE by incidents/1", err)
	}
	if !slices.Contains(asked, Key{KindUser, "ben"}) {
		t.Errorf("asked about %v", asked)
	}
}

func TestTombstones(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d, j := world(t, func(o *Options) { o.Now = func() time.Time { return now } })
	s, err := d.Change(t.Context(), By{}, func(e *Edit) error {
		return errors.Join(
			e.Delete(Key{KindPolicy, "p"}, ""), e.Delete(Key{KindService, "shop"}, ""), e.Delete(Key{KindIntegration, "am"}, ""),
			e.Delete(Key{KindUser, "ben"}, ""),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.GetService("shop"); ok {
		t.Error("the deleted service is listed")
	}
	svc, ok := s.Service("shop")
	p, ok2 := s.CurrentPolicy(svc.Policy)
	if !ok || !ok2 || len(p.Levels) != 1 {
		t.Errorf("service %v, policy %v; want both for what was accepted before", ok, ok2)
	}
	if _, ok := s.IntegrationByHash(auth.HashSecret(someKey)); ok {
		t.Error("the deleted integration's key works")
	}
	if _, ok := s.TokenByHash(auth.HashSecret("t1")); ok {
		t.Error("the token of somebody deleted works")
	}
	ben, ok := s.User("ben")
	if !ok || !ben.Inactive || ben.Name != "ben" || len(ben.Methods) > 0 || ben.Email != "" {
		t.Errorf("deleted person %+v; want the name only, inactive", ben)
	}
	if s := create(t, d, user("ben"), policy("p", "ben")); true {
		if p, _ := s.CurrentPolicy("p"); p.Version != 2 {
			t.Errorf("a policy of the same name has version %d; want 2, as version 1 is another one", p.Version)
		}
	}
	now = now.Add(keepService + time.Hour)
	if err := d.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.Snapshot().Service("shop"); ok {
		t.Error("the service is known after 7 days")
	}
	if _, ok := j.all()[Key{KindService, "shop"}]; ok {
		t.Error("the tombstone is stored after 7 days")
	}
	if _, ok := d.Snapshot().Policy(escalation.Ref{ID: "p", Version: 1}); !ok {
		t.Error("a version that archived incidents name is gone")
	}
	now = now.Add(keepArchive)
	if err := d.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.Snapshot().Policy(escalation.Ref{ID: "p", Version: 1}); ok {
		t.Error("a version superseded for 400 days is kept")
	}
	if _, ok := d.Snapshot().Policy(escalation.Ref{ID: "p", Version: 2}); !ok {
		t.Error("the newest version is gone")
	}
}

func TestPolicyVersions(t *testing.T) {
	d, _ := world(t)
	put := func(change func(*Policy)) escalation.Policy {
		t.Helper()
		s, err := d.Change(t.Context(), By{}, func(e *Edit) error {
			p, _ := e.GetPolicy("p")
			c := *p
			change(&c)
			return e.Update(&c, "")
		})
		if err != nil {
			t.Fatal(err)
		}
		p, _ := s.CurrentPolicy("p")
		return p
	}
	if got := put(func(*Policy) {}); got.Version != 1 {
		t.Errorf("unchanged: version %d, want 1", got.Version)
	}
	if got := put(func(p *Policy) { p.Loops = 3 }); got.Version != 2 {
		t.Errorf("changed: version %d, want 2", got.Version)
	}
	old, ok := d.Snapshot().Policy(escalation.Ref{ID: "p", Version: 1})
	if !ok || old.Loops != 0 {
		t.Errorf("version 1 is %+v, %v; want it as it was", old, ok)
	}
}

func TestAudit(t *testing.T) {
	d, j := world(t)
	j.audit = nil
	by := By{Principal: auth.Principal{Kind: auth.KindUser, User: "ann"}, Method: "/tocsin.v1.UserService/UpdateUser", Request: "r1", IP: "192.0.2.1"}
	_, err := d.Change(t.Context(), by, func(e *Edit) error {
		return e.Update(user("ben", func(u *User) {
			u.Role = roster.Stakeholder
			u.Methods = append(u.Methods, roster.Method{ID: "hook", Kind: roster.Webhook, Address: "https://secret.example/", Secret: []byte("s3cret")})
		}), "")
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(j.audit) != 1 {
		t.Fatalf("%d audit records, want 1", len(j.audit))
	}
	var got auth.Audit
	if err := json.Unmarshal(j.audit[0], &got); err != nil {
		t.Fatal(err)
	}
	got.At = time.Time{}
	want := auth.Audit{
		Actor: "user/ann", Method: by.Method, Resource: "users/ben", Action: "update", Change: "contact_methods, role: responder -> stakeholder",
		Request: "r1", IP: "192.0.2.1",
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
