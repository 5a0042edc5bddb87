package rpc_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/fcm"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// The vectors are what a phone has to understand and what it has to send, made
// by the server itself. `go test ./server/rpc -run Vectors -update` writes them
// anew; a change of them is a change of the contract.
const vectors = "../../mobile-sdk/vectors"

// vectorTime is the moment of every vector.
var vectorTime = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

// keep holds a file of vectors against what is made now.
func keep(t *testing.T, name, about string, cases any) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"about": about, "cases": cases}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(vectors, name)
	if *golden {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil { //nolint:gosec // of the repository, for all to read
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("%s is not what the server makes now; if the contract is meant to change, run with -update. got\n%s", name, got)
	}
}

// payload is a push as a phone gets it, and what the phone reads in it.
type payload struct {
	Name     string          `json:"name"`
	Platform string          `json:"platform"`
	Payload  json.RawMessage `json:"payload"`
	Want     shown           `json:"want"`
}

// shown is what a phone makes of a payload.
type shown struct {
	Kind         string `json:"kind"`
	DeliveryID   string `json:"delivery_id"`
	IncidentID   string `json:"incident_id,omitempty"`
	Number       int64  `json:"number,omitempty"`
	Revision     int64  `json:"revision,omitempty"`
	Severity     string `json:"severity,omitempty"`
	Title        string `json:"title,omitempty"`
	Subtitle     string `json:"subtitle,omitempty"`
	Body         string `json:"body,omitempty"`
	ExpireTime   string `json:"expire_time"`
	ReceiptPath  string `json:"receipt_path,omitempty"`
	ReceiptKey   string `json:"receipt_key,omitempty"`
	ActionToken  string `json:"action_token,omitempty"`
	Audible      bool   `json:"audible"`
	Critical     bool   `json:"critical"`
	Acknowledges bool   `json:"offers_acknowledge"`
	Sealed       string `json:"sealed,omitempty"`
	SealedKey    string `json:"sealed_key,omitempty"`
}

// page is the message that most payloads are variations of.
func page(t *testing.T) push.Message {
	b := auth.Binding{Delivery: "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", Incident: "00a1m8k5w6q0abcdefgh0", User: "ann", Device: "d7pixel8", Epoch: 3}
	ring := must(auth.NewKeyring([auth.MasterKeySize]byte{}))
	s := auth.NewSigner(ring)
	deadline := vectorTime.Add(10 * time.Minute)
	badge := 1
	return push.Message{
		Kind: push.KindPage, DeliveryID: b.Delivery, IncidentID: string(b.Incident), IncidentNumber: 42, Revision: 3, Severity: "critical",
		Title: "CRITICAL Payments", Subtitle: "db1", Body: "disk full", OpenPages: 1, Badge: &badge, CollapseID: "inc-" + string(b.Incident), ThreadID: "payments",
		Sound: push.SoundNormal, Level: push.LevelTimeSensitive, At: vectorTime, Deadline: deadline, HighUrgency: true,
		ReceiptPath: "/v1/push/receipts", ReceiptKey: must(s.ReceiptKey(b, vectorTime)),
	}
}

// silent makes a page into a push that shows nothing.
func silent(m *push.Message) {
	m.Kind, m.Sound, m.Level, m.IncidentID, m.IncidentNumber, m.Revision, m.Severity = push.KindHeartbeat, push.SoundNone, push.LevelPassive, "", 0, 0, ""
	m.Title, m.Subtitle, m.Body, m.ReceiptKey, m.Badge, m.ThreadID, m.OpenPages, m.CollapseID = "", "", "", "", nil, "", 0, "heartbeat"
}

