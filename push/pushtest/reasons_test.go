package pushtest_test

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// bench is an APNs simulator with one key, one token, and a clock to move.
type bench struct {
	t      *testing.T
	apple  *pushtest.APNs
	key    []byte
	token  string
	header map[string]string
	mu     sync.Mutex
	now    time.Time
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) forward(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func newBench(t *testing.T, o pushtest.APNsOptions) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Unix(1_800_000_600, 0)}
	o.Now = b.clock
	b.apple = newAPNs(t, o)
	b.key = b.apple.NewKey("TEAM000001", "KEY0000001")
	b.token = b.apple.Register(nil, bundle)
	b.header = map[string]string{"authorization": b.bearer("KEY0000001"), "apns-topic": bundle, "apns-push-type": "alert", "apns-priority": "10"}
	return b
}

func (b *bench) bearer(keyID string) string {
	return bearer(b.t, b.key, "TEAM000001", keyID, b.clock())
}

// send posts with some headers changed; "" takes one away.
func (b *bench) send(c *http.Client, changes map[string]string, body string) answer {
	return b.sendTo(c, b.token, changes, body)
}

func (b *bench) sendTo(c *http.Client, token string, changes map[string]string, body string) answer {
	b.t.Helper()
	header := maps.Clone(b.header)
	for k, v := range changes {
		if header[k] = v; v == "" {
			delete(header, k)
		}
	}
	return post(b.t, c, b.apple.URL()+"/3/device/"+token, header, body)
}

func (b *bench) client() *http.Client { return client(b.t, b.apple.CA()) }

// certified is a client with a certificate instead of provider tokens.
func (b *bench) certified(pair []byte) *http.Client {
	b.t.Helper()
	cert, err := tls.X509KeyPair(pair, pair)
	if err != nil {
		b.t.Fatal(err)
	}
	c := b.client()
	c.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{cert}
	return c
}

const small = `{"aps":{"alert":"x"}}`

// provocations bring each documented reason about without a script.
var provocations = map[string]struct {
	options pushtest.APNsOptions
	do      func(*bench) answer
}{
	"BadCollapseId":     {do: changed("apns-collapse-id", strings.Repeat("é", 33))},
	"BadDeviceToken":    {do: func(b *bench) answer { return b.sendTo(b.client(), strings.Repeat("ab", 32), nil, small) }},
	"BadExpirationDate": {do: changed("apns-expiration", "tomorrow")},
	"BadMessageId":      {do: changed("apns-id", "1")},
	"BadPriority":       {do: func(b *bench) answer { return b.send(b.client(), nil, `{"aps":{"content-available":1}}`) }},
	"BadTopic":          {do: changed("apns-topic", "com.example/oncall")},
	"DeviceTokenNotForTopic": {do: func(b *bench) answer {
		return b.sendTo(b.client(), b.apple.Register(nil, "com.example.other"), nil, small)
	}},
	"DuplicateHeaders": {do: func(b *bench) answer {
		r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.apple.URL()+"/3/device/"+b.token, strings.NewReader(small))
		if err != nil {
			b.t.Fatal(err)
		}
		r.Header = http.Header{"Apns-Topic": {bundle, bundle}}
		return read(b.t, b.client(), r)
	}},
	"IdleTimeout": {pushtest.APNsOptions{IdleAfter: time.Minute}, func(b *bench) answer {
		c := b.client()
		b.accepted(b.send(c, nil, small))
		b.forward(2 * time.Minute)
		return b.send(c, nil, small)
	}},
	"InvalidPushType":    {do: changed("apns-push-type", "page")},
	"MissingDeviceToken": {do: func(b *bench) answer { return b.sendTo(b.client(), "", nil, small) }},
	"MissingTopic":       {do: changed("apns-topic", "")},
	"PayloadEmpty":       {do: func(b *bench) answer { return b.send(b.client(), nil, "") }},
	"TopicDisallowed": {do: func(b *bench) answer {
		b.apple.AllowTopic("TEAM000002", bundle)
		return b.send(b.client(), nil, small)
	}},
	"BadCertificate": {do: func(b *bench) answer {
		pair, err := newAPNs(b.t, pushtest.APNsOptions{}).NewCertificate(bundle, pushtest.Production)
		if err != nil {
			b.t.Fatal(err)
		}
		return b.send(b.certified(pair), map[string]string{"authorization": ""}, small)
	}},
	"BadCertificateEnvironment": {do: func(b *bench) answer {
		pair, err := b.apple.NewCertificate(bundle, pushtest.Sandbox)
		if err != nil {
			b.t.Fatal(err)
		}
		return b.send(b.certified(pair), map[string]string{"authorization": ""}, small)
	}},
	"BadEnvironmentKeyIdInToken": {pushtest.APNsOptions{Sandbox: true}, func(b *bench) answer {
		b.apple.RestrictKey("KEY0000001", pushtest.Production)
		return b.send(b.client(), nil, small)
	}},
	"ExpiredProviderToken": {do: func(b *bench) answer {
		b.forward(61 * time.Minute)
		return b.send(b.client(), nil, small)
	}},
	"Forbidden": {do: func(b *bench) answer {
		b.apple.BlockTeam("TEAM000001", true)
		return b.send(b.client(), nil, small)
	}},
	"InvalidProviderToken": {do: changed("authorization", "bearer e30.e30.AA")},
	"MissingProviderToken": {do: changed("authorization", "")},
	"UnrelatedKeyIdInToken": {do: func(b *bench) answer {
		c := b.client()
		b.accepted(b.send(c, nil, small))
		second := bearer(b.t, b.apple.NewKey("TEAM000001", "KEY0000002"), "TEAM000001", "KEY0000002", b.clock())
		return b.send(c, map[string]string{"authorization": second}, small)
	}},
	"BadPath": {do: func(b *bench) answer {
		return post(b.t, b.client(), b.apple.URL()+"/4/device/"+b.token, b.header, small)
	}},
	"MethodNotAllowed": {do: func(b *bench) answer {
		r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPut, b.apple.URL()+"/3/device/"+b.token, strings.NewReader(small))
		if err != nil {
			b.t.Fatal(err)
		}
		return read(b.t, b.client(), r)
	}},
	"ExpiredToken": {do: func(b *bench) answer {
		b.apple.Expire(b.token)
		return b.send(b.client(), nil, small)
	}},
	"Unregistered": {do: func(b *bench) answer {
		b.apple.Unregister(b.token, b.clock())
		return b.send(b.client(), nil, small)
	}},
	"PayloadTooLarge": {do: func(b *bench) answer {
		return b.send(b.client(), nil, `{"aps":"`+strings.Repeat("x", 4096)+`"}`)
	}},
	"TooManyProviderTokenUpdates": {do: func(b *bench) answer { // two keys of one team count together
		b.accepted(b.send(b.client(), nil, small))
		b.forward(19 * time.Minute)
		second := bearer(b.t, b.apple.NewKey("TEAM000001", "KEY0000002"), "TEAM000001", "KEY0000002", b.clock())
		return b.send(b.client(), map[string]string{"authorization": second}, small)
	}},
	"TooManyRequests": {pushtest.APNsOptions{DevicePerSecond: 2}, func(b *bench) answer {
		c := b.client()
		b.accepted(b.send(c, nil, small))
		b.accepted(b.send(c, nil, small))
		return b.send(c, nil, small)
	}},
	"InternalServerError": {do: weather(pushtest.Weather{Internal: 1})},
	"ServiceUnavailable":  {do: weather(pushtest.Weather{Unavailable: 1})},
	"Shutdown": {do: func(b *bench) answer {
		c := b.client()
		b.accepted(b.send(c, nil, small))
		b.apple.Script(b.token, pushtest.After(50*time.Millisecond, pushtest.Accept()))
		got := make(chan answer, 1)
		go func() { got <- b.send(c, nil, small) }()
		for b.apple.InFlight() == 0 {
			runtime.Gosched()
		}
		b.apple.ShutDown()
		return <-got
	}},
}

