package providertest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// Service is a simulator as the laws drive it. Those of [pushtest] have these
// methods.
type Service interface {
	Script(address string, answers ...pushtest.Answer)
	Always(address string, answer pushtest.Answer)
	Heal(address string)
	Count() int
	Down(on bool)
}

// Subject is a provider and the service that it talks to, both fresh.
type Subject struct {
	Provider push.Provider
	Service  Service
	Device   push.Device     // registered at the service
	Dead     pushtest.Answer // how the service says that an address is dead for good
	Foreign  []push.Token    // addresses that must never be asked for, besides the usual ones

	NoHeartbeat  bool // the provider refuses heartbeats: its phones cannot take what shows nothing
	NoRetryAfter bool // the service has no way to say how long to wait
}

// patience bounds what a provider may take that has an answer to give.
const patience = 10 * time.Second

// Run holds the provider that fresh returns to every law. fresh is called once
// for each of them.
func Run(t *testing.T, fresh func(t *testing.T) Subject) {
	for _, law := range []struct {
		name string
		hold func(*trial)
	}{
		{"EveryKindIsAccepted", everyKind},
		{"OneCallIsOneRequest", oneRequest},
		{"TroubleOfTheServiceCostsNoAddress", troubleKeepsAddresses},
		{"ADeadAddressIsDropped", deadAddress},
		{"SilenceEndsWithTheContext", silence},
		{"ACutIsNotKnownToHaveFailed", cut},
		{"NothingIsSentAfterTheContext", lateContext},
		{"AServiceThatIsDownComesBack", down},
		{"MalformedAddressesNeverLeave", malformed},
		{"RedirectsAreNotFollowed", redirect},
		{"NothingIsTooLong", tooLong},
		{"RetryAfterIsHeard", retryAfter},
		{"CallsRunAtTheSameTime", crowd},
		{"OutcomesHoldNoSecret", noSecret},
		{"CloseIsTheEnd", closing},
	} {
		t.Run(law.name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			t.Cleanup(func() { _ = s.Provider.Close() })
			law.hold(&trial{T: t, Subject: s})
		})
	}
}

// trial is one law and its subject.
type trial struct {
	*testing.T
	Subject
}

const (
	secretTitle = "zebra-title"
	secretBody  = "zebra-body"
)

func page() push.Message {
	return push.Message{
		Kind: push.KindPage, DeliveryID: uuid.NewString(), IncidentID: "inc1", IncidentNumber: 7, Revision: 1, Severity: "critical",
		Title: secretTitle, Body: secretBody, OpenPages: 1, CollapseID: "inc-1", ThreadID: "checkout", Sound: push.SoundNormal,
		At: time.Now(), Deadline: time.Now().Add(2 * time.Minute), HighUrgency: true, ReceiptPath: "/v1/push/receipts",
	}
}

func (t *trial) attempt(ctx context.Context, m push.Message, d push.Device, form push.Form) push.Outcome {
	t.Helper()
	began := time.Now()
	o := t.Provider.Send(ctx, push.Attempt{Message: &m, Device: &d, Form: form, Number: 1})
	if took := time.Since(began); took > patience {
		t.Errorf("an attempt took %v", took)
	}
	if o.Class == 0 {
		t.Errorf("an outcome without a class: %+v", o)
	}
	return o
}

// send makes an attempt with the time that a sender gives it.
func (t *trial) send(m push.Message) push.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), push.DefaultAttemptTimeout)
	defer cancel()
	return t.attempt(ctx, m, t.Device, push.FormFull)
}

func (t *trial) address() string { return string(t.Device.Token) }

