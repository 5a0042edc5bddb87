package pushtest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// pocket is phones and the two services that reach them.
type pocket struct {
	t      *testing.T
	apple  *pushtest.APNs
	google *pushtest.FCM
	serial int
}

func newPocket(t *testing.T) *pocket {
	t.Helper()
	f, err := pushtest.NewFCM(pushtest.FCMOptions{AnyBearer: true, ServiceAccount: account()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return &pocket{t: t, apple: newAPNs(t, pushtest.APNsOptions{AnyBearer: true}), google: f}
}

func (p *pocket) phone(o pushtest.PhoneOptions) *pushtest.Phone {
	phone := pushtest.NewPhone(o)
	p.t.Cleanup(phone.Close)
	return phone
}

// ios sends a page whose extension may run.
func (p *pocket) ios(token, incident string, revision int, sound string) answer {
	p.t.Helper()
	p.serial++
	body := fmt.Sprintf(`{"aps":{"alert":{"title":"T"},"sound":%s,"mutable-content":1,"interruption-level":"time-sensitive"},"t":{"k":"page","d":"d%d","i":%q,"r":%d,"x":4000000000,"u":"/r"}}`,
		sound, p.serial, incident, revision)
	return post(p.t, client(p.t, p.apple.CA()), p.apple.URL()+"/3/device/"+token, map[string]string{
		"apns-topic": bundle, "apns-push-type": "alert", "apns-expiration": "4000000000", "apns-collapse-id": "inc-" + incident,
	}, body)
}

// android sends a data message.
func (p *pocket) android(token, priority, kind, sound string) answer {
	p.t.Helper()
	p.serial++
	body := fmt.Sprintf(`{"message":{"token":%q,"data":{"k":%q,"d":"d%d","x":"4000000000","sound":%q,"u":"/r"},"android":{"priority":%q,"ttl":"100s"}}}`,
		token, kind, p.serial, sound, priority)
	return post(p.t, client(p.t, p.google.CA()), p.google.URL()+"/v1/projects/"+p.google.Project()+"/messages:send", nil, body)
}

const (
	ordinary     = `"page.caf"`
	criticalIOS  = `{"critical":1,"name":"page.caf","volume":1}`
	appOfAndroid = "com.example.oncall.android"
)

// TestWhatIsHeard: which sounds come through what the owner has set.
func TestWhatIsHeard(t *testing.T) {
	p := newPocket(t)
	iphone, pixel := p.phone(pushtest.PhoneOptions{Name: "iPhone"}), p.phone(pushtest.PhoneOptions{Name: "Android"})
	apple, google := p.apple.Register(iphone, bundle), p.google.Register(pixel, appOfAndroid)
	for _, tc := range []struct {
		name     string
		is       pushtest.Behaviour
		ordinary string // "" is heard, else the reason: on both
		critical string
	}{
		{"nothing set", pushtest.Behaviour{}, "", ""},
		{"do not disturb", pushtest.Behaviour{DoNotDisturb: true}, "dnd", ""},
		{"silent switch", pushtest.Behaviour{SilentSwitch: true}, "silent", ""},
		{"critical not allowed", pushtest.Behaviour{DoNotDisturb: true, NoCritical: true}, "dnd", "dnd"},
		{"permission off", pushtest.Behaviour{NoPermission: true}, "permission", "permission"},
	} {
		set := func(b *pushtest.Behaviour) { *b = tc.is }
		iphone.Behave(set)
		pixel.Behave(set)
		check := func(sound string, n pushtest.Notification, want string) {
			t.Helper()
			why := n.Quiet
			if n.Suppressed != "" {
				why = n.Suppressed
			}
			if n.Audible() != (want == "") || why != want {
				t.Errorf("%s, %s on %s: audible %v because of %q, want %q", tc.name, sound, n.Platform, n.Audible(), why, want)
			}
		}
		p.ios(apple, tc.name, 1, ordinary)
		check("ordinary", last(iphone), tc.ordinary)
		p.ios(apple, tc.name, 2, criticalIOS)
		check("critical", last(iphone), tc.critical)
		p.android(google, "high", "page", "normal")
		check("ordinary", last(pixel), tc.ordinary)
		p.android(google, "high", "page", "critical")
		check("critical", last(pixel), tc.critical)
	}
	iphone.Behave(func(b *pushtest.Behaviour) { *b = pushtest.Behaviour{DoNotDisturb: true, TimeSensitive: true} })
	p.ios(apple, "focus", 1, ordinary)
	if !last(iphone).Audible() {
		t.Error("a time-sensitive page is not heard through a Focus that lets it pass")
	}
	pixel.Behave(func(b *pushtest.Behaviour) { *b = pushtest.Behaviour{NoChannel: true} })
	p.android(google, "high", "page", "normal")
	if n := last(pixel); n.Suppressed != "channel" || n.Visible {
		t.Errorf("with its channel off: %+v", n)
	}
}

func last(p *pushtest.Phone) pushtest.Notification {
	got := p.Got()
	return got[len(got)-1]
}

// TestAppThatIsNotRun: iOS shows the text in the clear and the app says nothing.
func TestAppThatIsNotRun(t *testing.T) {
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "iPhone"})
	token := p.apple.Register(phone, bundle)
	send := func(key string) pushtest.Notification {
		p.serial++
		body := fmt.Sprintf(`{"aps":{"alert":{"title":"one incident"},"mutable-content":1},"t":{"k":"page","d":"s%d","e":"AAAA","ek":%q,"u":"/r"}}`, p.serial, key)
		post(t, client(t, p.apple.CA()), p.apple.URL()+"/3/device/"+token, map[string]string{"apns-topic": bundle, "apns-push-type": "alert"}, body)
		return last(phone)
	}
	if n := send("k2"); n.Title != "one incident" || n.Unopened != "decrypt" || n.Asleep {
		t.Errorf("without the key: %q unopened %q", n.Title, n.Unopened)
	}
	phone.Behave(func(b *pushtest.Behaviour) { b.Locked = true })
	if n := send("k1"); n.Title != "one incident" || n.Unopened != "locked" {
		t.Errorf("before the first unlock: %q unopened %q", n.Title, n.Unopened)
	}
	phone.Behave(func(b *pushtest.Behaviour) { *b = pushtest.Behaviour{NoExtension: true} })
	if n := send("k1"); n.Title != "one incident" || !n.Asleep || !n.Visible || n.Unopened != "" {
		t.Errorf("without its extension: %q asleep %v visible %v", n.Title, n.Asleep, n.Visible)
	}
}