func TestVectorsOfPayloads(t *testing.T) {
	device := func(p push.Platform) *push.Device {
		return &push.Device{ID: "d7pixel8", Platform: p, Capabilities: push.Capabilities{Critical: true, TimeSensitive: true}}
	}
	ring := must(auth.NewKeyring([auth.MasterKeySize]byte{}))
	token := must(auth.NewSigner(ring).Action(auth.Binding{
		Delivery: "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", Incident: "00a1m8k5w6q0abcdefgh0", User: "ann", Device: "d7pixel8", Epoch: 3,
	}, vectorTime, vectorTime.Add(10*time.Minute)))
	var cases []payload
	for _, v := range []struct {
		name   string
		change func(*push.Message)
	}{
		{"page", func(*push.Message) {}},
		{"page with the critical sound", func(m *push.Message) { m.Sound, m.Level = push.SoundCritical, push.LevelCritical }},
		{"page with an action token", func(m *push.Message) { m.ActionToken = token }},
		{"page that hides its text", func(m *push.Message) {
			m.Title, m.Subtitle, m.Body, m.Severity, m.Redacted = "You are needed", "", "Incident #42", "", true
		}},
		{"page whose text is sealed", func(m *push.Message) {
			m.Title, m.Subtitle, m.Body, m.Severity, m.Redacted = "Page", "", "1 incident needs you (#42)", "", true
			m.ThreadID, m.Sealed, m.SealedKeyID = "a46a8a287e46", sealedVector(t), "k1"
		}},
		{"page again", func(m *push.Message) { m.Again, m.Revision = true, 5 }},
		{"clear", func(m *push.Message) {
			m.Kind, m.Sound, m.Level, m.Title, m.Subtitle, m.Body = push.KindClear, push.SoundNone, push.LevelPassive, "Acknowledged", "", "by Ben Baker"
			m.DeliveryID, m.Revision, m.ReceiptPath, m.ReceiptKey, m.Badge = "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e11", 4, "", "", nil
			m.PagedAt = vectorTime
		}},
		{"information", func(m *push.Message) {
			m.Kind, m.Sound, m.Level, m.Title, m.Subtitle, m.Body = push.KindInfo, push.SoundNone, push.LevelPassive, "Merged", "", "into #43"
			m.ReceiptPath, m.ReceiptKey, m.Badge = "", "", nil
		}},
		{"test", func(m *push.Message) {
			m.Kind, m.IncidentID, m.IncidentNumber, m.Revision, m.Severity = push.KindTest, "", 0, 0, ""
			m.Title, m.Subtitle, m.Body, m.CollapseID = "TEST This is how a page sounds", "", "Tap \"I heard it\" in the app.", "test-d7pixel8"
		}},
		{"nonce of an address", func(m *push.Message) {
			m.Kind, m.Sound, m.Level, m.IncidentID, m.IncidentNumber, m.Revision, m.Severity = push.KindInfo, push.SoundNone, push.LevelPassive, "", 0, 0, ""
			m.Title, m.Subtitle, m.Body, m.ReceiptPath, m.ReceiptKey, m.Badge = "Confirm this phone", "", "Open the app to finish.", "", "", nil
			m.Details, m.CollapseID = map[string]string{"nonce": "q3Zk0m9bT2uN5xY8cV1aRw"}, "confirm-d7pixel8"
		}},
		{"heartbeat", silent},
		{"wipe", func(m *push.Message) {
			silent(m)
			m.ReceiptPath, m.Details, m.CollapseID = "", map[string]string{"wipe": "d7pixel8"}, "wipe"
		}},
	} {
		m := page(t)
		v.change(&m)
		want := shown{
			Kind: m.Kind.String(), DeliveryID: m.DeliveryID, IncidentID: m.IncidentID, Number: m.IncidentNumber, Revision: m.Revision, Severity: m.Severity,
			Title: m.Title, Subtitle: m.Subtitle, Body: m.Body, ExpireTime: m.Deadline.Format(time.RFC3339), ReceiptPath: m.ReceiptPath, ReceiptKey: m.ReceiptKey,
			ActionToken: m.ActionToken, Audible: m.Sound != push.SoundNone, Critical: m.Sound == push.SoundCritical, Acknowledges: m.Kind == push.KindPage,
			Sealed: m.Sealed, SealedKey: m.SealedKeyID,
		}
		body, shrunk, err := apns.Build(&m, device(push.IOS), push.FormFull, true)
		if err != nil || shrunk != "" {
			t.Fatalf("%s for iOS: %v, shrunk %q", v.name, err, shrunk)
		}
		msg, _, shrunk := fcm.Build(&m, device(push.Android), push.FormFull, vectorTime)
		if shrunk != "" {
			t.Fatalf("%s for Android: shrunk %q", v.name, shrunk)
		}
		want.Body = msg.Data["body"] // it begins with how many pages are open
		cases = append(cases, payload{v.name, "ios", pretty(t, body), want})
		cases = append(cases, payload{v.name, "android", pretty(t, must(json.Marshal(msg.Data))), want})
	}
	checkPayloads(t, cases)
	keep(t, "payloads.json", "Pushes as they reach the app: on iOS the whole payload, on Android the data of the message. want is what the app reads in it. The keys and the table of fields are in docs/push.md.", cases)
}

