package push_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// vault is an apns.Vault in memory.
type vault struct {
	mu   sync.Mutex
	kept map[string]apns.Bearer
	gone bool
}

var errGone = errors.New("the vault is gone")

func (v *vault) Newest(_ context.Context, team, keyID string) (apns.Bearer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone {
		return apns.Bearer{}, errGone
	}
	return v.kept[team+keyID], nil
}

func (v *vault) Offer(_ context.Context, team, keyID string, b apns.Bearer) (apns.Bearer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone {
		return apns.Bearer{}, errGone
	}
	if b.Issued.After(v.kept[team+keyID].Issued) {
		v.kept[team+keyID] = b
	}
	return v.kept[team+keyID], nil
}

// seen is a provider token on a connection, at a moment of the rig's clock.
type seen struct {
	connection int
	bearer     string
	at         time.Time
}

// instances are senders with nothing in common but the key, and perhaps a
// vault; the first is the rig's own.
type instances struct {
	*rig
	vault *vault
	key   []byte

	mu   sync.Mutex
	seen []seen
}

// newInstances is one instance; add adds others.
func newInstances(t *testing.T, v *vault) *instances {
	t.Helper()
	in := &instances{vault: v}
	in.rig = newRig(t, func(o *rigOptions) { o.config.Keyring = in.keyring() })
	in.key = in.apple.NewKey(team, keyID)
	// The rig's own provider has a key of its own, so it is replaced.
	if err := in.sender.SetApps([]push.App{{ID: "ios", Provider: "apns", Via: in.provider()}}); err != nil {
		t.Fatal(err)
	}
	in.apple.Decide(func(q pushtest.Request) (pushtest.Answer, bool) {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.seen = append(in.seen, seen{q.Connection, q.Header["authorization"], in.clock.Now()})
		return pushtest.Answer{}, false
	})
	return in
}

func (in *instances) keyring() *apns.Keyring {
	k := &apns.Keyring{Every: 5 * time.Millisecond}
	if in.vault != nil {
		k.Vault = in.vault
	}
	return k
}

func (in *instances) provider() *apns.Provider {
	in.t.Helper()
	p, err := apns.New(apns.Config{
		App: "ios", BundleID: bundle, TeamID: team, KeyID: keyID, Key: in.key, Now: in.clock.Now, Keyring: in.keyring(),
		TestEndpoint: &apns.TestEndpoint{URL: in.apple.URL(), CA: in.apple.CA()},
	})
	if err != nil {
		in.t.Fatal(err)
	}
	return p
}

// add starts another instance.
func (in *instances) add() *push.Sender {
	in.t.Helper()
	s := push.NewSender(push.Options{})
	if err := s.SetApps([]push.App{{ID: "ios", Provider: "apns", Via: in.provider()}}); err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// through sends one page through an instance and wants it accepted.
func (in *instances) through(s *push.Sender, d push.Device) {
	in.t.Helper()
	d.ID = uuid()
	if res := s.Send(in.t.Context(), push.Delivery{Message: in.page(), Device: d}); res.End != push.EndAccepted {
		in.t.Errorf("ended %v, want accepted; tries %+v", res.End, res.Tries)
	}
}

// check holds what Apple saw against its rules, and returns the tokens in the
// order in which they appeared.
func (in *instances) check() (bearers []string) {
	in.t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	known := map[string]bool{}
	current := map[int]seen{}
	for _, s := range in.seen {
		if !known[s.bearer] {
			known[s.bearer], bearers = true, append(bearers, s.bearer)
		}
		if age := s.at.Sub(issuedAt(in.t, s.bearer)); age > 55*time.Minute {
			in.t.Fatalf("a token of age %v was used", age)
		}
		was, carried := current[s.connection]
		switch {
		case !carried:
			current[s.connection] = s
		case was.bearer != s.bearer && s.at.Sub(was.at) < 20*time.Minute:
			in.t.Fatalf("connection %d carried two tokens within %v", s.connection, s.at.Sub(was.at))
		case was.bearer != s.bearer:
			current[s.connection] = s
		}
	}
	return bearers
}

func issuedAt(t testing.TB, authorization string) time.Time {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(authorization, "bearer "), ".")
	if len(parts) != 3 {
		t.Fatalf("authorization %q is no provider token", authorization)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Iat int64 }
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return time.Unix(claims.Iat, 0)
}

