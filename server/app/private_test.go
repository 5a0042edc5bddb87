package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// TestThePrivateRedisOutlivesItsServer kills a server that runs a Redis of its
// own: the next one in the same directory adopts it, with everything in it. A
// second server in the directory is refused meanwhile.
func TestThePrivateRedisOutlivesItsServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	dir, err := os.MkdirTemp("", "tocsin") //nolint:usetesting // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	first, err := w.spawn(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	here := *w
	here.redis = "unix://" + redisd.Socket(filepath.Join(dir, "redis"))
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "ann"})
	t.Cleanup(phone.Close)
	kept, err := here.prepare(ctx, phone)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	if err := post(ctx, first.address, key, "trigger", "db"); err != nil {
		t.Fatal(err)
	}
	if err := incidents(ctx, kept, 1, incident.Triggered); err != nil {
		t.Fatal(err)
	}
	if second, err := w.spawn(dir); err == nil {
		second.end()
		t.Error("a second server began in the same directory")
	} else if !strings.Contains(err.Error(), "another") && !strings.Contains(err.Error(), "already") {
		t.Errorf("a second server is refused with %v, want it to say who is there", err)
	}
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.gone
	if err := redisd.Ping(ctx, redisd.Socket(filepath.Join(dir, "redis"))); err != nil {
		t.Errorf("Redis went with its server: %v", err)
	}
	next, err := w.spawn(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := incidents(ctx, kept, 1, incident.Triggered); err != nil {
		t.Error(err)
	}
	next.end()
	if err := redisd.Ping(ctx, redisd.Socket(filepath.Join(dir, "redis"))); err == nil {
		t.Error("Redis goes on although its server was stopped in order")
	}
}

// TestAStartWithoutRedisTellsTheAdministrators starts a server whose Redis is
// down: it waits for it, and pages the administrators out of the copy on disk.
func TestAStartWithoutRedisTellsTheAdministrators(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	w := newWorld(t, redis.URL())
	cy := pushtest.NewPhone(pushtest.PhoneOptions{Name: "cy"})
	t.Cleanup(cy.Close)
	dir := t.TempDir()
	w.keepCopy(dir, cy)

	redis.Kill(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended, started := make(chan error, 1), make(chan Doors, 1)
	c := w.config(dir)
	c.OutOfBand.After = 100 * time.Millisecond
	go func() { // read below
		ended <- Run(ctx, Options{Config: c, Log: slog.New(slog.DiscardHandler), Started: func(d Doors) { started <- d }})
	}()
	gets(t, cy, "word of the outage", page)
	redis.Restart(t)
	select {
	case <-started:
	case <-time.After(patience):
		t.Error("the server did not start when Redis came back")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the server ended with: %v", err)
	}
}

// keepCopy leaves a copy of the organisation, with a phone for Cy, in a data directory.
func (w *world) keepCopy(dir string, cy *pushtest.Phone) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	s, err := store.Open(ctx, store.Options{URL: w.redis})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	keys, err := auth.ParseKeyring(masterKey)
	if err != nil {
		w.t.Fatal(err)
	}
	file := (&server{c: w.config(dir)}).snapshotFile()
	d, err := directory.Open(ctx, directory.Options{Log: directory.StoreLog{Store: s}, Keys: keys, File: file})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := d.ApplyDocument(ctx, directory.ByServer("test"), []byte(organisation), directory.ApplyOptions{Force: true}); err != nil {
		w.t.Fatal(err)
	}
	if err := register(ctx, d, "cy", w.apple.Register(cy, bundle)); err != nil {
		w.t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(running) }()
	stop() // the copy is written at the end, too
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		w.t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		w.t.Fatalf("there is no copy on disk: %v", err)
	}
}

// TestClosedIncidentsArePacked lets an hour pass after the end of an incident.
func TestClosedIncidentsArePacked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start(func(o *Options) { o.Config.Retention.ArchiveAfter = time.Second })
	in.apply(organisation)
	ann := in.enrol(w, "ann", roster.IOS)
	in.send("trigger", "db", "disk full")
	n := gets(t, ann, "the page", page)
	in.send("resolve", "db", "disk full")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := incidents(ctx, in.server.store, 1, incident.Resolved); err != nil {
		t.Fatal(err)
	}
	w.watch.forward(time.Minute)
	for {
		r, err := in.server.store.Record(ctx, incident.ID(n.IncidentID))
		if err != nil {
			t.Fatal(err)
		}
		if r.Archived {
			break
		}
		if !again(ctx) {
			t.Fatal("the incident was never packed")
		}
	}
	in.send("trigger", "db", "disk full")
	gets(t, ann, "the page of the next incident", func(p pushtest.Notification) bool { return page(p) && p.IncidentID != n.IncidentID })
}