// sealedVector is a sealed text as it looks; what opens is in sealed.json, where
// each has its key.
func sealedVector(t *testing.T) string {
	t.Helper()
	var all struct{ Cases []struct{ Sealed string } }
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(vectors, "sealed.json"))), &all); err != nil {
		t.Fatal(err)
	}
	return all.Cases[0].Sealed
}

func pretty(t *testing.T, body []byte) json.RawMessage {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return must(json.Marshal(v)) // its keys in order
}

// checkPayloads reads the payloads as an app would, apart from how they were made.
func checkPayloads(t *testing.T, cases []payload) {
	for _, c := range cases {
		var root map[string]json.RawMessage
		if err := json.Unmarshal(c.Payload, &root); err != nil {
			t.Fatal(err)
		}
		fields, words := root, root
		if c.Platform == "ios" {
			var aps struct{ Alert map[string]json.RawMessage }
			if err := json.Unmarshal(root["aps"], &aps); err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			fields, words = map[string]json.RawMessage{}, aps.Alert
			if err := json.Unmarshal(root["t"], &fields); err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
		}
		for key, want := range map[string]string{"title": c.Want.Title, "subtitle": c.Want.Subtitle, "body": c.Want.Body} {
			var got string
			if raw, ok := words[key]; ok {
				if err := json.Unmarshal(raw, &got); err != nil {
					t.Fatalf("%s %s: %s: %v", c.Platform, c.Name, key, err)
				}
			}
			if got != want {
				t.Errorf("%s %s: the %s is %q, want %q", c.Platform, c.Name, key, got, want)
			}
		}
		for key, want := range map[string]string{"d": c.Want.DeliveryID, "k": c.Want.Kind, "i": c.Want.IncidentID, "uk": c.Want.ReceiptKey, "a": c.Want.ActionToken, "u": c.Want.ReceiptPath, "s": c.Want.Severity, "e": c.Want.Sealed, "ek": c.Want.SealedKey} {
			var got string
			if raw, ok := fields[key]; ok {
				if err := json.Unmarshal(raw, &got); err != nil {
					t.Fatalf("%s %s: %s: %v", c.Platform, c.Name, key, err)
				}
			}
			if got != want {
				t.Errorf("%s %s: %s is %q, want %q", c.Platform, c.Name, key, got, want)
			}
		}
		if len(c.Payload) > push.MaxPayload {
			t.Errorf("%s %s has %d bytes", c.Platform, c.Name, len(c.Payload))
		}
	}
}

func TestVectorsOfTokens(t *testing.T) {
	list := must(auth.Vectors())
	for _, v := range list {
		if err := v.Check(); (err == nil) != v.Valid {
			t.Errorf("%s: got %v, want valid %t", v.Name, err, v.Valid)
		}
	}
	keep(t, "tokens.json", "Action tokens and receipt keys under the master key of 32 zero bytes, with what they are bound to and when they are presented. A server accepts those that are valid; a phone passes them on unread.", list)
}

// exchange is one call of a phone and its answer.
type exchange struct {
	Name   string            `json:"name"`
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Auth   string            `json:"authorization"` // "device credential" or ""
	Body   json.RawMessage   `json:"body"`
	Status int               `json:"status"`
	Header map[string]string `json:"header,omitempty"`
	Answer json.RawMessage   `json:"answer"`
	// Text is an answer that is not JSON.
	Text string `json:"text,omitempty"`
	// Do is what the app does about a failure, in one word of the table.
	Do string `json:"do,omitempty"`
	// Then is the same for people.
	Then string `json:"then"`
}

// judged sets what the app does.
func (e exchange) judged() exchange {
	if e.Status == http.StatusOK {
		return e
	}
	var answer struct {
		Code    codes.Code
		Details []struct {
			Reason   string
			Metadata map[string]string
		}
	}
	_ = json.Unmarshal(e.Answer, &answer) // what is in front of a server answers anything
	reason, reopen := "", false
	for _, d := range answer.Details {
		if d.Reason != "" {
			reason, reopen = d.Reason, d.Metadata["reopen"] == "true"
		}
	}
	e.Do = advice(e.Status, answer.Code, reason, reopen)
	return e
}