// vaults are the two ways in which instances may be together.
func vaults() map[string]*vault {
	return map[string]*vault{"with a vault": {kept: map[string]apns.Bearer{}}, "with the vault gone": {kept: map[string]apns.Bearer{}, gone: true}}
}

// TestCase02_OneTokenForAllInstances: two instances send 1,000 pages in 30
// minutes of one slot: Apple sees one token, never older than 55 minutes. With a
// vault also when the second starts too late in a slot to take its token alone.
func TestCase02_OneTokenForAllInstances(t *testing.T) {
	t.Parallel()
	for name, v := range vaults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstances(t, v)
			in.clock.Forward(inSlot(in.clock.Now(), 5*time.Minute))
			two := in.add()
			d, _ := in.iphone()
			for range 50 {
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() { in.through(in.sender, d) })
					wg.Go(func() { in.through(two, d) })
				}
				wg.Wait()
				in.clock.Forward(36 * time.Second)
			}
			if bearers := in.check(); len(bearers) != 1 || in.apple.Count() != 1000 {
				t.Errorf("%d tokens in %d requests, want one in 1,000", len(bearers), in.apple.Count())
			}
		})
	}
	t.Run("a late start", func(t *testing.T) {
		t.Parallel()
		in := newInstances(t, vaults()["with a vault"])
		in.clock.Forward(inSlot(in.clock.Now(), 34*time.Minute))
		d, _ := in.iphone()
		in.through(in.sender, d)
		in.until(func() bool { return in.vault.holds() })
		in.clock.Forward(4 * time.Minute)
		two := in.add()
		for range 5 {
			in.through(in.sender, d)
			in.through(two, d)
			in.clock.Forward(time.Minute)
		}
		if bearers := in.check(); len(bearers) != 1 {
			t.Errorf("%d tokens, want the second instance to take that of the first", len(bearers))
		}
	})
}

func (v *vault) holds() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.kept) > 0
}

// until waits for something that another goroutine is about to do.
func (in *instances) until(done func() bool) {
	in.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-in.t.Context().Done():
			in.t.Fatal("it never happened")
		case <-tick.C:
		}
	}
}

// TestCase03_TokenRenewedUnderLoad: time moves on by 46 minutes and more while
// two instances send: tokens are renewed, no page fails, and no connection
// carries two tokens within twenty minutes.
func TestCase03_TokenRenewedUnderLoad(t *testing.T) {
	t.Parallel()
	for name, v := range vaults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstances(t, v)
			in.clock.Forward(inSlot(in.clock.Now(), 10*time.Minute))
			two := in.add()
			d, _ := in.iphone()
			for range 14 { // nearly three hours
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() { in.through(in.sender, d) })
					wg.Go(func() { in.through(two, d) })
				}
				wg.Wait()
				in.clock.Forward(12 * time.Minute)
			}
			if bearers := in.check(); len(bearers) < 3 || len(bearers) > 5 {
				t.Errorf("%d tokens in 2 h 48 min, want one for each 45 minutes", len(bearers))
			}
			for _, q := range in.apple.Requests() {
				if q.Status != http.StatusOK {
					t.Errorf("answered %d %s, want 200", q.Status, q.Reason)
				}
			}
		})
	}
}

