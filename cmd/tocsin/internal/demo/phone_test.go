package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// call is a request of a phone.
type call struct {
	path, bearer string
	body         map[string]any
}

// backend answers phones as a server would, after as many failures as asked for.
type backend struct {
	*httptest.Server
	calls chan call
	mu    sync.Mutex
	fail  []int // statuses of the next answers; 0 cuts the connection
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{calls: make(chan call, 100)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		b.calls <- call{r.URL.Path, r.Header.Get("Authorization"), readJSON(t, text)}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.fail) > 0 {
			status := b.fail[0]
			b.fail = b.fail[1:]
			if status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": "not now"})
			return
		}
		answers := map[string]string{
			"/v1/devices:previewEnrolment": `{"user":"users/ann","userDisplayName":"Ann"}`,
			"/v1/devices:enrol":            `{"device":{"name":"devices/d1","user":"users/ann"},"credential":"secret","new":"field"}`,
			"/v1/push/actions":             `{"outcome":"OUTCOME_DONE","state":"STATE_ACKNOWLEDGED","holder":"Ann","holderIsCaller":true,"number":"1"}`,
		}
		if _, err := io.WriteString(w, answers[r.URL.Path]+map[bool]string{true: "{}"}[answers[r.URL.Path] == ""]); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) fails(statuses ...int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = statuses
}

func enrolled(t *testing.T, b *backend, platform tocsinv1.Device_Platform) *phone {
	t.Helper()
	p, err := newPhone(ann, "Ann's phone", platform, func(sighting) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	if err := p.enrol(t.Context(), b.URL+"/enrol#0123456789abcdef0123456789abcdef", "token"); err != nil {
		t.Fatal(err)
	}
	preview, enrol := <-b.calls, <-b.calls
	for _, c := range []call{preview, enrol} {
		if c.body["code"] != "0123456789abcdef0123456789abcdef" || c.bearer != "" {
			t.Errorf("%s: got %v with %q, want the code of the fragment and no credential", c.path, c.body, c.bearer)
		}
	}
	register := <-b.calls
	device, ok := register.body["device"].(map[string]any)
	if !ok || register.path != "/v1/devices:register" || register.bearer != "Bearer secret" {
		t.Fatalf("got %v with %q, want the registration with the credential", register.body, register.bearer)
	}
	if address, ok := device["address"].(map[string]any); !ok || address["value"] != "token" || device["unlockKey"] == nil || device["capabilities"] == nil {
		t.Errorf("got the device %v, want its address, its unlock key and what it can", device)
	}
	return p
}

func TestPhoneReportsWhatItsSystemCanProve(t *testing.T) {
	t.Parallel()
	page := pushtest.Notification{DeliveryID: "d", Kind: "page", ReceiptPath: "/v1/push/receipts", Visible: true, Sound: "page.caf"}
	quiet, stale, missed, clears := page, page, page, page
	quiet.Sound, stale.Stale, missed.Missed, clears.ReceiptPath = "", true, true, ""
	ios, android := tocsinv1.Device_PLATFORM_IOS, tocsinv1.Device_PLATFORM_ANDROID
	for name, c := range map[string]struct {
		platform tocsinv1.Device_Platform
		push     pushtest.Notification
		want     []string // state, then what it says about the sound or the reason
	}{
		"a page on an iPhone, which cannot prove that it was shown": {ios, page, []string{"STATE_RECEIVED", ""}},
		"a page on an Android phone":                                {android, page, []string{"STATE_RECEIVED", "", "STATE_DISPLAYED", "AUDIBLE_YES"}},
		"a page without sound":                                      {android, quiet, []string{"STATE_RECEIVED", "", "STATE_DISPLAYED", "AUDIBLE_NO"}},
		"a page that a newer one has overtaken":                     {ios, stale, []string{"STATE_RECEIVED", "", "STATE_SUPPRESSED", "stale"}},
		"a page that comes too late":                                {android, missed, []string{"STATE_RECEIVED", "", "STATE_SUPPRESSED", "expired"}},
		"a push that asks for no receipt":                           {ios, clears, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackend(t)
			p := enrolled(t, b, c.platform)
			c.push.At = time.Now()
			p.agent.Report(c.push)
			var got []string
			for len(got) < len(c.want) {
				r := <-b.calls
				if r.path != "/v1/push/receipts" || r.bearer != "Bearer secret" {
					t.Fatalf("got %s with %q, want the receipts with the credential", r.path, r.bearer)
				}
				for _, item := range r.body["receipts"].([]any) {
					m := item.(map[string]any)
					said := ""
					for _, key := range []string{"audible", "reason"} {
						if s, ok := m[key].(string); ok {
							said = s
						}
					}
					got = append(got, m["state"].(string), said)
				}
			}
			for i, w := range c.want {
				if got[i] != w {
					t.Errorf("got %v, want %v", got, c.want)
				}
			}
			if c.want == nil && len(p.agent.Receipts(c.push))+len(b.calls) > 0 {
				t.Error("it reported something")
			}
		})
	}
}