// elsewhere is an answer that this server does not give by itself.
func elsewhere(name string, status int, header map[string]string, answer, text, then string) exchange {
	e := exchange{
		Name: name, Method: http.MethodPost, Path: "/v1/push/actions", Auth: "device credential", Body: json.RawMessage("{}"),
		Status: status, Header: header, Answer: json.RawMessage("null"), Text: text, Then: then,
	}
	if answer != "" {
		e.Answer = json.RawMessage(answer)
	}
	return e.judged()
}

// talk makes the call and writes it down.
func (r *rig) talk(name, path, who, body, then string) exchange {
	r.t.Helper()
	res := r.http(http.MethodPost, path, who, body, "X-Request-Id", "vector")
	defer res.Body.Close()
	answer := must(io.ReadAll(res.Body))
	e := exchange{Name: name, Method: http.MethodPost, Path: path, Body: pretty(r.t, []byte(body)), Status: res.StatusCode, Answer: pretty(r.t, answer), Then: then}
	if who == phone {
		e.Auth = "device credential"
	}
	for _, h := range []string{"Retry-After", "WWW-Authenticate"} {
		if v := res.Header.Get(h); v != "" {
			if e.Header == nil {
				e.Header = map[string]string{}
			}
			e.Header[h] = v
		}
	}
	return e.judged()
}