// TestCase04_ExpiredProviderTokenOnce: Apple calls a token of half an hour
// expired: the page is accepted with one extra request, under a new token, over
// another connection; other instances take the new token over.
func TestCase04_ExpiredProviderTokenOnce(t *testing.T) {
	t.Parallel()
	in := newInstances(t, vaults()["with a vault"])
	d, _ := in.iphone()
	in.clock.Forward(inSlot(in.clock.Now(), 30*time.Minute))
	in.apple.Script(string(d.Token), pushtest.Reject(http.StatusForbidden, "ExpiredProviderToken"))
	in.want(in.send(in.page(), d), push.EndAccepted)
	got := in.apple.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests, want one extra", len(got))
	}
	if got[0].Header["authorization"] == got[1].Header["authorization"] {
		t.Error("the second request carried the expired token again")
	}
	if got[0].Connection == got[1].Connection {
		t.Error("the second request went over the connection with the expired token")
	}
	in.until(func() bool { return in.vault.holds() })
	in.through(in.add(), d)
	got = in.apple.Requests()
	if got[2].Header["authorization"] != got[1].Header["authorization"] {
		t.Error("another instance did not take the new token")
	}
}

// inSlot is how far to move so that a provider token is of an age.
func inSlot(now time.Time, age time.Duration) time.Duration {
	const slot = 45 * time.Minute
	into := time.Duration(now.Add(-time.Minute).Unix()%int64(slot/time.Second)) * time.Second
	return (slot - into) + age - time.Minute
}

// TestCase05_ExpiredProviderTokenThatIsFresh: Apple calls a token of two minutes
// expired: no other is signed, the operator is told of the clock, and another
// way of reaching the person can start within a second.
func TestCase05_ExpiredProviderTokenThatIsFresh(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	r.clock.Forward(inSlot(r.clock.Now(), 2*time.Minute))
	r.apple.Always("", pushtest.Reject(http.StatusForbidden, "ExpiredProviderToken"))
	began := time.Now()
	res := r.send(r.page(), d)
	r.want(res, push.EndProviderDown)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v, want under 1 s", took)
	}
	if n := r.apple.Count(); n != 1 {
		t.Errorf("%d requests, want 1: no loop of new tokens", n)
	}
	if !strings.Contains(strings.Join(r.alerted(), "\n"), "clock") {
		t.Errorf("alerts %q, want one about the clock", r.alerted())
	}
}

// TestCase06_TooManyProviderTokenUpdates: one connection refuses our token for
// changing too often: it is closed and never used again, others carry the same
// token, the operator is told. When all refuse it, another way starts at once.
func TestCase06_TooManyProviderTokenUpdates(t *testing.T) {
	t.Parallel()
	limited := pushtest.Reject(http.StatusTooManyRequests, "TooManyProviderTokenUpdates")
	t.Run("one connection", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.iphone()
		r.apple.Script(string(d.Token), limited)
		r.want(r.send(r.page(), d), push.EndAccepted)
		r.clock.Forward(10 * time.Minute)
		for range 10 {
			r.want(r.send(r.page(), d), push.EndAccepted)
		}
		got := r.apple.Requests()
		for _, q := range got[1:] {
			if q.Connection == got[0].Connection {
				t.Fatalf("the connection that refused the token was used again")
			}
		}
		if got[0].Header["authorization"] != got[1].Header["authorization"] {
			t.Error("a new token was signed, want the same")
		}
		if len(r.alerted()) == 0 {
			t.Error("no alert for the operator")
		}
	})
	t.Run("all connections", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.iphone()
		r.apple.Always("", limited)
		began := time.Now()
		for range 20 {
			r.want(r.send(r.page(), d), push.EndProviderDown)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v, want another way to start within 1 s", took)
		}
		if n := r.apple.Count(); n > 2 {
			t.Errorf("%d requests, want the breaker open after the second connection", n)
		}
		bearers := map[string]bool{}
		for _, q := range r.apple.Requests() {
			bearers[q.Header["authorization"]] = true
		}
		if opened, _, _ := r.apple.Connections(); opened > 4 || len(bearers) != 1 {
			t.Errorf("%d connections and %d tokens, want at most 4 and 1", opened, len(bearers))
		}
	})
}

