package h2

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// bench is a simulator, and what is needed to connect to it.
type bench struct {
	t     *testing.T
	apple *pushtest.APNs
	base  *url.URL
	trust *tls.Config
}

func newBench(t *testing.T) *bench {
	t.Helper()
	a, err := pushtest.NewAPNs(pushtest.APNsOptions{AnyBearer: true, AnyToken: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	base, err := url.Parse(a.URL())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CA())
	return &bench{t, a, base, &tls.Config{RootCAs: roots, ServerName: base.Hostname(), MinVersion: tls.VersionTLS12}}
}

func (b *bench) pool(o Options) *Pool {
	b.t.Helper()
	o.Base, o.Trust = b.base, b.trust
	p := New(o)
	b.t.Cleanup(p.Close)
	return p
}

// lane returns a place on a connection other than avoid.
func (b *bench) lane(p *Pool, avoid string) *Lane {
	b.t.Helper()
	l, err := p.Acquire(b.t.Context(), true, avoid)
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// push makes one request on a lane and gives the lane back.
func (b *bench) push(p *Pool, l *Lane) (status int, err error) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.apple.URL()+"/3/device/"+strings.Repeat("ab", 32), strings.NewReader("{}"))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Apns-Topic", "com.example")
	r.Header.Set("Apns-Push-Type", "alert")
	res, err := l.RoundTrip(r)
	if err != nil {
		f := fateOf(err)
		p.Release(l, false, f.refused)
		if !f.reset {
			p.Retire(l, f.reason)
		}
		return 0, err
	}
	if err := res.Body.Close(); err != nil {
		b.t.Error(err)
	}
	p.Release(l, res.StatusCode == http.StatusOK, false)
	return res.StatusCode, nil
}

func (b *bench) dialer(lookup func(context.Context, string) ([]string, error)) *dialer {
	named := *b.base
	named.Host = "apns.test:" + b.base.Port()
	return &dialer{base: &named, trust: b.trust, first: 1, lookup: lookup}
}

func TestDialGoesOnToTheNextAddress(t *testing.T) {
	b := newBench(t)
	d := b.dialer(func(context.Context, string) ([]string, error) {
		return []string{"127.0.0.2", "127.0.0.1", "127.0.0.3"}, nil // nobody listens on the other two
	})
	for range 3 {
		l, err := d.dial(t.Context(), func(*Lane) {})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(l.ID(), "127.0.0.1:") {
			t.Errorf("connected as %s, want the address where somebody listens", l.ID())
		}
		l.end()
	}
}

func TestDialsSpreadOverTheAddresses(t *testing.T) {
	b := newBench(t)
	everywhere, err := pushtest.NewAPNs(pushtest.APNsOptions{Address: "0.0.0.0:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(everywhere.Close)
	b.apple = everywhere
	if b.base, err = url.Parse(everywhere.URL()); err != nil {
		t.Fatal(err)
	}
	b.trust.RootCAs = x509.NewCertPool()
	b.trust.RootCAs.AppendCertsFromPEM(everywhere.CA())
	looked := 0
	d := b.dialer(func(context.Context, string) ([]string, error) {
		looked++
		return []string{"127.0.0.1", "127.0.0.2"}, nil
	})
	seen := map[string]int{}
	for range 4 {
		l, err := d.dial(t.Context(), func(*Lane) {})
		if err != nil {
			t.Fatal(err)
		}
		address, _, _ := strings.Cut(l.ID(), ":")
		seen[address]++
		l.end()
	}
	if seen["127.0.0.1"] != 2 || seen["127.0.0.2"] != 2 || looked != 4 {
		t.Errorf("dialled %v after %d look-ups, want each address twice and a look-up for each dial", seen, looked)
	}
}

func TestDialSaysWhy(t *testing.T) {
	b := newBench(t)
	down := errors.New("no such host")
	if _, err := b.dialer(func(context.Context, string) ([]string, error) { return nil, down }).dial(t.Context(), nil); !errors.Is(err, down) {
		t.Errorf("error %v, want that of the look-up", err)
	}
	b.trust.RootCAs = x509.NewCertPool()
	if _, err := b.dialer(func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }).dial(t.Context(), nil); err == nil {
		t.Error("a certificate of nobody's was accepted")
	}
}

// TestTroubleOpensAnother: a service in trouble gets another connection after
// the second time, the troubled one is the last choice, and a success ends it.
func TestTroubleOpensAnother(t *testing.T) {
	b := newBench(t)
	p := b.pool(Options{Lanes: 1, First: 10})
	bad := b.lane(p, "")
	p.Trouble(bad)
	p.Release(bad, false, false)
	if l := b.lane(p, ""); l != bad {
		t.Fatal("one trouble opened another connection")
	} else {
		p.Trouble(l)
		p.Release(l, false, false)
	}
	good := b.lane(p, bad.ID())
	for good == bad { // while the other one is being dialled
		p.Release(bad, false, false)
		good = b.lane(p, bad.ID())
	}
	if _, err := b.push(p, good); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l := b.lane(p, "")
		if l != good {
			t.Fatalf("a page went to %s, which is in trouble", l.ID())
		}
		p.Release(l, true, false)
	}
}

