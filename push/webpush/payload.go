package webpush

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

const declarative = 8030 // what a declarative message is known by: the number of the RFC

// payload is what the service worker gets. "notification" is what it passes on
// to showNotification: the title, and everything else as options, of which
// data is ours. Where the browser understands declarations, it shows the very
// same by itself, even when the service worker fails.
// https://w3c.github.io/push-api/#declarative-push-message
type payload struct {
	WebPush      int          `json:"web_push,omitempty"`
	Mutable      bool         `json:"mutable,omitempty"` // the service worker still runs, and reports the receipt
	AppBadge     *int         `json:"app_badge,omitempty"`
	Notification notification `json:"notification"`
}

type notification struct {
	Title       string   `json:"title"`
	Body        string   `json:"body,omitempty"`
	Navigate    string   `json:"navigate,omitempty"`
	Lang        string   `json:"lang,omitempty"`
	Dir         string   `json:"dir,omitempty"`
	Tag         string   `json:"tag,omitempty"`
	Renotify    bool     `json:"renotify,omitempty"` // only with a tag: browsers throw otherwise
	Interaction bool     `json:"requireInteraction,omitempty"`
	Silent      bool     `json:"silent,omitempty"`
	Vibrate     []int    `json:"vibrate,omitempty"` // never with silent: browsers throw
	Timestamp   int64    `json:"timestamp,omitempty"`
	Actions     []action `json:"actions,omitempty"`
	Data        fields   `json:"data"`
}

type action struct {
	Action string `json:"action"`
	Title  string `json:"title"`
}

// fields are what the app reads; the keys are those of the other platforms.
type fields struct {
	push.Fields
	Level    string `json:"level,omitempty"`
	Sound    string `json:"sound,omitempty"`
	Thread   string `json:"thread,omitempty"`
	Badge    *int   `json:"badge,omitempty"`
	Open     int    `json:"open,omitempty"`
	Redacted int    `json:"redacted,omitempty"`
}

// Build marshals what is encrypted for d's browser: at most [MaxClear] bytes,
// always. shrunk names what had to go for that, "" for nothing. appURL is the
// web app, where a tap on a declarative notification leads.
func Build(m *push.Message, d *push.Device, form push.Form, appURL string) (plain []byte, shrunk string, err error) {
	declare := AtApple(d.Token)
	t := push.Trim(m, form, func(t *push.Trimmed) bool {
		plain, err = marshal(compose(t, declare, appURL))
		return err != nil || len(plain) <= MaxClear
	})
	return plain, t.Cut, err
}

// AtApple tells whether an endpoint is that of a browser on one of Apple's
// systems. Those show declarations.
func AtApple(endpoint push.Token) bool {
	u, err := url.Parse(string(endpoint))
	return err == nil && apple.is(strings.ToLower(u.Hostname()))
}

func compose(t *push.Trimmed, declare bool, appURL string) *payload {
	n := notification{Title: t.Title, Body: t.Body, Tag: t.CollapseID, Data: dataOf(t)}
	if t.Subtitle != "" { // a web notification has two texts, not three
		n.Body = strings.TrimSuffix(t.Subtitle+"\n"+t.Body, "\n")
	}
	if n.Title == "" {
		n.Title, n.Body = n.Body, ""
	}
	sound, level := t.Loudness(false) // no browser plays a critical sound
	n.Data.Level = level.String()
	if sound == push.SoundNone {
		n.Silent = true
	} else {
		n.Data.Sound = sound.String()
	}
	if t.Kind.Loud() {
		n.Interaction, n.Renotify = true, n.Tag != ""
	}
	if !t.At.IsZero() {
		n.Timestamp = t.At.UnixMilli()
	}
	p := &payload{Notification: n}
	if !declare {
		if t.Kind.Loud() {
			p.Notification.Actions = actions(&t.Message)
			if !n.Silent {
				p.Notification.Vibrate = []int{500, 250, 500, 250, 500}
			}
		}
		return p
	}
	p.WebPush, p.Mutable, p.AppBadge = declarative, true, t.Badge
	p.Notification.Navigate, p.Notification.Lang, p.Notification.Dir = navigate(appURL, t.IncidentID), "en", "auto"
	return p
}

// actions are the buttons, where a browser shows any: it shows two at most.
func actions(m *push.Message) []action {
	switch {
	case m.Kind == push.KindTest:
		return []action{{"heard", "I heard it"}, {"open", "Open"}}
	case m.Observes():
		return []action{{"open", "Open"}}
	}
	return []action{{"ack", "Acknowledge"}, {"open", "Open"}}
}

func dataOf(t *push.Trimmed) fields {
	f := fields{Fields: t.Fields(), Thread: t.ThreadID, Badge: t.Badge, Open: t.OpenPages}
	if t.Redacted {
		f.Redacted = 1
	}
	return f
}

// navigate is the page of an incident in the web app, which has it in the
// fragment so that every path of the app is one file.
func navigate(appURL, incident string) string {
	if incident == "" {
		return appURL
	}
	return appURL + "#/incidents/" + url.PathEscape(incident)
}

// marshal is json.Marshal without the escapes that only HTML needs.
func marshal(p *payload) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

const (
	infoTTL  = time.Hour
	clearTTL = 5 * time.Minute
	maxTTL   = 28 * 24 * time.Hour
)

// ttl is for how many seconds the push service may keep a message for a
// browser that is away.
func ttl(m *push.Message, now time.Time) string {
	keep := infoTTL
	switch {
	case m.Kind.Loud():
		keep = min(max(m.Deadline.Sub(now).Round(time.Second), time.Second), maxTTL)
	case m.Kind == push.KindClear:
		keep = clearTTL
	}
	return strconv.FormatInt(int64(keep/time.Second), 10)
}

// urgency is high for what is shown at once: a page, and the line that takes
// its place. iPhones hold back everything less.
func urgency(m *push.Message) string {
	if m.Kind.Loud() || m.Kind == push.KindClear {
		return "high"
	}
	return "normal"
}

// topic names what a waiting message is replaced by: 32 characters of
// base64url at most (RFC 8030, 5.4). A page and its clear have the same.
func topic(m *push.Message) string {
	if m.CollapseID == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(m.CollapseID))
	return encode(sum[:24])
}
