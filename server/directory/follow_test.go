package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// equal compares what two snapshots say by every index with what their records say.
func equal(t tb, got *Snapshot, want map[Key]Stored) {
	t.Helper()
	n := 0
	referrers := map[reference][]string{}
	for _, s := range want {
		r, err := decode(s)
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			continue
		}
		n++
		have, ok := got.records[s.Kind].get(s.ID)
		if !ok || have.meta().Revision != s.Revision {
			t.Fatalf("%s: %v, want revision %d", s.Key, have, s.Revision)
		}
		if !r.meta().Deleted.IsZero() {
			continue
		}
		r.refs(func(_ string, to Key) {
			ref := reference{to, s.Kind}
			if !slices.Contains(referrers[ref], s.ID) {
				referrers[ref] = append(referrers[ref], s.ID)
			}
		})
		switch r := r.(type) {
		case *User:
			if u, ok := got.UserByEmail(strings.ToUpper(r.Email)); !ok || u.ID != r.ID {
				t.Fatalf("by e-mail of %s: %v", r.ID, u)
			}
		case *Integration:
			if in, ok := got.IntegrationByHash(r.KeyHash); !ok || in.ID != r.ID {
				t.Fatalf("by key of %s: %v", r.ID, in)
			}
		}
	}
	have := 0
	for _, table := range got.records {
		have += table.size
	}
	if have != n {
		t.Fatalf("the snapshot has %d records, want %d", have, n)
	}
	if got.referrer.size != len(referrers) {
		t.Fatalf("%d things are referred to, want %d", got.referrer.size, len(referrers))
	}
	for ref, ids := range referrers {
		set, _ := got.referrer.get(ref)
		slices.Sort(ids)
		if !slices.Equal(slices.Sorted(set.all()), ids) {
			t.Fatalf("%v is referred to by %v, want %v", ref, slices.Sorted(set.all()), ids)
		}
	}
}

// Whatever is changed, in whatever order: the snapshot that follows, one that
// loads anew, and the log's own records say the same, and every reference exists.
func TestSnapshotIsTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := newJournal()
		d, other := open(t, j), open(t, j)
		ids := rapid.SampledFrom([]string{"a", "b", "c"})
		for range rapid.IntRange(1, 25).Draw(t, "changes") {
			edit := func(e *Edit) error {
				e.Force()
				for range rapid.IntRange(1, 3).Draw(t, "records") {
					k := Key{rapid.SampledFrom([]Kind{KindUser, KindPolicy, KindService, KindIntegration}).Draw(t, "kind"), ids.Draw(t, "id")}
					if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
						_ = e.Delete(k, "") // of what is not there: nothing
						continue
					}
					var r Record
					switch k.Kind {
					case KindUser:
						r = user(k.ID, func(u *User) { u.Role, u.Email = roster.Admin, ids.Draw(t, "mail")+"@example.org" })
					case KindPolicy:
						r = policy(k.ID, ids.Draw(t, "target"))
					case KindService:
						r = service(k.ID, ids.Draw(t, "policy"))
					default:
						r = integration(k.ID, ids.Draw(t, "service"), strings.Repeat(ids.Draw(t, "key"), 32))
					}
					if e.Exists(k) {
						_ = e.Update(r, "")
					} else {
						_ = e.Create(r)
					}
				}
				return nil
			}
			_, err := d.Change(t.Context(), By{}, edit)
			if err != nil && fault.KindOf(err) == fault.Internal {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "other") {
				d, other = other, d
			}
		}
		for _, d := range []*Directory{d, other, open(t, j)} {
			if err := d.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			equal(t, d.Snapshot(), j.all())
			checkWorld(t, d.Snapshot())
		}
	})
}

// checkWorld holds that every reference of the snapshot exists.
func checkWorld(t tb, s *Snapshot) {
	t.Helper()
	for _, table := range s.records {
		for _, r := range table.all() {
			if !r.meta().Deleted.IsZero() {
				continue
			}
			r.refs(func(path string, to Key) {
				if !s.Exists(to) {
					t.Fatalf("%s: %s names %s, which is not there", r.key(), path, to)
				}
			})
		}
	}
}

// Two instances that add a service to a policy and delete that policy at the
// same time: one of them is refused, every time.
func TestRacingInstancesKeepReferences(t *testing.T) {
	j := newJournal()
	a, b := open(t, j), open(t, j)
	create(t, a, user("ann"))
	for i := range 40 {
		p, s := fmt.Sprintf("p%d", i), fmt.Sprintf("s%d", i)
		create(t, a, policy(p, "ann"))
		var wg sync.WaitGroup
		var errA, errB error
		wg.Go(func() {
			_, errA = a.Change(t.Context(), By{}, func(e *Edit) error { return e.Create(service(s, p)) })
		})
		wg.Go(func() {
			_, errB = b.Change(t.Context(), By{}, func(e *Edit) error { return e.Delete(Key{KindPolicy, p}, "") })
		})
		wg.Wait()
		if (errA == nil) == (errB == nil) {
			t.Fatalf("round %d: create %v, delete %v; want exactly one refusal", i, errA, errB)
		}
	}
	if err := a.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkWorld(t, a.Snapshot())
}