// TestHedgedPageArrivesAfterTheClear: a page sent twice reaches the phone after
// the news that somebody has dealt with it, and stays quiet.
func TestHedgedPageArrivesAfterTheClear(t *testing.T) {
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "iPhone"})
	token := p.apple.Register(phone, bundle)
	p.apple.Script(token, pushtest.Overtaken(), pushtest.Accept())
	if got := p.ios(token, "1", 1, ordinary); got.status != 200 {
		t.Fatalf("%d", got.status)
	}
	p.ios(token, "1", 2, `null`)
	if n := phone.LetThrough(); n != 1 {
		t.Fatalf("%d were on their way, want 1", n)
	}
	got := phone.Got()
	if len(got) != 2 || got[0].Revision != 2 || !got[1].Stale || got[1].Audible() {
		t.Errorf("%+v, want the page second, stale and quiet", got)
	}
}

func TestLateDelivery(t *testing.T) {
	p := newPocket(t)
	arrived := make(chan pushtest.Notification, 1)
	phone := p.phone(pushtest.PhoneOptions{Name: "iPhone", OnPush: func(n pushtest.Notification) { arrived <- n }})
	token := p.apple.Register(phone, bundle)
	p.apple.Script(token, pushtest.Answer{Late: 20 * time.Millisecond})
	p.ios(token, "1", 1, ordinary)
	if n := <-arrived; n.At.Sub(p.apple.Requests()[0].At) < 20*time.Millisecond {
		t.Error("it came at once")
	}
}

func TestHeldBackComesInReverse(t *testing.T) {
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "Android", Behaviour: pushtest.Behaviour{Hold: true}})
	token := p.google.Register(phone, appOfAndroid)
	for range 3 {
		p.android(token, "high", "page", "normal")
	}
	phone.LetThrough()
	var ids []string
	for _, n := range phone.Got() {
		ids = append(ids, n.DeliveryID)
	}
	if got := strings.Join(ids, " "); got != "d3 d2 d1" {
		t.Errorf("came as %s", got)
	}
}