func everyKind(t *trial) {
	kinds := []push.Kind{push.KindPage, push.KindTest, push.KindClear, push.KindInfo}
	if !t.NoHeartbeat {
		kinds = append(kinds, push.KindHeartbeat)
	}
	for _, kind := range kinds {
		for _, form := range []push.Form{push.FormFull, push.FormShrunk, push.FormMinimal} {
			m := page()
			m.Kind = kind
			ctx, cancel := context.WithTimeout(t.Context(), push.DefaultAttemptTimeout)
			o := t.attempt(ctx, m, t.Device, form)
			cancel()
			if o.Class != push.Accepted || o.Status < 200 || o.Status > 299 || o.Bytes == 0 || o.Elapsed <= 0 || o.Via == "" {
				t.Errorf("%v in form %d: %+v, want it accepted, with status, size, duration and connection", kind, form, o)
			}
		}
	}
	if t.NoHeartbeat {
		m := page()
		m.Kind = push.KindHeartbeat
		before := t.Service.Count()
		if o := t.send(m); o.Class == push.Accepted || !o.Local || t.Service.Count() != before {
			t.Errorf("a heartbeat: %+v, want it refused here", o)
		}
	}
}

// troubles are the statuses that services and what stands in between answer with.
func troubles() []pushtest.Answer {
	var all []pushtest.Answer
	for _, status := range []int{400, 401, 403, 404, 405, 408, 410, 413, 418, 429, 500, 502, 503, 504} {
		all = append(all, pushtest.Page(status), pushtest.Answer{Status: status, Body: []byte{}}, pushtest.Answer{Status: status, Body: []byte(`{"reason":7,"error":[]}`)})
	}
	return all
}

func oneRequest(t *trial) {
	for _, a := range troubles() {
		before := t.Service.Count()
		t.Service.Script(t.address(), a)
		o := t.send(page())
		if n := t.Service.Count() - before; n != 1 {
			t.Errorf("an answer %d was met with %d requests, want 1", a.Status, n)
		}
		if o.Class == push.Accepted || o.Status != a.Status {
			t.Errorf("an answer %d %q: %+v, want its status and no success", a.Status, a.Body, o)
		}
	}
}

func troubleKeepsAddresses(t *trial) {
	for _, a := range troubles() {
		if a.Status != http.StatusTooManyRequests && a.Status < 500 {
			continue
		}
		t.Service.Script(t.address(), a)
		if o := t.send(page()); o.Class == push.DropAddress || o.Class == push.Park {
			t.Errorf("an answer %d: %v, want the address kept", a.Status, o.Class)
		}
	}
}

func deadAddress(t *trial) {
	t.Service.Script(t.address(), t.Dead)
	if o := t.send(page()); o.Class != push.DropAddress {
		t.Errorf("%+v, want the address dropped", o)
	}
}

func silence(t *trial) {
	t.warm()
	t.Service.Script(t.address(), pushtest.Break(pushtest.Silence))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	o := t.attempt(ctx, page(), t.Device, push.FormFull)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v to give up after 0.3 s", took)
	}
	if o.Class != push.RetryNow && o.Class != push.RetryLater || !o.Unknown {
		t.Errorf("%+v, want another try, and that nobody knows what became of this one", o)
	}
}

func cut(t *trial) {
	t.warm()
	before := t.Service.Count()
	t.Service.Script(t.address(), pushtest.Break(pushtest.CloseConnection))
	o := t.send(page())
	if o.Class != push.RetryNow && o.Class != push.RetryLater || !o.Unknown {
		t.Errorf("%+v, want another try, and that nobody knows what became of this one", o)
	}
	if n := t.Service.Count() - before; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	t.recovers()
}

func lateContext(t *trial) {
	t.warm()
	before := t.Service.Count()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := t.attempt(ctx, page(), t.Device, push.FormFull); o.Class == push.Accepted {
		t.Errorf("%+v, want none accepted", o)
	}
	if n := t.Service.Count() - before; n != 0 {
		t.Errorf("%d requests after the context had ended", n)
	}
	t.recovers()
}

func down(t *trial) {
	t.warm()
	t.Service.Down(true)
	for range 3 {
		if o := t.send(page()); o.Class != push.RetryNow && o.Class != push.RetryLater {
			t.Errorf("%+v, want another try", o)
		}
	}
	t.Service.Down(false)
	t.recovers()
}

