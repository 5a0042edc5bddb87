package rpc_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/auth"
)

// webPayload is a push as a service worker gets it, and what it shows.
type webPayload struct {
	Name    string            `json:"name"`
	Browser string            `json:"browser"` // "any", or "declarative" for Apple's
	Headers map[string]string `json:"headers"`
	Payload json.RawMessage   `json:"payload"`
	Want    webShown          `json:"want"`
}

// webShown is what stands on the screen afterwards.
type webShown struct {
	Title        string `json:"title"`
	Body         string `json:"body"`
	Tag          string `json:"tag"`
	Audible      bool   `json:"audible"`
	Replaces     bool   `json:"replaces_the_page"`
	ReceiptPath  string `json:"receipt_path,omitempty"`
	ActionToken  string `json:"action_token,omitempty"`
	DeliveryID   string `json:"delivery_id"`
	IncidentID   string `json:"incident_id,omitempty"`
	Acknowledges bool   `json:"offers_acknowledge"`
}

// The vectors of a service worker go the whole way: encrypted by the provider,
// opened by the simulator, shown by its browser. What is sent after a page shows
// in the page's place; nothing shows nothing.
func TestVectorsOfWebPushes(t *testing.T) {
	sim := must(pushtest.NewWebPush(pushtest.WebPushOptions{Now: func() time.Time { return vectorTime }}))
	t.Cleanup(sim.Close)
	provider := must(webpush.New(webpush.Config{
		App: "oncall", Key: must(must(webpush.NewKey()).File()), Subject: "mailto:oncall@example.com", AppURL: "https://page.example.org/app/",
		TestEndpoint: &webpush.TestEndpoint{URL: sim.URL(), CA: sim.CA()}, Now: func() time.Time { return vectorTime },
	}))
	t.Cleanup(func() { _ = provider.Close() })
	token := must(auth.NewSigner(must(auth.NewKeyring([auth.MasterKeySize]byte{}))).Action(auth.Binding{
		Delivery: "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", Incident: "00a1m8k5w6q0abcdefgh0", User: "ann", Device: "d7pixel8", Epoch: 3,
	}, vectorTime, vectorTime.Add(10*time.Minute)))
	var cases []webPayload
	for _, b := range []struct{ browser, host string }{{"any", pushtest.ServiceGoogle}, {"declarative", pushtest.ServiceApple}} {
		phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "browser", Now: func() time.Time { return vectorTime }})
		t.Cleanup(phone.Close)
		sub := must(sim.SubscribeAt(b.host, phone))
		for _, v := range []struct {
			name   string
			change func(*push.Message)
		}{
			{"page", func(m *push.Message) { m.ActionToken = token }},
			{"page again", func(m *push.Message) {
				m.ActionToken, m.Again, m.Revision, m.DeliveryID = token, true, 4, "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e12"
			}},
			{"clear", func(m *push.Message) {
				m.Kind, m.Sound, m.Level, m.Title, m.Subtitle, m.Body = push.KindClear, push.SoundNone, push.LevelPassive, "Acknowledged", "", "by Ben Baker"
				m.DeliveryID, m.Revision, m.ReceiptPath, m.ReceiptKey, m.Badge = "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e11", 5, "", "", nil
			}},
			{"information", func(m *push.Message) {
				m.Kind, m.Sound, m.Level, m.Title, m.Subtitle, m.Body = push.KindInfo, push.SoundNone, push.LevelPassive, "Merged", "", "into #43"
				m.DeliveryID, m.CollapseID, m.ReceiptPath, m.ReceiptKey, m.Badge, m.Revision = "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e13", "merged-43", "", "", nil, 6
			}},
			{"test", func(m *push.Message) {
				m.Kind, m.IncidentID, m.IncidentNumber, m.Revision, m.Severity = push.KindTest, "", 0, 0, ""
				m.Title, m.Subtitle, m.Body, m.CollapseID = "TEST This is how a page sounds", "", "Tap \"I heard it\" in the app.", "test-d7pixel8"
				m.DeliveryID = "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e14"
			}},
		} {
			m := page(t)
			v.change(&m)
			d := push.Device{
				ID: "d7browser", Platform: push.Web, App: "oncall", Token: push.Token(sub.Endpoint),
				Keys: push.SubscriptionKeys{P256dh: sub.P256dh, Auth: sub.Auth},
			}
			if o := provider.Send(t.Context(), push.Attempt{Message: &m, Device: &d, Number: 1}); o.Class != push.Accepted || o.Shrunk != "" {
				t.Fatalf("%s: %+v", v.name, o)
			}
			all := sim.Requests()
			request := all[len(all)-1]
			got := phone.Got()
			n := got[len(got)-1]
			if !n.Visible || n.Title == "" || n.DeliveryID != m.DeliveryID || !sim.Subscribed(sub.Endpoint) {
				t.Errorf("%s: the browser shows %+v", v.name, n)
			}
			if n.Audible() != m.Kind.Loud() {
				t.Errorf("%s: audible %t", v.name, n.Audible())
			}
			if v.name == "clear" && (!n.Replaced || n.CollapseID != page(t).CollapseID) {
				t.Errorf("the clear shows beside the page: %+v", n)
			}
			cases = append(cases, webPayload{
				Name: v.name, Browser: b.browser, Payload: pretty(t, must(sim.Open(request))),
				Headers: map[string]string{"ttl": request.Header["ttl"], "urgency": request.Header["urgency"], "topic": request.Header["topic"]},
				Want: webShown{
					Title: n.Title, Body: n.Body, Tag: n.CollapseID, Audible: n.Audible(), Replaces: n.Replaced, ReceiptPath: n.ReceiptPath,
					ActionToken: n.ActionToken, DeliveryID: n.DeliveryID, IncidentID: n.IncidentID, Acknowledges: m.Kind == push.KindPage,
				},
			})
		}
	}
	keep(t, "webpush.json", "Pushes as they reach a service worker, decrypted, in the order in which they were sent, with the headers that the push service read. want is what the browser shows: every push shows something. The keys are in docs/push.md.", cases)
}