// No update is lost: each of many writers at two instances adds one member.
func TestConcurrentChangesAllCount(t *testing.T) {
	j := newJournal()
	dirs := []*Directory{open(t, j), open(t, j)}
	create(t, dirs[0], &Team{Team: roster.Team{ID: "web", Name: "Web"}})
	const writers = 16
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			u := fmt.Sprintf("u%d", i)
			for {
				_, err := dirs[i%2].Change(t.Context(), By{}, func(e *Edit) error {
					team, _ := e.GetTeam("web")
					c := *team
					c.Members = append(slices.Clone(c.Members), roster.UserID(u))
					return errors.Join(e.Create(user(u)), e.Update(&c, ""))
				})
				if fault.KindOf(err) == fault.Conflict && err != nil {
					continue // too many at once: the caller tries again
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
		})
	}
	wg.Wait()
	if err := dirs[0].CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if team, _ := dirs[0].Snapshot().GetTeam("web"); len(team.Members) != writers {
		t.Errorf("%d members, want %d", len(team.Members), writers)
	}
}

func TestRunFollows(t *testing.T) {
	j := newJournal()
	a, b := open(t, j), open(t, j)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	create(t, a, user("ann"))
	for {
		if _, ok := b.Snapshot().GetUser("ann"); ok {
			break
		}
		<-b.Moved()
	}
	j.set(errors.New("redis is out"))
	if err := b.CatchUp(t.Context()); err == nil {
		t.Error("caught up with a log that is out")
	}
	if _, err := b.Change(t.Context(), By{}, func(e *Edit) error { return e.Create(user("x")) }); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("change while Redis is out: %v, want unavailable", err)
	}
	j.set(nil)
	create(t, a, user("ben"))
	for {
		if _, ok := b.Snapshot().GetUser("ben"); ok {
			break
		}
		<-b.Moved()
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run ended with %v", err)
	}
}

func TestTrimmedLogIsReadAnew(t *testing.T) {
	j := newJournal()
	a, b := open(t, j), open(t, j)
	for i := range 10 {
		create(t, a, user(fmt.Sprintf("u%d", i)))
	}
	if _, err := a.Change(t.Context(), By{}, func(e *Edit) error { return e.Delete(Key{KindUser, "u3"}, "") }); err != nil {
		t.Fatal(err)
	}
	j.first = len(j.entries)
	if err := b.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, b.Snapshot(), j.all())
}

func TestCatchUpIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &counting{journal: newJournal(), gate: make(chan struct{}, 100)}
		j.gate <- struct{}{} // opening an empty log reads it thrice: after loading, to its end, after the key's mark
		j.gate <- struct{}{}
		j.gate <- struct{}{}
		j.gate <- struct{}{}
		d := open(t, j)
		for len(j.gate) > 0 {
			<-j.gate
		}
		before := j.reads.Load()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := d.CatchUp(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // one reads and waits at the gate, the others wait for it
		close(j.gate)
		wg.Wait()
		if n := j.reads.Load() - before; n != 2 {
			t.Errorf("%d readings of the log for 50 calls; want 2: the one in flight, and one for all who came after it began", n)
		}
	})
}

