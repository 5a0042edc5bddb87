package pushtest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// backend is what an agent needs of a tocsin server.
type backend struct {
	*httptest.Server
	mu     sync.Mutex
	fail   int // calls that are answered 503 first
	calls  []call
	called chan struct{}
}

type call struct {
	path, auth string
	body       map[string]any
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{called: make(chan struct{}, 100)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		c := call{path: r.URL.Path, auth: r.Header.Get("Authorization")}
		_ = json.Unmarshal(text, &c.body)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.calls = append(b.calls, c)
		if b.fail > 0 {
			b.fail--
			http.Error(w, `{"message":"Redis is out"}`, http.StatusServiceUnavailable)
			return
		}
		b.called <- struct{}{}
		_, _ = w.Write([]byte(`{"outcome":"OUTCOME_DONE","state":"STATE_ACKNOWLEDGED","number":"7","holder":"Ann","holderIsCaller":true,"changed":true}`))
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) all() []call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]call(nil), b.calls...)
}

func newAgent(t *testing.T, o pushtest.AgentOptions) *pushtest.Agent {
	t.Helper()
	o.RetryEvery = time.Millisecond
	a, err := pushtest.NewAgent(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// TestReceipts: what each kind of phone has to say about what came.
func TestReceipts(t *testing.T) {
	a := newAgent(t, pushtest.AgentOptions{})
	page := pushtest.Notification{DeliveryID: "d", Kind: "page", ReceiptPath: "/r", Visible: true, Sound: "page.caf", HighPrio: true}
	on := func(platform string, change func(*pushtest.Notification)) pushtest.Notification {
		n := page
		n.Platform = platform
		if change != nil {
			change(&n)
		}
		return n
	}
	for name, tc := range map[string]struct {
		n    pushtest.Notification
		want string
	}{
		"ios":              {on("ios", nil), "RECEIVED"},
		"android":          {on("android", nil), "RECEIVED high/high, DISPLAYED AUDIBLE_YES high/high"},
		"web":              {on("web", nil), "RECEIVED, DISPLAYED"},
		"heartbeat":        {on("ios", func(n *pushtest.Notification) { n.ReceiptPath = "" }), ""},
		"not run":          {on("ios", func(n *pushtest.Notification) { n.Asleep = true }), ""},
		"stale":            {on("ios", func(n *pushtest.Notification) { n.Stale = true }), "RECEIVED, SUPPRESSED stale"},
		"missed":           {on("web", func(n *pushtest.Notification) { n.Missed = true }), "RECEIVED, SUPPRESSED expired"},
		"permission":       {on("android", func(n *pushtest.Notification) { n.Visible, n.Suppressed = false, "permission" }), "RECEIVED high/high, SUPPRESSED permission high/high"},
		"do not disturb":   {on("android", func(n *pushtest.Notification) { n.Quiet = "dnd" }), "RECEIVED high/high, DISPLAYED dnd AUDIBLE_NO high/high"},
		"lowered":          {on("android", func(n *pushtest.Notification) { n.Lowered = true }), "RECEIVED normal/high, DISPLAYED AUDIBLE_YES normal/high"},
		"cannot decrypt":   {on("ios", func(n *pushtest.Notification) { n.Unopened = "decrypt" }), "RECEIVED decrypt"},
		"not yet unlocked": {on("ios", func(n *pushtest.Notification) { n.Unopened = "locked" }), "RECEIVED locked"},
	} {
		var all []string
		for _, r := range a.Receipts(tc.n) {
			words := []string{strings.TrimPrefix(r.State, "STATE_")}
			for _, w := range []string{r.Reason, r.Audible} {
				if w != "" {
					words = append(words, w)
				}
			}
			if r.Prio != "" {
				words = append(words, r.Prio+"/"+r.OrigPrio)
			}
			all = append(all, strings.Join(words, " "))
		}
		if diff := cmp.Diff(tc.want, strings.Join(all, ", ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestPhoneReportsAndActs: a page arrives, its receipt is repeated until it is
// taken, and a tap goes out.
func TestPhoneReportsAndActs(t *testing.T) {
	b := newBackend(t)
	b.fail = 2
	agent := newAgent(t, pushtest.AgentOptions{BaseURL: b.URL + "/", Credential: "tcd_x", AppVersion: "1.0"})
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "iPhone", Agent: agent})
	token := p.apple.Register(phone, bundle)
	if _, err := phone.Act(t.Context(), pushtest.Acknowledge); err == nil {
		t.Error("a tap without a page was taken")
	}
	p.ios(token, "1", 1, ordinary)
	<-b.called
	calls := b.all()
	if len(calls) != 3 || calls[2].path != "/v1/push/receipts" || calls[2].auth != "Bearer tcd_x" {
		t.Fatalf("calls: %+v", calls)
	}
	receipt := calls[2].body["receipts"].([]any)[0].(map[string]any)
	if receipt["deliveryId"] != "d1" || receipt["state"] != "STATE_RECEIVED" || receipt["net"] != "wifi" || receipt["appVersion"] != "1.0" {
		t.Errorf("receipt: %v", receipt)
	}
	done, err := phone.Act(t.Context(), pushtest.Acknowledge)
	if err != nil || done.Number != 7 || done.Holder != "Ann" || !done.Changed {
		t.Errorf("%+v, %v", done, err)
	}
	if last := b.all()[3]; last.path != "/v1/push/actions" || last.body["verb"] != "VERB_ACKNOWLEDGE" || last.body["unlockSignature"] != nil {
		t.Errorf("tap: %+v", last)
	}
}

// TestUnlockedTapIsSigned: everything but acknowledge is signed by the key that
// the device registers.
func TestUnlockedTapIsSigned(t *testing.T) {
	b := newBackend(t)
	a := newAgent(t, pushtest.AgentOptions{BaseURL: b.URL, Credential: "c"})
	point, err := a.UnlockKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Act(t.Context(), pushtest.Notification{DeliveryID: "d"}, pushtest.Resolve); err != nil {
		t.Fatal(err)
	}
	var body struct {
		ActionID  string
		Signature []byte `json:"unlockSignature"`
	}
	text, _ := json.Marshal(b.all()[0].body)
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256([]byte(body.ActionID)); !ecdsa.VerifyASN1(public, sum[:], body.Signature) {
		t.Error("the signature is not of the action id")
	}
}

// TestAgentWithoutCredential: before the first unlock there are only the keys
// in the page.
func TestAgentWithoutCredential(t *testing.T) {
	b := newBackend(t)
	a := newAgent(t, pushtest.AgentOptions{BaseURL: b.URL})
	n := pushtest.Notification{DeliveryID: "d", Platform: "ios", ReceiptPath: "/r", ReceiptKey: "rk", ActionToken: "at"}
	a.Report(n)
	<-b.called
	if _, err := a.Act(t.Context(), n, pushtest.Acknowledge); err != nil {
		t.Fatal(err)
	}
	calls := b.all()
	if calls[0].auth != "" || calls[0].body["receiptKey"] != "rk" || calls[1].body["actionToken"] != "at" {
		t.Errorf("calls: %+v", calls)
	}
}

func TestOwnerAcknowledgesByHimself(t *testing.T) {
	b := newBackend(t)
	a := newAgent(t, pushtest.AgentOptions{BaseURL: b.URL, Credential: "c", AcknowledgeAfter: time.Millisecond})
	a.Report(pushtest.Notification{DeliveryID: "d", Kind: "page", Platform: "ios", Visible: true, Sound: "x"})
	<-b.called
	if c := b.all()[0]; c.path != "/v1/push/actions" {
		t.Errorf("called %s", c.path)
	}
}

// TestRefusedTapSaysWhy: an answer for good is not repeated.
func TestRefusedTapSaysWhy(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"the action token is not valid any more"}`, http.StatusUnauthorized)
	}))
	t.Cleanup(s.Close)
	a := newAgent(t, pushtest.AgentOptions{BaseURL: s.URL})
	_, err := a.Act(t.Context(), pushtest.Notification{DeliveryID: "d"}, pushtest.Acknowledge)
	if err == nil || !strings.Contains(err.Error(), "acknowledge: HTTP 401: the action token is not valid any more") {
		t.Errorf("%v", err)
	}
}