// TestUninstalledAppsAreAcceptedForAWhile: 200 says nothing about the phone.
func TestUninstalledAppsAreAcceptedForAWhile(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true, Now: func() time.Time { return now }})
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "iPhone"})
	t.Cleanup(phone.Close)
	token := a.Register(phone, bundle)
	if dead := phone.Uninstall(bundle, time.Hour); len(dead) != 1 || dead[0] != token {
		t.Fatalf("dead: %v", dead)
	}
	send := func() answer {
		return post(t, client(t, a.CA()), a.URL()+"/3/device/"+token, map[string]string{"apns-topic": bundle}, small)
	}
	if got := send(); got.status != 200 || len(phone.Got()) != 0 {
		t.Errorf("%d and %d arrived, want 200 and nothing", got.status, len(phone.Got()))
	}
	now = now.Add(2 * time.Hour)
	if got := send(); got.status != 410 || got.reason != "Unregistered" {
		t.Errorf("%d %s, want 410 Unregistered", got.status, got.reason)
	}
}

func TestTokenRotates(t *testing.T) {
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "both"})
	apple, google := p.apple.Register(phone, bundle), p.google.Register(phone, appOfAndroid)
	changed := phone.RotateToken("")
	if len(changed) != 2 || changed[apple] == "" || changed[google] == "" {
		t.Fatalf("changed: %v", changed)
	}
	if got := p.ios(apple, "1", 1, ordinary); got.status != 410 {
		t.Errorf("the old token: %d, want 410", got.status)
	}
	if got := p.android(google, "high", "page", "normal"); got.status != 404 {
		t.Errorf("the old token: %d, want 404", got.status)
	}
	p.ios(changed[apple], "1", 1, ordinary)
	p.android(changed[google], "high", "page", "normal")
	if n := len(phone.Got()); n != 2 {
		t.Errorf("%d arrived under the new tokens, want 2", n)
	}
	if tokens := phone.Tokens(bundle); !slices.Equal(tokens, []string{changed[apple]}) {
		t.Errorf("the phone says %v", tokens)
	}
}

// TestLoweredPriority: Google lowers an app that wakes the phone for nothing,
// and the app sees it.
func TestLoweredPriority(t *testing.T) {
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "Android", Behaviour: pushtest.Behaviour{SilentHigh: 2}})
	token := p.google.Register(phone, appOfAndroid)
	for range 3 {
		p.android(token, "high", "heartbeat", "")
	}
	phone.Doze(true)
	p.android(token, "high", "page", "normal")
	if last(phone).Kind == "page" {
		t.Fatal("a page of lowered priority woke the phone")
	}
	phone.Doze(false)
	n := last(phone)
	if n.Kind != "page" || !n.HighPrio || !n.Lowered {
		t.Errorf("%+v, want the page with its priority lowered", n)
	}
}

func TestStoppedAppGetsNothing(t *testing.T) {
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "Android", Behaviour: pushtest.Behaviour{Stopped: true}})
	token := p.google.Register(phone, appOfAndroid)
	if got := p.android(token, "high", "page", "normal"); got.status != 200 {
		t.Errorf("%d, want 200: Google does not say", got.status)
	}
	if len(phone.Got()) != 0 || len(phone.Lost()) != 1 || phone.Lost()[0].Lost != "stopped" {
		t.Errorf("got %d, lost %+v", len(phone.Got()), phone.Lost())
	}
}

func TestLostSaysWhy(t *testing.T) {
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "iPhone", Behaviour: pushtest.Behaviour{Offline: true}})
	token := p.apple.Register(phone, bundle)
	p.ios(token, "1", 1, ordinary)
	p.ios(token, "2", 1, ordinary)
	if lost := phone.Lost(); len(lost) != 1 || lost[0].IncidentID != "1" || lost[0].Lost != "evicted" {
		t.Errorf("%+v, want the first page evicted by the second", lost)
	}
}

func TestTabletHasNobody(t *testing.T) {
	p := newPocket(t)
	phone := p.phone(pushtest.PhoneOptions{Name: "Tablet", Tablet: true})
	token := p.apple.Register(phone, bundle)
	p.ios(token, "1", 1, ordinary)
	if n := last(phone); !n.Tablet {
		t.Error("the notification does not say that it is on a tablet")
	}
	if _, err := phone.Act(t.Context(), pushtest.Acknowledge); !errors.Is(err, pushtest.ErrNobody) {
		t.Errorf("%v, want that nobody is there", err)
	}
}