func TestDiskCopy(t *testing.T) {
	disk := onDisk(t)
	d, j := world(t, disk)
	if err := d.disk.write(d.Snapshot); err != nil {
		t.Fatal(err)
	}
	create(t, d, user("cat"))
	if err := d.disk.write(d.Snapshot); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(d.disk.path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "ann") || strings.Contains(string(raw), "example.org") {
		t.Error("the copy on disk is readable")
	}

	t.Run("Redis is out", func(t *testing.T) {
		j.set(errors.New("redis is out"))
		defer j.set(nil)
		var said strings.Builder
		cold := open(t, j, disk, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&said, nil)) })
		equal(t, cold.Snapshot(), j.all())
		if _, known := cold.Age(); known {
			t.Error("a copy from disk counts as confirmed")
		}
		if !strings.Contains(said.String(), "starting from the configuration on disk") {
			t.Errorf("said %q; want that it starts from disk", said.String())
		}
		j.set(nil)
		create(t, d, user("dan"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- cold.Run(ctx) }()
		for {
			if _, ok := cold.Snapshot().GetUser("dan"); ok {
				break
			}
			<-cold.Moved()
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("cut in the last frame", func(t *testing.T) {
		path := t.TempDir() + "/copy"
		if err := os.WriteFile(path, raw[:len(raw)-10], 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		position, _, err := newDiskCopy(path, testKeys()).read(func(Stored) error { n++; return nil })
		if err != nil || position == "" || n < 10 {
			t.Errorf("read %d records up to %q, %v; want the whole state before", n, position, err)
		}
	})
	for name, spoil := range map[string]func([]byte) []byte{
		"cut in the first frame": func(b []byte) []byte { return b[:len(diskMagic)+40] },
		"one bit":                func(b []byte) []byte { b[len(diskMagic)+60] ^= 1; return b },
		"another file":           func([]byte) []byte { return []byte("hello") },
		"a huge length":          func(b []byte) []byte { b[len(diskMagic)+16] = 0xff; return b },
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/copy"
			if err := os.WriteFile(path, spoil(slices.Clone(raw)), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := newDiskCopy(path, testKeys()).read(func(Stored) error { return nil }); err == nil {
				t.Error("taken as it is")
			}
			cold := open(t, j, func(o *Options) { o.File = path })
			equal(t, cold.Snapshot(), j.all())
		})
	}
}

func TestMasterKeyIsTheInstallations(t *testing.T) {
	j := newJournal()
	open(t, j)
	other, err := auth.NewKeyring([32]byte{8})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{Log: j, Keys: other, Logger: slog.New(slog.DiscardHandler)})
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Reason != "MASTER_KEY_UNKNOWN" {
		t.Errorf("another master key: %v, want MASTER_KEY_UNKNOWN", err)
	}
	rotated, err := auth.NewKeyring([32]byte{8}, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Log: j, Keys: rotated, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Errorf("a rotated key: %v", err)
	}
	if _, err := Open(t.Context(), Options{Log: j, Keys: other, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Errorf("the new key alone, after the rotation: %v", err)
	}
}

func TestSecretsStayWithTheirRecord(t *testing.T) {
	d, _ := world(t)
	a, err := d.SealAddress("d1", WebPush, AddressSecret{Value: "https://push.example/abcdef", P256dh: []byte{1}, Auth: []byte{2}}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.OpenAddress("d1", a); err != nil || got.Value != "https://push.example/abcdef" || a.Hint != "abcdef" {
		t.Errorf("got %+v hint %q, %v", got, a.Hint, err)
	}
	if _, err := d.OpenAddress("d2", a); err == nil {
		t.Error("the address of one phone opens for another")
	}
	sealed, err := d.SealSecret("ann", "hook", []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.OpenSecret("ann", roster.Method{ID: "hook", Secret: sealed}); err != nil || string(got) != "key" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := d.OpenSecret("ben", roster.Method{ID: "hook", Secret: sealed}); err == nil {
		t.Error("the secret of one person opens for another")
	}
}

func TestPage(t *testing.T) {
	d, _ := world(t)
	var all []Record
	for i := range 95 {
		all = append(all, user(fmt.Sprintf("u%03d", i)))
	}
	s := create(t, d, all...)
	var got []string
	last := ""
	for {
		page, more := Page(s.Users(), ByName[*User], func(u *User) bool { return string(u.ID) > last }, nil, 10)
		for _, u := range page {
			got = append(got, string(u.ID))
		}
		if !more {
			break
		}
		last = got[len(got)-1]
	}
	if len(got) != s.Count(KindUser) || !slices.IsSorted(got) || len(slices.Compact(got)) != len(got) {
		t.Errorf("%d users in %v; want each of %d once, sorted", len(got), got, s.Count(KindUser))
	}
	if page, more := Page(s.Services(), ByAge[*Service], nil, func(v *Service) bool { return v.Team == "x" }, 10); len(page) != 0 || more {
		t.Errorf("filtered: %v, %v; want none", page, more)
	}
}

func TestView(t *testing.T) {
	d, _ := world(t)
	s := d.Snapshot()
	if got := s.Settings().CatchAll; !slices.Equal(got, []roster.UserID{"ann"}) {
		t.Errorf("catch-all %v", got)
	}
	if got := s.Zone("Europe/Zurich").String(); got != "Europe/Zurich" {
		t.Errorf("zone %s", got)
	}
	if got := s.Zone("Mars/Olympus"); got != time.UTC {
		t.Errorf("unknown zone %v, want UTC", got)
	}
	if _, ok := s.Service(catalog.ServiceID("none")); ok {
		t.Error("knows a service that never was")
	}
	if got := s.Devices("ann"); len(got) != 1 || !got[0].Pageable() {
		t.Errorf("devices %+v", got)
	}
	if s.Pace().AckTimeout == 0 {
		t.Error("no pace")
	}
}