// TestConnectionsThatEndEarlyAreNotReplacedInALoop: a server that ends every
// connection at its first request meets a few new ones, and then a pause.
func TestConnectionsThatEndEarlyAreNotReplacedInALoop(t *testing.T) {
	b := newBench(t)
	b.apple.Always("", pushtest.Break(pushtest.CloseConnection))
	p := b.pool(Options{})
	failed := 0
	for failed < 50 {
		l, err := p.Acquire(t.Context(), true, "")
		if err != nil {
			failed++
			continue
		}
		if _, err := b.push(p, l); err == nil {
			t.Fatal("a request was answered")
		}
	}
	if opened, _, _ := b.apple.Connections(); opened > DefaultLanes+redialFree+1 {
		t.Errorf("%d connections were opened at once, want at most %d", opened, DefaultLanes+redialFree+1)
	}
}

func TestConnectionsThatWereOfUseAreReplacedAtOnce(t *testing.T) {
	b := newBench(t)
	p := b.pool(Options{Lanes: 1, First: 10})
	for range 3 * redialFree {
		for range provenBy {
			if _, err := b.push(p, b.lane(p, "")); err != nil {
				t.Fatal(err)
			}
		}
		b.apple.ScriptAny(pushtest.Break(pushtest.CloseConnection))
		if _, err := b.push(p, b.lane(p, "")); err == nil {
			t.Fatal("the connection was not closed")
		}
	}
	if wait := p.redialAt.Sub(clock()); wait > 0 {
		t.Errorf("the next dial waits %v, want none", wait)
	}
}

func TestSurplusConnectionsEnd(t *testing.T) {
	b := newBench(t)
	gone := make(chan string, 1)
	p := b.pool(Options{Lanes: 1, First: 1, Closed: func(why string) { gone <- why }})
	first := b.lane(p, "")
	p.Trouble(first)
	p.Trouble(first)
	second := b.lane(p, "")
	p.Release(first, true, false)
	p.Release(second, true, false)
	p.tend(t.Context(), second) // it has been used since it was looked at last
	select {
	case why := <-gone:
		t.Fatalf("a connection in use was closed: %s", why)
	default:
	}
	p.tend(t.Context(), second)
	if why := <-gone; why != surplusReason {
		t.Errorf("closed for %q, want %q", why, surplusReason)
	}
	p.tend(t.Context(), first)
	p.tend(t.Context(), first)
	if connections, _ := p.Stats(); connections["open"] != 1 {
		t.Errorf("connections %v, want the one that is kept", connections)
	}
}

func TestCarry(t *testing.T) {
	l, at := &Lane{}, time.Unix(1_800_000_000, 0)
	for _, tc := range []struct {
		text  string
		after time.Duration
		want  bool
	}{
		{"a", 0, true},
		{"a", time.Minute, true},
		{"b", 19 * time.Minute, false},
		{"a", 19 * time.Minute, true},
		{"b", 20 * time.Minute, true},
		{"a", 21 * time.Minute, false},
		{"b", 39 * time.Minute, true},
		{"c", 40 * time.Minute, true},
	} {
		if got := l.Carry(tc.text, at.Add(tc.after), 20*time.Minute); got != tc.want {
			t.Errorf("%s after %v: %v, want %v", tc.text, tc.after, got, tc.want)
		}
	}
}

// TestOwedAnswers: only a connection that gives no answers at all for a while
// is suspected, however many requests it carries.
func TestOwedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{shut: true} // does not dial; set again below
		l := &Lane{limit: 10}
		l.checkedAt = clock()
		p.shut = false
		p.target, p.redialAt = 0, clock().Add(time.Hour)
		suspected := func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return l.state == laneSuspect
		}
		p.mu.Lock()
		p.take(l)
		p.mu.Unlock()
		<-time.After(2 * time.Second)
		if !suspected() {
			t.Fatal("a connection that owed an answer for 2 s was not suspected")
		}
		p.mu.Lock()
		l.state = laneOpen
		p.giveBack(l)
		for range 6 {
			p.take(l)
		}
		p.mu.Unlock()
		for range 5 { // an answer each second
			<-time.After(time.Second)
			p.mu.Lock()
			p.giveBack(l)
			p.mu.Unlock()
			if suspected() {
				t.Fatal("a connection that answers was suspected")
			}
		}
		p.mu.Lock()
		p.giveBack(l)
		p.mu.Unlock()
		<-time.After(10 * time.Second)
		if suspected() || l.guard != nil {
			t.Error("an idle connection is looked at")
		}
	})
}

