package directory_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// instance opens a directory on a real Redis, as one process would.
func instance(t *testing.T, url string, change ...func(*directory.Options)) (*directory.Directory, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	keys, err := auth.NewKeyring([auth.MasterKeySize]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	o := directory.Options{Log: directory.StoreLog{Store: s}, Keys: keys, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	d, err := directory.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d, s
}

func run(t *testing.T, d *directory.Directory) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func person(id string) *directory.User {
	return &directory.User{User: roster.User{ID: roster.UserID(id), Name: id, Email: id + "@example.org", Role: roster.Responder}}
}

func create(t *testing.T, d *directory.Directory, r directory.Record) *directory.Snapshot {
	t.Helper()
	s, err := d.Change(t.Context(), directory.By{Principal: auth.Console(), Method: "test"}, func(e *directory.Edit) error {
		return e.Create(r)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOnRedis(t *testing.T) {
	url := redistest.Start(t).URL()
	a, s := instance(t, url)
	b, _ := instance(t, url)
	run(t, b)

	text := auth.NewToken()
	create(t, a, person("ann"))
	create(t, a, &directory.Token{Token: auth.Token{ID: "t1", Name: "ci", User: "ann", Hash: auth.HashSecret(text)}})
	for _, ok := b.Snapshot().TokenByHash(auth.HashSecret(text)); !ok; _, ok = b.Snapshot().TokenByHash(auth.HashSecret(text)) {
		<-b.Moved()
	}
	u, _ := b.Snapshot().GetUser("ann")
	if u.ETag() == "" || u.Created.IsZero() || u.Name != "ann" {
		t.Errorf("followed %+v", u)
	}

	before := time.Now()
	if _, err := a.Change(t.Context(), directory.By{}, func(e *directory.Edit) error {
		tok, _ := e.GetToken("t1")
		c := *tok
		c.Revoked = e.Now
		return e.Update(&c, "")
	}); err != nil {
		t.Fatal(err)
	}
	for tok, _ := b.Snapshot().TokenByHash(auth.HashSecret(text)); tok.Revoked.IsZero(); tok, _ = b.Snapshot().TokenByHash(auth.HashSecret(text)) {
		<-b.Moved()
	}
	if took := time.Since(before); took > time.Second {
		t.Errorf("a revoked token was good for %v at the other instance, want less than a second", took)
	}

	_, err := a.Change(t.Context(), directory.By{}, func(e *directory.Edit) error { return e.Update(person("ann"), "zz") })
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("stale etag: %v, want conflict", err)
	}
	audits, err := s.Audits(t.Context(), "", 10)
	if err != nil || len(audits) != 3 {
		t.Errorf("%d audit records, %v; want 3", len(audits), err)
	}
	c, _ := instance(t, url)
	if c.Snapshot().Count(directory.KindUser) != 1 || c.Snapshot().Count(directory.KindToken) != 1 {
		t.Error("a new instance does not load what the others have")
	}
}

func TestAuthenticateOnRedis(t *testing.T) {
	url := redistest.Start(t).URL()
	a, _ := instance(t, url)
	b, _ := instance(t, url) // does not follow: it has to catch up when asked
	authn := &auth.Authenticator{
		Book: func() auth.Book { return b.Snapshot() }, CatchUp: b.CatchUp, Now: time.Now,
	}
	create(t, a, person("ann"))
	credential := auth.NewDeviceCredential("d1")
	create(t, a, &directory.Device{
		Device:     roster.Device{ID: "d1", User: "ann", Name: "phone", Platform: roster.Android, State: roster.DeviceActive},
		Credential: auth.HashSecret(credential),
	})
	p, err := authn.Credential(t.Context(), credential)
	if err != nil || p.User != "ann" || p.Kind != auth.KindDevice {
		t.Fatalf("a phone enrolled a moment ago at another instance: %v, %v", p, err)
	}
	if _, err := a.Change(t.Context(), directory.By{}, func(e *directory.Edit) error {
		d, _ := e.GetDevice("d1")
		c := *d
		c.State, c.Epoch = roster.DeviceRevoked, c.Epoch+1
		return e.Update(&c, "")
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := authn.Credential(t.Context(), credential); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a revoked phone: %v, want unauthenticated", err)
	}
}

func TestEnrolmentOnRedis(t *testing.T) {
	_, s := instance(t, redistest.Start(t).URL())
	e := auth.Enroller{Store: s, PublicURL: "https://page.example.org", Now: time.Now}
	link, err := e.Create(t.Context(), "ann", auth.Console())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var good int
	for range 10 {
		wg.Go(func() {
			_, err := e.Redeem(t.Context(), link.Code)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good++
			} else if fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("second use: %v, want unauthenticated", err)
			}
		})
	}
	wg.Wait()
	if good != 1 {
		t.Errorf("one link enrolled %d phones", good)
	}
}

func TestRacingChangesOnRedis(t *testing.T) {
	url := redistest.Start(t).URL()
	var dirs []*directory.Directory
	for range 3 {
		d, _ := instance(t, url)
		dirs = append(dirs, d)
	}
	create(t, dirs[0], &directory.Team{Team: roster.Team{ID: "web", Name: "Web"}})
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			id := fmt.Sprintf("u%d", i)
			for {
				_, err := dirs[i%3].Change(t.Context(), directory.By{}, func(e *directory.Edit) error {
					team, _ := e.GetTeam("web")
					c := *team
					c.Members = append(append([]roster.UserID{}, c.Members...), roster.UserID(id))
					return errors.Join(e.Create(person(id)), e.Update(&c, ""))
				})
				if err == nil {
					return
				}
				if fault.KindOf(err) != fault.Conflict {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := dirs[1].CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if team, _ := dirs[1].Snapshot().GetTeam("web"); len(team.Members) != 24 {
		t.Errorf("%d of 24 members", len(team.Members))
	}
}

func TestRedisOfAnotherTimeIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "directory")
	onDisk := func(o *directory.Options) { o.File = file }
	d, _ := instance(t, redistest.Start(t).URL(), onDisk)
	create(t, d, person("ann"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	cancel() // writes the copy at its end
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Restored from an older back-up: the copy on disk is ahead of the log.
	other, _ := instance(t, redistest.Start(t).URL(), onDisk)
	if _, ok := other.Snapshot().GetUser("ann"); ok {
		t.Error("the copy on disk won over Redis")
	}
}