// malformed addresses would change the request that they are put into, or come
// from an attacker who registered them.
func malformed(t *trial) {
	for _, token := range append([]push.Token{
		"", "x", "../../v1/other", "aa/../cd?x=1", push.Token(t.address() + "\r\nx: y"), push.Token(t.address() + " "),
		push.Token(strings.Repeat("a", 100_000)), "https://169.254.169.254/latest", "\x00", "ä",
	}, t.Foreign...) {
		before := t.Service.Count()
		d := t.Device
		d.Token = token
		ctx, cancel := context.WithTimeout(t.Context(), push.DefaultAttemptTimeout)
		o := t.attempt(ctx, page(), d, push.FormFull)
		cancel()
		if o.Class != push.Park || !o.Local || t.Service.Count() != before {
			t.Errorf("address %.40q: %+v with %d requests, want it parked and never used", string(token), o, t.Service.Count()-before)
		}
	}
}

func redirect(t *trial) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		before := t.Service.Count()
		t.Service.Script(t.address(), pushtest.Answer{
			Status: status, Header: map[string]string{"location": "https://127.0.0.1:1/"}, Body: []byte{},
		})
		o := t.send(page())
		if o.Status != status || o.Class == push.Accepted || o.Class == push.DropAddress || t.Service.Count()-before != 1 {
			t.Errorf("a redirect %d: %+v with %d requests, want it refused", status, o, t.Service.Count()-before)
		}
	}
}

// tooLong has the simulator, which knows its service's limit, be the judge.
func tooLong(t *trial) {
	for _, unit := range []string{"x", "\"", "<", "ü", "🔥", "\u2028", "\xff"} {
		m := page()
		long := strings.Repeat(unit, 100_000/len(unit))
		m.Title, m.Subtitle, m.Body, m.Details = long, long, long, map[string]string{"a": long, "b": "c"}
		m.Sealed, m.SealedKeyID = strings.Repeat("A", 100_000), "k1"
		if o := t.send(m); o.Class != push.Accepted || o.Shrunk == "" {
			t.Errorf("100 KB of %q: %+v, want it shrunk and accepted", unit, o)
		}
	}
}

func retryAfter(t *trial) {
	if t.NoRetryAfter {
		return
	}
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "0": 0, "-5": 0, "soon": 0} {
		t.Service.Script(t.address(), pushtest.WithRetryAfter(header, pushtest.Answer{Status: http.StatusServiceUnavailable, Body: []byte{}}))
		if o := t.send(page()); o.Class != push.RetryLater || o.RetryAfter != want {
			t.Errorf("Retry-After %q: %+v, want to wait %v", header, o, want)
		}
	}
}

func crowd(t *trial) {
	t.warm()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			m := page()
			m.CollapseID = fmt.Sprint("inc-", i)
			if o := t.send(m); o.Class != push.Accepted {
				t.Errorf("one of a hundred at the same time: %+v", o)
			}
		})
	}
	wg.Wait()
	if r, ok := t.Provider.(push.Reporter); ok {
		if st := r.Stats(); st.InFlight != 0 || st.Connections["open"] == 0 {
			t.Errorf("afterwards it says %+v, want nothing in flight and an open connection", st)
		}
	}
}

func noSecret(t *trial) {
	for _, a := range append(troubles(), pushtest.Break(pushtest.ResetStream)) {
		t.Service.Script(t.address(), a)
		said := fmt.Sprintf("%+v", t.send(page()))
		for _, secret := range []string{t.address(), secretTitle, secretBody} {
			if strings.Contains(said, secret) {
				t.Errorf("the outcome of %d holds %.12q…", a.Status, secret)
			}
		}
	}
}

func closing(t *trial) {
	t.warm()
	before := t.Service.Count()
	for range 2 {
		if err := t.Provider.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if o := t.send(page()); o.Class == push.Accepted || t.Service.Count() != before {
		t.Errorf("after Close: %+v", o)
	}
}

// warm sends one page, so that a law is about a provider at work.
func (t *trial) warm() {
	t.Helper()
	if o := t.send(page()); o.Class != push.Accepted {
		t.Fatalf("the first page: %+v", o)
	}
}

// recovers waits until a page is accepted again: a new connection may have to
// be made, and after a failure not at once.
func (t *trial) recovers() {
	t.Helper()
	var o push.Outcome
	for until := time.Now().Add(patience); time.Now().Before(until); {
		if o = t.send(page()); o.Class == push.Accepted {
			return
		}
		select { // a provider that cannot connect says so at once
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	t.Errorf("it does not come back: %+v", o)
}