// fixed is a rig whose clock stands still and whose incident has a name that does not change.
func fixed(t *testing.T) (*rig, *incident.Incident) {
	t.Helper()
	r := newRig(t)
	r.still.Store(vectorTime.UnixMilli())
	svc, _ := r.dir.Snapshot().Service("payments")
	id := store.NewIncidentID(store.PartitionOf("payments"), vectorTime)[:13] + "abcdefgh"
	begin := incident.Begin{ID: id, Service: svc, By: incident.Actor{Kind: incident.ActorSource, ID: "prom", Via: "events"}}
	begin.Event.Summary, begin.Event.Severity = "disk full", 1
	in, err := r.desk.Begin(t.Context(), begin, nil, respond.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r, in
}

func TestVectorsOfReceipts(t *testing.T) {
	r, in := fixed(t)
	d, anns := r.deliver(in.ID, "ben", "benphone"), r.deliver(in.ID, "ann", "annphone")
	key := must(r.signer.ReceiptKey(auth.Binding{Delivery: d.ID, User: "ben", Device: "benphone"}, vectorTime))
	receipt := func(id, state, more string) string {
		return `{"deliveryId":"` + id + `","state":"STATE_` + state + `"` + more + `}`
	}
	list := func(rs ...string) string { return `{"receipts":[` + strings.Join(rs, ",") + `]}` }
	forget := "Every receipt has an answer: forget them all, whatever their status."
	keep(t, "receipts.json", "What a phone says about pages, and what the server answers. Each receipt of a call is judged on its own.", []exchange{
		r.talk("received and displayed", "/v1/push/receipts", phone, list(
			receipt(d.ID, "RECEIVED", `,"deviceAt":"2026-03-01T02:00:01Z","net":"wifi","appVersion":"1.0","os":"17.4"`),
			receipt(d.ID, "DISPLAYED", `,"audible":"AUDIBLE_YES"`)), forget),
		r.talk("the same again", "/v1/push/receipts", phone, list(receipt(d.ID, "RECEIVED", "")), forget),
		r.talk("not shown", "/v1/push/receipts", phone, list(receipt(d.ID, "SUPPRESSED", `,"reason":"permission"`)), forget),
		r.talk("each on its own", "/v1/push/receipts", phone, list(
			receipt(anns.ID, "RECEIVED", ""), receipt("00000000-0000-4000-8000-000000000000", "RECEIVED", ""), receipt("rubbish", "RECEIVED", ""), receipt(d.ID, "OPENED", "")), forget),
		r.talk("with the key out of the page", "/v1/push/receipts", nobody, `{"receiptKey":"`+key+`","receipts":[`+receipt(d.ID, "OPENED", "")+`]}`, forget),
		r.talk("with the key of another page", "/v1/push/receipts", nobody, `{"receiptKey":"`+key+`","receipts":[`+receipt(anns.ID, "OPENED", "")+`]}`, "Forget it: the key is good for its own delivery only."),
		r.talk("without anything", "/v1/push/receipts", nobody, list(receipt(d.ID, "OPENED", "")), "Report again with the credential, when it can be read."),
	})
}

func TestVectorsOfActions(t *testing.T) {
	r, in := fixed(t)
	d := r.deliver(in.ID, "ben", "benphone")
	token := r.token(d, in.ID)
	act := func(id, verb, more string) string {
		return `{"actionId":"6f1c2a40-0000-4000-8000-00000000000` + id + `","deliveryId":"` + d.ID + `","verb":"VERB_` + verb + `"` + more + `}`
	}
	replace := "Replace the card: it shows the state and the holder."
	open := "Open the app: the person does it there."
	cases := []exchange{
		r.talk("without anything", "/v1/push/actions", nobody, act("1", "ACKNOWLEDGE", ""), open),
		r.talk("a token that is not valid", "/v1/push/actions", nobody, act("1", "ACKNOWLEDGE", `,"actionToken":"v1.20000.`+d.ID+`.1900000000.ack.AAAAAAAAAAAAAAAAAAAAAA"`), open),
		r.talk("resolve on a locked phone", "/v1/push/actions", phone, act("2", "RESOLVE", ""), open),
		r.talk("acknowledge", "/v1/push/actions", phone, act("3", "ACKNOWLEDGE", `,"atDevice":"2026-03-01T02:00:20Z"`), replace),
		r.talk("the same tap again", "/v1/push/actions", phone, act("3", "ACKNOWLEDGE", `,"atDevice":"2026-03-01T02:00:20Z"`), "As the first time: the answer is the same, byte for byte, for 24 hours."),
		r.talk("another tap", "/v1/push/actions", phone, act("4", "ACKNOWLEDGE", ""), replace),
		r.talk("by the action token", "/v1/push/actions", nobody, act("5", "ACKNOWLEDGE", `,"actionToken":"`+token+`"`), replace),
	}
	if _, err := r.desk.Do(t.Context(), in.ID, incident.Resolve{By: incident.Actor{Kind: incident.ActorUser, ID: "ann", Via: "api"}}, respond.Options{}); err != nil {
		t.Fatal(err)
	}
	cases = append(cases, r.talk("of what is over", "/v1/push/actions", phone, act("6", "ACKNOWLEDGE", ""), replace))
	if !bytes.Equal(cases[3].Answer, cases[4].Answer) {
		t.Errorf("the same tap got %s and then %s", cases[3].Answer, cases[4].Answer)
	}
	keep(t, "actions.json", "Taps on a notification, and what the server answers. The calls are made in this order, on one incident.", cases)
}

// arrival is one push that reaches a phone, in the order of arrival.
type arrival struct {
	DeliveryID string `json:"delivery_id"`
	Kind       string `json:"kind"`
	IncidentID string `json:"incident_id"`
	Revision   int64  `json:"revision"`
	Expires    string `json:"expires"`
	At         string `json:"at"`
	Want       string `json:"want"`
}

// phoneRules is what a phone does with what arrives: the reference for the libraries.
type phoneRules struct {
	seen     map[string]bool
	revision map[string]int64
	card     map[string]bool
}

// judge returns what to do: "ring", "replace", "duplicate", "stale" or "missed".
func (p *phoneRules) judge(a arrival) string {
	at, expires := must(time.Parse(time.RFC3339, a.At)), must(time.Parse(time.RFC3339, a.Expires))
	if p.seen[a.DeliveryID] {
		return "duplicate"
	}
	p.seen[a.DeliveryID] = true
	if a.Revision < p.revision[a.IncidentID] {
		return "stale"
	}
	p.revision[a.IncidentID] = a.Revision
	switch {
	case a.Kind != "page":
		p.card[a.IncidentID] = false
		return "replace"
	case !at.Before(expires):
		return "missed"
	}
	p.card[a.IncidentID] = true
	return "ring"
}

func TestVectorsOfReplays(t *testing.T) {
	push := func(n, kind, incidentID string, revision int64, after time.Duration, want string) arrival {
		return arrival{
			DeliveryID: "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e" + n, Kind: kind, IncidentID: incidentID, Revision: revision,
			Expires: vectorTime.Add(10 * time.Minute).Format(time.RFC3339), At: vectorTime.Add(after).Format(time.RFC3339), Want: want,
		}
	}
	type replay struct {
		Name     string    `json:"name"`
		Arrivals []arrival `json:"arrivals"`
	}
	cases := []replay{
		{"a push service delivers twice", []arrival{push("10", "page", "a", 3, 0, "ring"), push("10", "page", "a", 3, time.Second, "duplicate")}},
		{"the clear overtakes the page", []arrival{push("11", "clear", "a", 4, 0, "replace"), push("10", "page", "a", 3, time.Second, "stale")}},
		{"a page that rings again", []arrival{push("10", "page", "a", 3, 0, "ring"), push("12", "page", "a", 3, time.Minute, "ring")}},
		{"a page comes after its deadline", []arrival{push("10", "page", "a", 3, 11*time.Minute, "missed")}},
		{"incidents do not mix", []arrival{push("10", "page", "a", 9, 0, "ring"), push("13", "page", "b", 1, time.Second, "ring"), push("14", "clear", "a", 10, 2*time.Second, "replace")}},
		{"acknowledged, and triggered again", []arrival{push("10", "page", "a", 3, 0, "ring"), push("11", "clear", "a", 4, time.Second, "replace"), push("15", "page", "a", 6, 2*time.Minute, "ring")}},
	}
	for _, c := range cases {
		p := phoneRules{map[string]bool{}, map[string]int64{}, map[string]bool{}}
		for i, a := range c.Arrivals {
			if got := p.judge(a); got != a.Want {
				t.Errorf("%s: arrival %d: got %s, want %s", c.Name, i+1, got, a.Want)
			}
		}
	}
	keep(t, "replays.json", "Pushes in the order in which they reach one phone, and what it does with each: ring (show, with its sound), replace (show quietly in the place of the incident's card), duplicate (report the receipt again, show nothing), stale (a newer revision is known: show nothing), missed (show quietly, as missed). Whatever it does, it reports a receipt.", cases)
}

func TestVectorsOfErrors(t *testing.T) {
	r, in := fixed(t)
	r.keys["revoked"] = "tcd_gone_" + strings.Repeat("a", 43)
	name := "/v1/incidents/" + string(in.ID)
	stale := `{"etag":"\"999\""}`
	keep(t, "errors.json", "Failed calls, and what the app does about them. The body is google.rpc.Status: programs compare the reason of its ErrorInfo, never the message.", []exchange{
		r.talk("signed out", name+":acknowledge", "revoked", `{}`, "The credential is gone: forget it, and ask the person to enrol again."),
		r.talk("no credential", name+":acknowledge", nobody, `{}`, "Send the credential."),
		r.talk("not allowed", name+":acknowledge", stakeholder, `{}`, "Say that the role does not allow it."),
		r.talk("not there", "/v1/incidents/00a00000000000000none:acknowledge", phone, `{}`, "Take it off the list."),
		r.talk("changed meanwhile", name+":resolve", phone, stale, "Read it again, and show what changed."),
		r.talk("a wrong field", name+":snooze", phone, `{"duration":"1000000s"}`, "A mistake of the app: the violations name the fields."),
		r.talk("a field that does not exist", name+":snooze", phone, `{"minutes":5}`, "A mistake of the app."),
		r.talk("no further level", name+":escalate", phone, `{"level":7}`, "A mistake of the app: offer the levels that the incident has."),
		elsewhere("too many calls", http.StatusTooManyRequests, map[string]string{"Retry-After": "3"},
			`{"code":8,"message":"too many calls","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TOO_MANY_CALLS","domain":"tocsin.dev","metadata":{}},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3s"}]}`,
			"", "Wait as long as it says, and repeat with the same ids."),
		elsewhere("the server is full", http.StatusServiceUnavailable, nil,
			`{"code":14,"message":"the server is full","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"}]}`,
			"", "Wait as long as it says, and repeat with the same ids."),
		elsewhere("a page of a proxy", http.StatusBadGateway, nil, "", "<html><body><h1>502 Bad Gateway</h1></body></html>", "Repeat a few times."),
		elsewhere("a page of a proxy that is busy", http.StatusServiceUnavailable, map[string]string{"Retry-After": "120"}, "", "<html>", "Wait as long as it says."),
		elsewhere("a network that wants a login", http.StatusNetworkAuthenticationRequired, nil, "", "<html>", "Repeat: the person has to sign in to the network."),
		elsewhere("nothing but a status", http.StatusInternalServerError, nil, "", "", "Repeat a few times."),
	})
}
