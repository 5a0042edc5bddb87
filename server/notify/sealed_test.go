package notify

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/seal"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// private sets the level of the installation.
func (d *fakeDirectory) private(level roster.Privacy) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings.Privacy = level
}

// sealing gives a device of ann's a key, and returns its private half.
func (r *rig) sealing(id roster.DeviceID) seal.PrivateKey {
	r.t.Helper()
	k, err := seal.NewPrivateKey()
	if err != nil {
		r.t.Fatal(err)
	}
	r.dir.mu.Lock()
	defer r.dir.mu.Unlock()
	for i, p := range r.dir.phones["ann"] {
		if p.ID == id {
			r.dir.phones["ann"][i].SealKey, r.dir.phones["ann"][i].SealKeyID = k.Public(), "key-of-"+string(id)
		}
	}
	return k
}

// opened is what the device would show of a sealed message.
func opened(t *testing.T, k seal.PrivateKey, m push.Message, device string) seal.Text {
	t.Helper()
	plain, err := k.Open(m.Sealed, seal.Binding{
		Delivery: m.DeliveryID, Incident: m.IncidentID, Device: device, Key: m.SealedKeyID, Deadline: m.Deadline.Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := seal.ParseText(plain)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// clear is everything of a message that its push service can read.
func inTheClear(m push.Message) string {
	all := []string{m.IncidentID, m.Severity, m.Title, m.Subtitle, m.Body, m.CollapseID, m.ThreadID, m.ActionToken}
	for k, v := range m.Details {
		all = append(all, k, v)
	}
	return strings.ToLower(strings.Join(all, "\n"))
}

// At the sealed level a phone with a key gets the minimal text in the clear and
// everything else for its eyes only; one without a key gets the minimal text.
func TestSealedPage(t *testing.T) {
	r := newRig(t)
	r.dir.private(roster.PrivacySealed)
	k := r.sealing("iphone")
	r.n.o.LinkHosts = []string{"wiki.example.com"}
	_, work := r.triggerWith(func(in *incident.Incident) {
		in.Text.Links = []event.Link{
			{Href: "https://wiki.example.com/disk?token=abc", Text: "Runbook"}, {Href: "https://evil.example/login", Text: "Log in"},
		}
	}, page("ann", roster.PushAll))
	r.must(work...)
	for _, d := range r.push.sent(push.KindPage) {
		m := d.Message
		if m.Title != "Page" || m.Body != "1 incident needs you (#42)" || m.Subtitle != "" || m.Severity != "" || !m.Redacted {
			t.Errorf("%s: in the clear %q, %q, %q, %q; want the minimal text", d.Device.ID, m.Title, m.Subtitle, m.Body, m.Severity)
		}
		if all := inTheClear(m); strings.Contains(all, "disk") || strings.Contains(all, "checkout") || strings.Contains(all, "critical") {
			t.Errorf("%s: in the clear stands %q", d.Device.ID, all)
		}
		if has := m.Sealed != ""; has != (d.Device.ID == "iphone") {
			t.Errorf("%s: sealed text %v, want it for the phone with a key alone", d.Device.ID, has)
		}
	}
	m := r.push.to(push.KindPage, "iphone")[0]
	if m.ActionToken != "" {
		t.Error("the action token is in the clear, want it sealed")
	}
	text := opened(t, k, m, "iphone")
	if text.Title != "Critical: Checkout API" || text.Subtitle != "Disk full" || text.Body != "1 open: #42 · alertmanager · db-1" || text.Severity != "critical" {
		t.Errorf("opened to %+v, want the full text", text)
	}
	token, err := auth.ParseAction(text.ActionToken)
	if err != nil {
		t.Fatal(err)
	}
	b := auth.Binding{Delivery: m.DeliveryID, Incident: incident.ID(m.IncidentID), User: "ann", Device: "iphone", Epoch: 1}
	if err := auth.NewSigner(r.ring).VerifyAction(token, b, auth.VerbAck, r.now()); err != nil {
		t.Errorf("the sealed action token does not acknowledge: %v", err)
	}
	var links []string
	for _, l := range text.Links {
		links = append(links, l.URL)
	}
	if got := strings.Join(links, " "); got != "https://tocsin.example/i/"+m.IncidentID+" https://wiki.example.com/disk" {
		t.Errorf("links %q, want our own and the allowed host's, without its token", got)
	}
}

// No level but the sealed one seals, and what wakes nobody is not sealed.
func TestOnlyTheSealedLevelSeals(t *testing.T) {
	for _, level := range []roster.Privacy{roster.PrivacyFull, roster.PrivacyTitle, roster.PrivacyMinimal} {
		r := newRig(t)
		r.dir.private(level)
		r.sealing("iphone")
		_, work := r.trigger("Disk full", page("ann", roster.PushAll))
		r.must(work...)
		if m := r.push.to(push.KindPage, "iphone")[0]; m.Sealed != "" {
			t.Errorf("level %v: a page with sealed text", level)
		}
	}
	r := newRig(t)
	r.dir.private(roster.PrivacySealed)
	r.sealing("iphone")
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	r.must(r.acknowledge(in, "bob")...)
	m := r.push.to(push.KindClear, "iphone")[0]
	if m.Sealed != "" || m.Title != "#42 acknowledged by Bob" || m.Body != "" || m.Badge == nil || *m.Badge != 0 {
		t.Errorf("clear = %+v, want who acknowledged, no more, and no open page left on the badge", m)
	}
}

// A test push is sealed as a page is, so that it finds a key that does not work.
func TestTestPushIsSealed(t *testing.T) {
	r := newRig(t)
	r.dir.private(roster.PrivacySealed)
	k := r.sealing("iphone")
	if _, err := r.n.SendTest(t.Context(), "iphone", false, ""); err != nil {
		t.Fatal(err)
	}
	r.until("the test is sent", func() bool { return len(r.push.sent(push.KindTest)) == 1 })
	if text := opened(t, k, r.push.to(push.KindTest, "iphone")[0], "iphone"); text.Title != "TEST: This is how a page sounds" || text.ActionToken != "" {
		t.Errorf("opened to %+v, want the words of the test", text)
	}
}

// A storm card is sealed too, and when it cannot be opened it comes again as
// the card that it was.
func TestSealedStormCard(t *testing.T) {
	r := newRig(t)
	r.dir.private(roster.PrivacySealed)
	r.dir.only("iphone")
	k := r.sealing("iphone")
	for _, title := range []string{"One", "Two"} {
		_, work := r.trigger(title, page("ann", roster.PushAll))
		r.must(work...)
	}
	r.settle("ann")
	all := r.push.to(push.KindPage, "iphone")
	card := all[len(all)-1]
	if !strings.HasPrefix(card.CollapseID, "storm-") {
		t.Fatalf("last message = %+v, want the storm card", card)
	}
	if text := opened(t, k, card, "iphone"); !strings.Contains(text.Body, "Two") || strings.Contains(inTheClear(card), "two") {
		t.Errorf("sealed %+v, in the clear %q; want the titles sealed", text, inTheClear(card))
	}
	r.say(card.DeliveryID, incident.DeliveryReceived, unopened)
	r.until("the card comes again", func() bool { return len(r.push.to(push.KindPage, "iphone")) == len(all)+1 })
	again := r.push.to(push.KindPage, "iphone")[len(all)]
	if again.CollapseID != card.CollapseID || again.Sealed != "" || again.Title != card.Title || again.Details["card"] != card.Details["card"] || again.Details["ask"] != "seal_key" {
		t.Errorf("sent again %+v, want the same card with nothing sealed", again)
	}
}

// say has the iphone report with a reason.
func (r *rig) say(delivery string, state incident.DeliveryState, reason string) {
	r.t.Helper()
	got, err := r.n.Report(r.t.Context(), caller("iphone"), "", []Receipt{{Delivery: delivery, State: state, Reason: reason}})
	if err != nil || got[0] != ReceiptRecorded {
		r.t.Fatalf("receipt = %v, %v; want it recorded", got, err)
	}
}

// A phone that has not been unlocked since it was started cannot read its key:
// nothing is sent again, and the key stays in use.
func TestLockedIsNoFailureOfTheKey(t *testing.T) {
	r := newRig(t)
	r.dir.private(roster.PrivacySealed)
	r.dir.only("iphone")
	r.sealing("iphone")
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	r.say(r.push.to(push.KindPage, "iphone")[0].DeliveryID, incident.DeliveryReceived, "locked")
	_, work = r.trigger("Another", page("ann", roster.PushAll)) // sent after whatever the receipt may have led to
	r.must(work...)
	r.settle("ann")
	all := r.push.to(push.KindPage, "iphone")
	if len(all) != 2 || all[1].Sealed == "" || len(r.dir.unopened) != 0 {
		t.Errorf("%d pages, the last with sealed text %v, keys given up %v; want two, sealed, none", len(all), all[len(all)-1].Sealed != "", r.dir.unopened)
	}
}

// An iPhone reports at once that it has the page, and opens it beside that: that
// it cannot comes in a second receipt of the same state.
func TestUnopenedAfterItWasReceived(t *testing.T) {
	r := newRig(t)
	r.dir.private(roster.PrivacySealed)
	r.dir.only("iphone")
	r.sealing("iphone")
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	id := r.push.to(push.KindPage, "iphone")[0].DeliveryID
	r.say(id, incident.DeliveryReceived, "")
	r.say(id, incident.DeliveryReceived, unopened)
	r.until("the page comes again", func() bool { return len(r.push.to(push.KindPage, "iphone")) == 2 })
	if again := r.push.to(push.KindPage, "iphone")[1]; again.Sealed != "" || again.Details["ask"] != "seal_key" || len(r.dir.unopened) == 0 {
		t.Errorf("sent again %+v, keys given up %v; want the page with nothing sealed, and the key given up", again, r.dir.unopened)
	}
	r.say(id, incident.DeliveryReceived, unopened)
	r.n.Drain(t.Context())
	if got := r.push.to(push.KindPage, "iphone"); len(got) != 2 {
		t.Errorf("%d pages after it was said again, want the two", len(got))
	}
}

// A page that somebody has taken meanwhile does not come again.
func TestUnopenedPageThatIsOver(t *testing.T) {
	r := newRig(t)
	r.dir.private(roster.PrivacySealed)
	r.dir.only("iphone")
	r.sealing("iphone")
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	r.must(r.acknowledge(in, "bob")...)
	r.say(r.push.to(push.KindPage, "iphone")[0].DeliveryID, incident.DeliveryReceived, unopened)
	r.n.Drain(t.Context())
	if got := r.push.to(push.KindPage, "iphone"); len(got) != 1 || len(r.dir.unopened) != 1 {
		t.Errorf("%d pages, keys given up %v; want the one page, and the key given up all the same", len(got), r.dir.unopened)
	}
}

func TestMayOpen(t *testing.T) {
	hosts := []string{"wiki.example.com", "*.Dash.example"}
	for address, want := range map[string]bool{
		"https://wiki.example.com/disk":                 true,
		"https://WIKI.example.com:443/":                 true,
		"https://a.dash.example/x":                      true,
		"https://a.b.dash.example/x":                    true,
		"https://dash.example/x":                        false,
		"https://evildash.example/x":                    false,
		"http://wiki.example.com/":                      false,
		"https://wiki.example.com:8443/":                false,
		"https://wiki.example.com@evil.example/":        false,
		"https://ann@wiki.example.com/":                 false,
		"https://wiki.example.com.evil.example/":        false,
		"https://evil.example/https://wiki.example.com": false,
		"javascript:alert(1)":                           false,
		"https:wiki.example.com":                        false,
		"https://":                                      false,
		"":                                              false,
		"%":                                             false,
	} {
		if got := mayOpen(address, hosts); got != want {
			t.Errorf("mayOpen(%q) = %v, want %v", address, got, want)
		}
	}
}

// TestCase66_SealedPayload gives phones the wrong key and then the right one:
// with the wrong one each shows the minimal text and reports "decrypt", whereupon
// the page comes once more in its minimal form with nothing sealed and the key
// is given up; with the right one it shows the full text. Two sealed forms of
// the same text differ, and their sizes move in steps of 512 bytes. Browsers are
// not in it: they register no key, as every push to them is encrypted anyway.
func TestCase66_SealedPayload(t *testing.T) {
	for name, device := range map[string]roster.DeviceID{"apns": "iphone", "fcm": "pixel"} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			w.dir.only(device)
			w.dir.private(roster.PrivacySealed)
			phone := w.iphone
			if device == "pixel" {
				phone = w.pixel
			}
			wrong, err := seal.NewPrivateKey()
			if err != nil {
				t.Fatal(err)
			}
			w.sealing(device)
			phone.SetSealKey(pushtest.SealKey{Device: string(device), ID: "key-of-" + string(device), Key: wrong})
			in, work := w.trigger("Disk full", page("ann", roster.PushAll))
			w.must(work...)
			first := w.next(phone, 0)
			if first.Unopened != unopened || first.Title != "Page" || first.Body != "1 open: 1 incident needs you (#42)" || strings.Contains(string(first.Raw), "Disk") {
				t.Errorf("with another key the phone shows %q, %q (%q), want the minimal text", first.Title, first.Body, first.Unopened)
			}
			for range 2 { // it says so twice, and in two states
				for _, s := range []incident.DeliveryState{incident.DeliveryReceived, incident.DeliveryDisplayed} {
					status, err := w.n.Report(t.Context(), auth.Principal{}, first.ReceiptKey, []Receipt{{Delivery: first.DeliveryID, State: s, Reason: first.Unopened}})
					if err != nil || status[0] != ReceiptRecorded {
						t.Fatalf("receipt = %v, %v; want it recorded", status, err)
					}
				}
			}
			again := w.next(phone, 1)
			if again.Sealed != "" || again.Title != "Page" || again.Body != first.Body || !again.Replaced || again.DeliveryID == first.DeliveryID || again.IncidentID != string(in.ID) {
				t.Errorf("then it shows %q, %q, sealed %v, replaced %v; want the same page without sealed text, in its place", again.Title, again.Body, again.Sealed != "", again.Replaced)
			}
			if again.Details["ask"] != "seal_key" {
				t.Errorf("details %v, want the app to be asked for a key", again.Details)
			}
			if got := w.dir.unopened; len(got) == 0 || got[0] != device {
				t.Errorf("keys given up: %v, want that of %s", got, device)
			}

			right := w.sealing(device) // the app registers a new one
			phone.SetSealKey(pushtest.SealKey{Device: string(device), ID: "key-of-" + string(device), Key: right})
			_, work = w.trigger("Disk full", page("ann", roster.PushAll))
			w.must(work...)
			if n := w.next(phone, 2); n.Opened == nil || !strings.Contains(n.Body, "Disk full") || strings.Contains(string(n.Raw), "Disk") || n.DeliveryID == again.DeliveryID {
				t.Errorf("with its key the phone shows %q, %q, want the full text, and no third time the first page", n.Title, n.Body)
			}
			var sealed []string
			for i := range 2 {
				if _, err := w.n.SendTest(t.Context(), device, false, ""); err != nil {
					t.Fatal(err)
				}
				n := w.next(phone, 3+i)
				raw, err := base64.StdEncoding.DecodeString(n.Sealed)
				if size := len(raw) - seal.KeySize - 16; err != nil || size != 512 || n.Opened == nil {
					t.Errorf("the sealed text has %d bytes (%v), opened %v; want 512, opened", size, err, n.Opened != nil)
				}
				sealed = append(sealed, n.Sealed)
			}
			if sealed[0] == sealed[1] {
				t.Error("two sealed forms of the same text are the same")
			}
		})
	}
}

// next waits for the push of that place in the order of arrival.
func (w *wire) next(p *pushtest.Phone, place int) pushtest.Notification {
	w.t.Helper()
	w.until("the push arrives", func() bool { return len(p.Got()) > place })
	return p.Got()[place]
}