// TestNetworkThatIsDownIsTriedEachFewSeconds: nobody waits a minute for a network
// that has come back, and whoever is reached and turns us away is left in peace.
func TestNetworkThatIsDownIsTriedEachFewSeconds(t *testing.T) {
	b := newBench(t)
	nobody := &net.Dialer{Timeout: time.Second}
	_, refused := nobody.DialContext(t.Context(), "tcp", "127.0.0.1:1")
	b.trust.RootCAs = x509.NewCertPool()
	_, turned := b.dialer(func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }).dial(t.Context(), nil)
	_, unnamed := b.dialer(func(context.Context, string) ([]string, error) { return nil, &net.DNSError{Err: "no such host"} }).dial(t.Context(), nil)
	if !unreached(refused) || !unreached(unnamed) || unreached(turned) {
		t.Errorf("unreached: refused %v, without a name %v, turned away %v; want the first two", unreached(refused), unreached(unnamed), unreached(turned))
	}
	p := &Pool{}
	for range 20 {
		p.backOff(true)
		if wait := p.redialAt.Sub(clock()); wait > redialDown {
			t.Fatalf("the next dial waits %v, want at most %v", wait, redialDown)
		}
	}
	for range 10 {
		p.backOff(false)
	}
	if wait := p.redialAt.Sub(clock()); wait < redialMost-time.Second {
		t.Errorf("a service that was reached is dialled again after %v, want %v", wait, redialMost)
	}
}

// TestCancelledRequestsKeepTheirConnection: who gives a request up says nothing
// about the connection, and must not cost the others theirs.
func TestCancelledRequestsKeepTheirConnection(t *testing.T) {
	if f := fateOf(context.Canceled); !f.reset || f.timeout || f.unsent {
		t.Errorf("fate %+v, want the connection to go on", f)
	}
	b := newBench(t)
	l := b.lane(b.pool(Options{Lanes: 1}), "")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.apple.URL()+"/3/device/"+strings.Repeat("ab", 32), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	res, err := l.RoundTrip(r)
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, context.Canceled) || !fateOf(err).reset {
		t.Fatalf("error %v, want the cancellation, and the connection kept", err)
	}
}

// TestSuspicionFollowsACheck: a connection that dies right after it has answered
// a ping is looked at again as soon as it owes an answer for too long.
func TestSuspicionFollowsACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{shut: true}
		l := &Lane{limit: 10}
		l.checkedAt = clock()
		p.shut = false
		p.target, p.redialAt = 0, clock().Add(time.Hour)
		p.mu.Lock()
		p.take(l)
		p.mu.Unlock()
		<-time.After(slowAnswer + time.Millisecond)
		p.mu.Lock()
		defer p.mu.Unlock()
		if l.state != laneSuspect {
			t.Errorf("not suspected after %v", slowAnswer)
		}
		p.giveBack(l)
	})
}

// TestFullPoolThatAnswersIsBusy: refusals are answers. Whoever finds no place
// beside them is told that there is much to do, which is no failure of the service.
func TestFullPoolThatAnswersIsBusy(t *testing.T) {
	b := newBench(t)
	p := b.pool(Options{Lanes: 1, First: 1})
	l := b.lane(p, "")
	defer p.Release(l, false, false)
	wait := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := p.Acquire(ctx, true, "")
		return err
	}
	if err := wait(); !errors.Is(err, errStuck) {
		t.Errorf("without any answer: %v, want %v", err, errStuck)
	}
	p.Answered()
	if err := wait(); !errors.Is(err, errBusy) {
		t.Errorf("after a refusal: %v, want %v", err, errBusy)
	}
}

func TestSpread(t *testing.T) {
	mixed := []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"}
	for turn, want := range map[uint64]string{
		0: "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3",
		1: "2001:db8::2 192.0.2.1 2001:db8::3 192.0.2.2 2001:db8::1",
		4: "192.0.2.2 2001:db8::1 192.0.2.1 2001:db8::2 2001:db8::3",
	} {
		if got := strings.Join(spread(mixed, turn), " "); got != want {
			t.Errorf("turn %d: %s, want %s", turn, got, want)
		}
	}
	if got := spread(nil, 3); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}
