package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestCase74_HotReload: pages go out while the configuration gets another key
// id and file and is read again; no page fails or is lost, what goes out after
// the reload is signed by the new key, and the connections of the old one are
// closed when their last answer has come. A configuration that cannot be read
// leaves everything as it is.
func TestCase74_HotReload(t *testing.T) {
	t.Parallel()
	const people = 4
	w := newWorld(t, redistest.Start(t).URL())
	reload := make(chan os.Signal)
	var now atomic.Pointer[config.Config] // what the file says
	in := w.start(func(o *Options) {
		o.Reload = reload
		first := o.Config
		now.Store(&first)
		o.Reread = func() (config.Config, error) {
			if c := now.Load(); c != nil {
				return *c, nil
			}
			return config.Config{}, errors.New("line 3: that is no YAML")
		}
	})
	in.apply(crowd(people))
	var phones []*pushtest.Phone
	for i := range people {
		phones = append(phones, in.enrol(w, roster.UserID(fmt.Sprint("u", i)), roster.IOS))
	}

	// Apple takes one new provider token of a team in 20 minutes, whatever key
	// signs it: the first is used at the beginning of its life, and is older than
	// that when the key is changed.
	const slot = 45 * time.Minute
	w.watch.forward(w.watch.Now().Truncate(slot).Add(slot + 2*time.Minute).Sub(w.watch.Now()))
	in.send("trigger", "first", "disk full")
	eventually(t, "the first page has gone out", func() bool { return pages(phones[0]) > 0 })
	in.send("resolve", "first", "disk full")
	eventually(t, "the first card is quiet", func() bool { return len(phones[0].Shown()) == 1 && phones[0].Shown()[0].Kind == "clear" })
	in.forward(w, 21*time.Minute)

	w.apple.Decide(func(pushtest.Request) (pushtest.Answer, bool) { // some are always in flight
		return pushtest.After(100*time.Millisecond, pushtest.Accept()), true
	})

	// Load: incidents one after the other, until the reload is done.
	ctx, stop := context.WithCancel(t.Context())
	var sent atomic.Int64
	var load sync.WaitGroup
	load.Go(func() {
		pace := time.NewTicker(25 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			<-pace.C
			if err := post(t.Context(), in.doors.Listen, key, "trigger", fmt.Sprint("db", sent.Load())); err != nil { //nolint:contextcheck // an event that was begun is counted, so it is not cut off
				t.Errorf("event %d: %v", sent.Load(), err)
				return
			}
			sent.Add(1)
		}
	})
	eventually(t, "pages go out", func() bool { return pages(phones[0]) > 1 })

	second := *now.Load()
	second.Push.Apps = append([]config.PushApp(nil), second.Push.Apps...)
	ios := &second.Push.Apps[0]
	ios.KeyID, ios.KeyFile = "KEY0000002", w.file("second.p8")
	if err := os.WriteFile(ios.KeyFile, w.apple.NewKey(ios.TeamID, ios.KeyID), 0o600); err != nil {
		t.Fatal(err)
	}
	now.Store(&second)
	reload <- syscall.SIGHUP
	reload <- syscall.SIGHUP // taken only when the first has been dealt with
	before := len(w.apple.Requests())
	eventually(t, "pages go out by the new key", func() bool { return len(w.apple.Requests()) > before+people })
	now.Store(nil)
	reload <- syscall.SIGHUP
	reload <- syscall.SIGHUP
	after := len(w.apple.Requests())
	eventually(t, "pages go out after a configuration that is none", func() bool { return len(w.apple.Requests()) > after })
	stop()
	load.Wait()
	in.forward(w, 0)
	eventually(t, "every push has an answer", func() bool {
		for _, app := range in.server.sender.State() {
			if app.Pages+app.Others+app.InFlight > 0 {
				return false
			}
		}
		return true
	})
	by, carried := map[string]int{}, map[string]map[int]bool{}
	for _, r := range w.apple.Requests() {
		kid := keyID(t, r.Header["authorization"])
		by[kid]++
		if carried[kid] == nil {
			carried[kid] = map[int]bool{}
		}
		carried[kid][r.Connection] = true
		if r.Status != http.StatusOK {
			t.Errorf("a push signed by %s was answered %d %s", kid, r.Status, r.Reason)
		}
	}
	t.Logf("%d events, pushes by key %v, over connections %v", sent.Load(), by, carried)
	if by["KEY0000001"] == 0 || by["KEY0000002"] == 0 || len(by) != 2 {
		t.Errorf("pushes by key = %v, want some by each of the two", by)
	}
	for c := range carried["KEY0000001"] {
		if carried["KEY0000002"][c] {
			t.Errorf("connection %d carried both keys", c)
		}
	}
	eventually(t, "the connections of the old key are closed", func() bool {
		opened, open, _ := w.apple.Connections()
		return opened-open >= len(carried["KEY0000001"])
	})
	if err := incidents(t.Context(), in.server.store, int(sent.Load()), incident.Triggered); err != nil {
		t.Error(err)
	}
	for _, p := range phones { // every page has a card of its own, or is on that of the storm
		if n := p.Shown(); len(n) == 0 {
			t.Errorf("%s's phone shows nothing", p.Name())
		}
	}
}

// keyID returns the key that a provider token says it is signed by.
func keyID(t *testing.T, authorization string) string {
	t.Helper()
	head, _, _ := strings.Cut(strings.TrimPrefix(authorization, "bearer "), ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var h struct {
		Kid string `json:"kid"`
	}
	if err = errors.Join(err, json.Unmarshal(text, &h)); err != nil {
		t.Fatalf("the provider token %q has no head: %v", authorization, err)
	}
	return h.Kid
}