func TestPhoneKeepsReceiptsUntilTheyAreTaken(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	p := enrolled(t, b, tocsinv1.Device_PLATFORM_IOS)
	b.fails(0, http.StatusServiceUnavailable)
	p.agent.Report(pushtest.Notification{DeliveryID: "d1", ReceiptPath: "/r", At: time.Now()})
	for range 3 {
		if r := <-b.calls; r.body["receipts"].([]any)[0].(map[string]any)["deliveryId"] != "d1" {
			t.Errorf("got %v, want the receipt of d1 again", r.body)
		}
	}
	b.fails(http.StatusBadRequest) // refused for good: it is forgotten
	p.agent.Report(pushtest.Notification{DeliveryID: "d2", ReceiptPath: "/r", At: time.Now()})
	<-b.calls
	p.agent.Report(pushtest.Notification{DeliveryID: "d3", ReceiptPath: "/r", At: time.Now()})
	if r := <-b.calls; r.body["receipts"].([]any)[0].(map[string]any)["deliveryId"] != "d3" {
		t.Errorf("got %v, want the receipt of d3", r.body)
	}
}

// shows puts a page on the phone's screen, by way of a push service.
func shows(t *testing.T, p *phone) {
	t.Helper()
	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{AnyBearer: true})
	if err != nil {
		t.Fatal(err)
	}
	defer apple.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(apple.CA())
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	const delivery = "8f14e45f-ceea-467f-a1d2-000000000001"
	payload := `{"aps":{"alert":{"title":"Critical: Checkout"},"sound":"page.caf"},"t":{"v":1,"d":"` + delivery + `","k":"page","i":"i1","x":4102444800}}`
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, apple.URL()+"/3/device/"+apple.Register(p.sim, appID), strings.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"apns-topic": appID, "apns-push-type": "alert", "apns-priority": "10", "apns-id": delivery,
		"apns-expiration": strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10), "apns-collapse-id": "inc-i1", "authorization": "bearer x",
	} {
		r.Header.Set(name, value)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("the push: %d %s", answer.StatusCode, text)
	}
	if _, err := p.sim.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == delivery }); err != nil {
		t.Fatal(err)
	}
}

func TestTapIsRepeatedWithTheSameID(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	p := enrolled(t, b, tocsinv1.Device_PLATFORM_IOS)
	if _, err := p.act(t.Context(), pushtest.Acknowledge); err == nil {
		t.Error("a tap beside every card was sent")
	}
	shows(t, p)
	b.fails(0, http.StatusServiceUnavailable)
	answer, err := p.act(t.Context(), pushtest.Acknowledge)
	if err != nil || !answer.HolderIsCaller {
		t.Fatalf("got %v, %v, want that it is the caller's", answer, err)
	}
	first := <-b.calls
	for range 2 {
		if again := <-b.calls; again.body["actionId"] != first.body["actionId"] || again.body["deliveryId"] != first.body["deliveryId"] {
			t.Errorf("got %v, want the same action as %v", again.body, first.body)
		}
	}
	if _, signed := first.body["unlockSignature"]; signed {
		t.Error("an acknowledgement asked the person to unlock")
	}
}

func TestTapThatNeedsUnlockingIsSigned(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	p := enrolled(t, b, tocsinv1.Device_PLATFORM_ANDROID)
	shows(t, p)
	if _, err := p.act(t.Context(), pushtest.Resolve); err != nil {
		t.Fatal(err)
	}
	c := <-b.calls
	signature, err := base64.StdEncoding.DecodeString(c.body["unlockSignature"].(string))
	if err != nil {
		t.Fatal(err)
	}
	point, err := p.agent.UnlockKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(c.body["actionId"].(string)))
	if !ecdsa.VerifyASN1(public, sum[:], signature) {
		t.Error("the signature is not the unlock key's over the action id")
	}
	b.fails(http.StatusForbidden)
	if _, err := p.act(t.Context(), pushtest.Escalate); err == nil || p.saying() != "escalate failed, tap again" {
		t.Errorf("got %v and %q, want that the card says so", err, p.saying())
	}
}