// TestCase08_InvalidProviderToken: Apple refuses the credential of one app: its
// breaker is open after one request, other apps go on, another way can start at
// once, and one probe after the cause is mended brings the app back.
func TestCase08_InvalidProviderToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *rigOptions) { o.options.Now = o.clock.Now })
	d, _ := r.iphone()
	a, _ := r.android()
	r.apple.Always("", pushtest.Reject(http.StatusForbidden, "InvalidProviderToken"))
	began := time.Now()
	for range 6 {
		r.want(r.send(r.page(), d), push.EndProviderDown)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("answers took %v, want under 1 s for another way to start", took)
	}
	if n := r.apple.Count(); n != 1 {
		t.Errorf("%d requests, want the breaker open after 1", n)
	}
	r.want(r.send(r.page(), a), push.EndAccepted)
	r.apple.Heal("")
	r.clock.Forward(time.Minute)
	for range 3 {
		r.want(r.send(r.page(), d), push.EndAccepted)
	}
	if n := r.apple.Count(); n != 4 {
		t.Errorf("%d requests, want the first probe to be a page that arrives", n)
	}
}

// TestCase09_UnreadableKey: an app whose key cannot be read does not start and
// says why; others send, and no request ever has an empty bearer.
func TestCase09_UnreadableKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for what, key := range map[string][]byte{"nothing": nil, "half a file": r.apple.NewKey("TEAM000009", "KEY0000009")[:80], "prose": []byte("see the wiki")} {
		p, err := apns.New(apns.Config{
			App: "night", BundleID: bundle, TeamID: "TEAM000009", KeyID: "KEY0000009", Key: key,
			TestEndpoint: &apns.TestEndpoint{URL: r.apple.URL(), CA: r.apple.CA()},
		})
		if err == nil {
			_ = p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), `"night"`) || !strings.Contains(err.Error(), "BEGIN PRIVATE KEY") {
			t.Errorf("%s: error %v, want one that names the app and the file that is wanted", what, err)
		}
	}
	d, _ := r.iphone()
	r.want(r.send(r.page(), d), push.EndAccepted)
	for _, q := range r.apple.Requests() {
		if len(strings.TrimPrefix(q.Header["authorization"], "bearer ")) < 100 {
			t.Errorf("authorization %q is no provider token", q.Header["authorization"])
		}
	}
}

// TestAppsOfOneKeyShareItsToken: two apps of a process that use one key send
// one token, and two keys of a team take turns.
func TestAppsOfOneKeyShareItsToken(t *testing.T) {
	t.Parallel()
	in := newInstances(t, nil)
	ring := &apns.Keyring{}
	apps := map[string]*apns.Provider{}
	for i, id := range []string{"first", "second"} {
		p, err := apns.New(apns.Config{
			App: id, BundleID: fmt.Sprint("com.example.app", i), TeamID: team, KeyID: keyID, Key: in.key, Keyring: ring, Now: in.clock.Now,
			TestEndpoint: &apns.TestEndpoint{URL: in.apple.URL(), CA: in.apple.CA()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		apps[id] = p
	}
	// One of them makes a token out of turn; the other must not make one more.
	in.clock.Forward(inSlot(in.clock.Now(), 30*time.Minute))
	m, d := in.page(), iosDevice(in.apple.Register(nil, "com.example.app0"))
	var calls atomic.Int64
	send := func(id string) push.Outcome {
		calls.Add(1)
		return apps[id].Send(t.Context(), push.Attempt{Message: &m, Device: &d, Number: 1})
	}
	in.apple.Script(string(d.Token), pushtest.Reject(http.StatusForbidden, "ExpiredProviderToken"))
	if o := send("first"); o.Class != push.RetryNow {
		t.Fatalf("class %v, want another try", o.Class)
	}
	if o := send("first"); o.Class != push.Accepted {
		t.Fatalf("class %v %s, want accepted", o.Class, o.Reason)
	}
	d.Token = push.Token(in.apple.Register(nil, "com.example.app1"))
	if o := send("second"); o.Class != push.Accepted {
		t.Fatalf("class %v %s, want accepted", o.Class, o.Reason)
	}
	got := in.apple.Requests()
	if len(got) != int(calls.Load()) || got[1].Header["authorization"] != got[2].Header["authorization"] {
		t.Errorf("the second app of the key made a token of its own")
	}
}
