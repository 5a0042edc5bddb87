package directory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// folder is a small organisation in three files.
func folder() []File {
	return []File{
		{Name: "people.yaml", Text: []byte(`
people:
  - {id: ann, name: Ann, email: ann@example.org, role: admin, contact_methods: [{id: mail, kind: email, address: ann@example.org, verified: true}]}
  - {id: ben, name: Ben, email: ben@example.org, contact_methods: [{id: mail, kind: email, address: ben@example.org, verified: true}]}
settings: {catch_all: [ann]}
`)},
		{Name: "policies.yml", Text: []byte(`
schedules:
  - id: primary
    name: Primary
    time_zone: Europe/Zurich
    layers:
      - {id: week, rotation: {unit: weeks, handoff: "2026-03-02T09:00"}, participants: [ann, ben]}
policies:
  - {id: shop, name: Shop, levels: [{targets: [schedules/primary], delay: 5m}]}
`)},
		{Name: "services.yaml", Text: []byte(`
services:
  - {id: cart, name: Cart, escalation_policy: shop, integrations: [{id: cart-am, source: alertmanager}]}
`)},
	}
}

// with returns the files with a text in one of them put in place of another.
func with(t *testing.T, files []File, name, old, text string) []File {
	t.Helper()
	out := slices.Clone(files)
	for i, f := range out {
		if f.Name == name {
			if !strings.Contains(string(f.Text), old) {
				t.Fatalf("%s has no %q", name, old)
			}
			out[i].Text = []byte(strings.Replace(string(f.Text), old, text, 1))
			return out
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

func apply(t *testing.T, d *Directory, files []File, o ApplyOptions) Applied {
	t.Helper()
	a, err := d.ApplyFiles(t.Context(), By{}, files, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// changes lists the items that are not unchanged: "update services/cart".
func changes(a Applied) []string {
	var out []string
	for _, i := range a.Items {
		if i.Action != Unchanged {
			out = append(out, i.Action.String()+" "+i.Key.String())
		}
	}
	return out
}

// ticking is a clock that is never read twice at the same instant.
func ticking(o *Options) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { at = at.Add(time.Second); return at }
}

func change(t *testing.T, d *Directory, f func(*Edit) error) {
	t.Helper()
	if _, err := d.Change(t.Context(), By{}, f); err != nil {
		t.Fatal(err)
	}
}

func rename(id roster.UserID, name string) func(*Edit) error {
	return func(e *Edit) error {
		u, _ := e.GetUser(id)
		c := *u
		c.Name = name
		return e.Update(&c, "")
	}
}

func TestFilesAreOneDocument(t *testing.T) {
	d := open(t, newJournal())
	if got := changes(apply(t, d, folder(), ApplyOptions{})); len(got) != 7 {
		t.Fatalf("got %v", got)
	}
	if got := changes(apply(t, d, folder(), ApplyOptions{})); len(got) != 0 {
		t.Errorf("applied again: %v", got)
	}
	files, err := d.Snapshot().ExportFiles()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if want := []string{"people.yaml", "schedules.yaml", "policies.yaml", "services.yaml", "settings.yaml"}; !slices.Equal(names, want) {
		t.Errorf("exported %v, want %v", names, want)
	}
	if got := changes(apply(t, d, files, ApplyOptions{})); len(got) != 0 {
		t.Errorf("its own export changes %v", got)
	}
}

func TestFaultsNameTheirFile(t *testing.T) {
	for _, tc := range []struct{ name, file, old, with, want string }{
		{"misspelt key", "services.yaml", "escalation_policy", "escalation_polcy", "services.yaml:3: services[0].escalation_polcy: unknown key; did you mean escalation_policy?"},
		{"misspelt reference", "services.yaml", "escalation_policy: shop", "escalation_policy: shup", "services.yaml:3: services[0].escalation_policy: there is no escalation policy shup; did you mean shop?"},
		{"misspelt person", "policies.yml", "[ann, ben]", "[ann, bem]", "policies.yml:7: schedules[0].layers[0].participants[1]: there is no user bem; did you mean ben?"},
		{"misspelt word", "people.yaml", "role: admin", "role: admim", "people.yaml:3: people[0].role: \"admim\" is none of admin, responder, stakeholder; did you mean admin?"},
		{"id in two files", "services.yaml", "services:", "people: [{id: ben, name: Ben, email: b@example.org}]\nservices:", "services.yaml:2: people[0].id: users/ben is on people.yaml:4 already"},
		{"settings twice", "services.yaml", "services:", "settings: {catch_all: [ben]}\nservices:", "services.yaml:2: settings: settings is on people.yaml:5 already"},
		{"not YAML", "services.yaml", "services:", "services: [", "services.yaml: is no YAML"},
		{"a method twice", "people.yaml", "contact_methods: [", "contact_methods: [{id: mail, kind: email, address: x@example.org}, ", `people.yaml:3: people[0].contact_methods[1].id: "mail" is on people.yaml:3 already`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := newJournal()
			d := open(t, j)
			before := j.all()
			_, err := d.ApplyFiles(t.Context(), By{}, with(t, folder(), tc.file, tc.old, tc.with), ApplyOptions{})
			if got := fmt.Sprint(err); !strings.Contains(got, tc.want) {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
			if fault.KindOf(err) != fault.Invalid || !sameRecords(before, j.all()) {
				t.Errorf("%v is not Invalid, or something is half applied", err)
			}
		})
	}
}

func TestFolderOwnsWhatItDeclares(t *testing.T) {
	d := open(t, newJournal(), ticking)
	shop := ApplyOptions{Owner: "shop"}
	apply(t, d, folder(), shop)
	if u, _ := d.Snapshot().GetUser("ann"); u.Mark.Owner != "shop" || u.ByHand() {
		t.Errorf("ann has the mark %+v", u.Mark)
	}
	if got := changes(apply(t, d, folder(), shop)); len(got) != 0 {
		t.Errorf("applied again: %v", got)
	}

	change(t, d, rename("ben", "Benjamin"))
	ben, _ := d.Snapshot().GetUser("ben")
	if !ben.ByHand() || ben.Mark.Owner != "shop" {
		t.Errorf("changed by hand, ben has the mark %+v", ben.Mark)
	}
	drift := apply(t, d, folder(), ApplyOptions{Owner: "shop", DryRun: true})
	if got := changes(drift); !slices.Equal(got, []string{"update users/ben"}) {
		t.Fatalf("drift is %v", got)
	}
	if at := drift.Items[1].ByHand; !at.Equal(ben.Updated) {
		t.Errorf("drift says changed at %v, want %v", at, ben.Updated)
	}

	_, err := d.ApplyFiles(t.Context(), By{}, folder(), ApplyOptions{Owner: "other"})
	if want := "people.yaml:3: people[0]: users/ann is declared by shop: take it out there, or take it over"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("another folder: %v", err)
	}
	apply(t, d, folder(), ApplyOptions{Owner: "other", Take: true})
	if u, _ := d.Snapshot().GetUser("ann"); u.Mark.Owner != "other" {
		t.Errorf("taken over, ann has the mark %+v", u.Mark)
	}
	apply(t, d, folder(), ApplyOptions{}) // without a name it takes nothing away
	if u, _ := d.Snapshot().GetUser("ann"); u.Mark.Owner != "other" {
		t.Errorf("applied without an owner, ann has the mark %+v", u.Mark)
	}
}

func TestPruneDeletesOnlyWhatTheFolderDeclared(t *testing.T) {
	d := open(t, newJournal(), ticking)
	apply(t, d, folder(), ApplyOptions{Owner: "shop"})
	create(t, d, device("d1", "ben"), integration("by-hand", "cart", strings.Repeat("k", auth.IntegrationKeyLength)), user("zoe"))
	less := with(t, folder(), "people.yaml", "  - {id: ben", "#  - {id: ben")
	less = with(t, less, "policies.yml", "[ann, ben]", "[ann]")
	less = with(t, less, "services.yaml", ", integrations: [{id: cart-am, source: alertmanager}]", "")

	got := changes(apply(t, d, less, ApplyOptions{Owner: "shop"}))
	if want := []string{"update schedules/primary", "orphan integrations/cart-am", "orphan users/ben"}; !slices.Equal(got, want) {
		t.Errorf("without prune: %v, want %v", got, want)
	}
	if _, ok := d.Snapshot().GetUser("ben"); !ok {
		t.Fatal("ben is deleted, and nobody has asked for it")
	}
	pruned := apply(t, d, less, ApplyOptions{Owner: "shop", Prune: true})
	if want := []string{"delete integrations/cart-am", "delete users/ben"}; !slices.Equal(changes(pruned), want) {
		t.Errorf("with prune: %v, want %v", changes(pruned), want)
	}
	if last := pruned.Items[len(pruned.Items)-1]; !slices.Equal(last.Warnings, []string{"1 device(s) go with it"}) {
		t.Errorf("ben goes with %v", last.Warnings)
	}
	if got := changes(apply(t, d, less, ApplyOptions{Owner: "shop", Prune: true})); len(got) != 0 {
		t.Errorf("pruned again: %v", got)
	}
	for _, k := range []Key{{KindUser, "zoe"}, {KindIntegration, "by-hand"}} {
		if !d.Snapshot().Exists(k) {
			t.Errorf("%s was made by hand, and is gone", k)
		}
	}
}

// TestPruneTellsWhatGoesAlong: who deletes a schedule reads before how much that
// people have made goes with it, and it does.
func TestPruneTellsWhatGoesAlong(t *testing.T) {
	d := open(t, newJournal(), ticking)
	more := append(folder(), File{Name: "spare.yaml", Text: []byte(`
schedules:
  - {id: spare, name: Spare, time_zone: UTC, layers: [{id: week, rotation: {unit: weeks, handoff: "2026-03-02T09:00"}, participants: [ben]}]}
`)})
	apply(t, d, more, ApplyOptions{Owner: "shop"})
	feed := &Feed{ID: FeedID(auth.NewID()), Hash: auth.HashSecret("f"), Hint: "abcd", Owner: "ann", Schedule: "spare"}
	change(t, d, func(e *Edit) error {
		if err := e.AskCover(&Cover{Cover: schedule.Cover{ID: "c1", Schedule: "spare", User: "ben", Start: e.Now.Add(time.Hour), End: e.Now.Add(2 * time.Hour)}}); err != nil {
			return err
		}
		if err := e.AddFeed(feed); err != nil {
			return err
		}
		return e.AddOverrides("spare", schedule.Override{ID: "o1", User: "ann", Start: e.Now.Add(3 * time.Hour), End: e.Now.Add(4 * time.Hour)})
	})
	planned := apply(t, d, folder(), ApplyOptions{Owner: "shop", Prune: true, DryRun: true})
	want := []string{"1 override(s) go with it", "1 cover request(s) go with it", "1 calendar feed(s) go with it"}
	if last := planned.Items[len(planned.Items)-1]; last.Key != (Key{KindSchedule, "spare"}) || !slices.Equal(last.Warnings, want) {
		t.Errorf("the plan says %s goes with %v, want %v", last.Key, last.Warnings, want)
	}
	apply(t, d, folder(), ApplyOptions{Owner: "shop", Prune: true})
	for _, k := range []Key{{KindSchedule, "spare"}, {KindCover, "c1"}, {KindFeed, string(feed.ID)}, {KindOverride, "o1"}} {
		if d.Snapshot().Exists(k) {
			t.Errorf("%s is still there", k)
		}
	}
}

func TestPruneRefusesWhatIsInUse(t *testing.T) {
	d := open(t, newJournal(), ticking)
	apply(t, d, folder(), ApplyOptions{Owner: "shop"})
	create(t, d, &Team{Team: roster.Team{ID: "night", Name: "Night", Members: []roster.UserID{"ben"}}})
	less := with(t, folder(), "people.yaml", "  - {id: ben", "#  - {id: ben")
	less = with(t, less, "policies.yml", "[ann, ben]", "[ann]")
	_, err := d.ApplyFiles(t.Context(), By{}, less, ApplyOptions{Owner: "shop", Prune: true})
	if !strings.Contains(fmt.Sprint(err), "users/ben is in use by teams/night") {
		t.Errorf("got %v", err)
	}
	if s, _ := d.Snapshot().GetSchedule("primary"); len(s.Layers[0].Participants) != 2 {
		t.Error("it was refused, and half of it applied")
	}
}

func TestPlanIsVoidWhenTheWorldMoved(t *testing.T) {
	d := open(t, newJournal(), ticking)
	apply(t, d, folder(), ApplyOptions{Owner: "shop"})
	next := with(t, folder(), "services.yaml", "name: Cart", "name: Basket")
	planned := apply(t, d, next, ApplyOptions{Owner: "shop", DryRun: true}).Before.Position()

	create(t, d, device("d1", "ben")) // no plan speaks of phones
	change(t, d, rename("ben", "Benjamin"))
	_, err := d.ApplyFiles(t.Context(), By{}, next, ApplyOptions{Owner: "shop", Revision: planned})
	if f, ok := asFault(err); !ok || f.Kind != fault.Conflict || f.Reason != "CONFIGURATION_MOVED" || !strings.Contains(f.Message, "since then users/ben changed; plan again") {
		t.Fatalf("the world moved: %v", err)
	}
	planned = apply(t, d, next, ApplyOptions{Owner: "shop", DryRun: true}).Before.Position()
	create(t, d, device("d2", "ben"))
	o := ApplyOptions{Owner: "shop", Revision: planned}
	if got := changes(apply(t, d, next, o)); !slices.Equal(got, []string{"update users/ben", "update services/cart"}) {
		t.Errorf("carried out: %v", got)
	}
	if got := changes(apply(t, d, next, o)); len(got) != 0 { // the plan itself has moved the world
		t.Errorf("carried out again: %v", got)
	}
	other := with(t, folder(), "services.yaml", "name: Cart", "name: Bag")
	if _, err := d.ApplyFiles(t.Context(), By{}, other, ApplyOptions{Owner: "shop", Revision: "no position"}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a plan of another installation: %v", err)
	}
}

// TestOverridesStay: what people change among themselves is no difference to the
// folder, and survives that the folder changes the schedule, and prunes.
func TestOverridesStay(t *testing.T) {
	d := open(t, newJournal(), ticking)
	apply(t, d, folder(), ApplyOptions{Owner: "shop"})
	change(t, d, func(e *Edit) error {
		return e.AddOverrides("primary", schedule.Override{ID: "o1", User: "ben", Start: e.Now.Add(time.Hour), End: e.Now.Add(2 * time.Hour)})
	})
	if got := changes(apply(t, d, folder(), ApplyOptions{Owner: "shop", DryRun: true})); len(got) != 0 {
		t.Errorf("an override is drift: %v", got)
	}
	o := ApplyOptions{Owner: "shop", Prune: true}
	if got := changes(apply(t, d, with(t, folder(), "policies.yml", "[ann, ben]", "[ben, ann]"), o)); len(got) == 0 {
		t.Fatal("the folder changes nothing")
	}
	if o, ok := d.Snapshot().GetOverride("o1"); !ok || !o.End.After(d.now()) {
		t.Errorf("the override is %+v", o)
	}
}

func TestOwnMethodsAndPhonesStay(t *testing.T) {
	d := open(t, newJournal(), ticking)
	apply(t, d, folder(), ApplyOptions{Owner: "shop"})
	create(t, d, device("d1", "ben"))
	change(t, d, func(e *Edit) error {
		u, _ := e.GetUser("ben")
		c := *u
		c.Methods = append([]roster.Method{{ID: "phone", Kind: roster.Push, Device: "d1", Verified: true}}, u.Methods...)
		c.Methods = append(c.Methods, roster.Method{ID: "own", Kind: roster.Email, Address: "ben@home.example.org", Verified: true})
		c.High = []roster.Step{{Method: "phone", Loud: true}, {Delay: 60e9, Method: "mail"}}
		return e.Update(&c, "")
	})
	if got := changes(apply(t, d, folder(), ApplyOptions{Owner: "shop"})); len(got) != 0 {
		t.Errorf("what ben added is taken away: %v", got)
	}
	files, err := d.Snapshot().ExportFiles()
	if err != nil {
		t.Fatal(err)
	}
	if got := changes(apply(t, d, files, ApplyOptions{})); len(got) != 0 {
		t.Errorf("its own export changes %v", got)
	}
	later := with(t, folder(), "people.yaml", "{id: ben, ", "{id: ben, high_steps: [{contact_method: own}, {delay: 5m, contact_method: mail}], ")
	apply(t, d, later, ApplyOptions{Owner: "shop"})
	ben, _ := d.Snapshot().GetUser("ben")
	want := []roster.Step{{Method: "own"}, {Method: "phone", Loud: true}, {Delay: 300e9, Method: "mail"}}
	if !slices.Equal(ben.High, want) {
		t.Errorf("steps are %v, want %v", ben.High, want)
	}
}