func (b *bench) accepted(a answer) {
	b.t.Helper()
	if a.status != http.StatusOK {
		b.t.Fatalf("not accepted: %d %s", a.status, a.reason)
	}
}

func changed(name, value string) func(*bench) answer {
	return func(b *bench) answer { return b.send(b.client(), map[string]string{name: value}, small) }
}

func weather(w pushtest.Weather) func(*bench) answer {
	return func(b *bench) answer {
		if err := b.apple.SetWeather(w); err != nil {
			b.t.Fatal(err)
		}
		return b.send(b.client(), nil, small)
	}
}

func read(t *testing.T, c *http.Client, r *http.Request) answer {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, res)
}

// TestEveryReasonOfAPNs: each reason that Apple documents comes by a rule, and
// by a script.
func TestEveryReasonOfAPNs(t *testing.T) {
	for _, want := range pushtest.APNsReasons() {
		name := fmt.Sprint(want.Status, " ", want.Reason)
		if p, ok := provocations[want.Reason]; ok {
			t.Run(name+" by rule", func(t *testing.T) {
				t.Parallel()
				got := p.do(newBench(t, p.options))
				if got.status != want.Status || got.reason != want.Reason {
					t.Errorf("%d %s, want %d %s", got.status, got.reason, want.Status, want.Reason)
				}
			})
		} else if want.Rule != "" {
			t.Errorf("%s: %q is said to bring it about, and nothing tries", name, want.Rule)
		}
		t.Run(name+" by script", func(t *testing.T) {
			t.Parallel()
			b := newBench(t, pushtest.APNsOptions{})
			b.apple.Script(b.token, pushtest.Reject(want.Status, want.Reason))
			c := b.client()
			if got := b.send(c, nil, small); got.status != want.Status || got.reason != want.Reason {
				t.Errorf("%d %s, want %d %s", got.status, got.reason, want.Status, want.Reason)
			}
			b.accepted(b.send(c, nil, small))
		})
	}
}
