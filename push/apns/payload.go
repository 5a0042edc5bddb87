package apns

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/tocsin-oncall/tocsin/push"
)

// The categories that the app declares; they choose the action buttons.
const (
	categoryPage     = "TOCSIN_PAGE"
	categoryRedacted = "TOCSIN_PAGE_REDACTED"
	categoryInfo     = "TOCSIN_SHIFT"

	defaultSound = "page.caf"
)

// The payload is marshalled from these, never from a builder of others: a
// sound that is merely named must not become a critical one, and a zero must
// not vanish.
// https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification
type payload struct {
	APS    aps    `json:"aps"`
	Tocsin fields `json:"t"`
}

type aps struct {
	Alert            *alert `json:"alert,omitempty"`
	Badge            *int   `json:"badge,omitempty"`
	Sound            any    `json:"sound,omitempty"` // string or criticalSound
	ThreadID         string `json:"thread-id,omitempty"`
	Category         string `json:"category,omitempty"`
	Level            string `json:"interruption-level,omitempty"`
	MutableContent   int    `json:"mutable-content,omitempty"`
	ContentAvailable int    `json:"content-available,omitempty"`
}

type alert struct {
	Title    string `json:"title,omitempty"`
	Subtitle string `json:"subtitle,omitempty"`
	Body     string `json:"body,omitempty"`
}

type criticalSound struct {
	Critical int     `json:"critical"`
	Name     string  `json:"name"`
	Volume   float64 `json:"volume"`
}

// fields is what the app reads; the keys are short because they count.
type fields struct {
	Version     int               `json:"v"`
	Delivery    string            `json:"d"`
	Kind        string            `json:"k"`
	Expires     int64             `json:"x"`
	Incident    string            `json:"i,omitempty"`
	Number      int64             `json:"n,omitempty"`
	Revision    int64             `json:"r,omitempty"`
	Severity    string            `json:"s,omitempty"`
	Receipt     string            `json:"u,omitempty"`
	ReceiptKey  string            `json:"uk,omitempty"`
	ActionToken string            `json:"a,omitempty"`
	Sealed      string            `json:"e,omitempty"`
	SealedKey   string            `json:"ek,omitempty"`
	Fetch       int               `json:"fetch,omitempty"`
	Details     map[string]string `json:"m,omitempty"`
}

// Build marshals the payload of m for d: at most push.MaxPayload bytes,
// always. shrunk names what had to go for that, "" for nothing. entitled says
// whether Apple granted the app critical alerts.
func Build(m *push.Message, d *push.Device, form push.Form, entitled bool) (body []byte, shrunk string, err error) {
	p := compose(m, d, entitled)
	if p.APS.Alert == nil { // a background push carries no text to shrink
		p.Tocsin.Details = nil
	}
	first := 0
	switch form {
	case push.FormFull:
	case push.FormShrunk:
		first = shrunkStep
	case push.FormMinimal:
		first = minimalStep
	}
	for _, s := range steps[:first] {
		s.cut(&p)
	}
	if first > 0 {
		shrunk = steps[first-1].name
	}
	for _, s := range steps[first:] {
		if body, err = marshal(&p); err != nil || len(body) <= push.MaxPayload {
			return body, shrunk, err
		}
		s.cut(&p)
		shrunk = s.name
	}
	body, err = marshal(&p)
	return body, shrunk, err
}

func compose(m *push.Message, d *push.Device, entitled bool) payload {
	p := payload{Tocsin: fields{
		Version: 1, Delivery: m.DeliveryID, Kind: m.Kind.String(), Expires: m.Deadline.Unix(),
		Incident: m.IncidentID, Number: m.IncidentNumber, Revision: m.Revision, Severity: m.Severity,
		Receipt: m.ReceiptPath, ReceiptKey: m.ReceiptKey, ActionToken: m.ActionToken,
		Sealed: m.Sealed, SealedKey: m.SealedKeyID, Details: m.Details,
	}}
	if m.Kind == push.KindHeartbeat {
		p.APS.ContentAvailable = 1
		return p
	}
	title, subtitle, body := m.Text()
	if title == "" && body == "" {
		title = "Incident updated" // an alert without text is not shown, and so replaces nothing
	}
	p.APS = aps{Alert: &alert{title, subtitle, body}, Badge: m.Badge, ThreadID: m.ThreadID, Category: category(m)}
	critical := m.Sound == push.SoundCritical && entitled && d.Capabilities.Critical
	p.APS.Level = level(m, critical)
	p.APS.Sound = sound(m, critical)
	if m.Kind.Loud() {
		p.APS.MutableContent = 1 // runs the app's extension: receipt, and opening what is sealed
	}
	return p
}

func category(m *push.Message) string {
	switch {
	case m.Kind.Loud() && m.Redacted:
		return categoryRedacted
	case m.Kind.Loud():
		return categoryPage
	case m.Kind == push.KindInfo:
		return categoryInfo
	}
	return ""
}

func level(m *push.Message, critical bool) string {
	l := m.InterruptionLevel()
	switch {
	case m.Kind == push.KindClear:
		l = push.LevelPassive
	case critical:
		l = push.LevelCritical
	case l == push.LevelCritical, m.Sound == push.SoundCritical:
		l = push.LevelTimeSensitive
	}
	return l.String()
}

func sound(m *push.Message, critical bool) any {
	if m.Sound == push.SoundNone || m.Kind == push.KindClear {
		return nil
	}
	name := m.SoundName
	if name == "" {
		name = defaultSound
	}
	if !critical {
		return name
	}
	volume := m.Volume
	if volume == 0 {
		volume = 1
	}
	return criticalSound{Critical: 1, Name: name, Volume: volume}
}

// step cuts one thing from a payload.
type step struct {
	name string
	cut  func(*payload)
}

const (
	shrunkStep  = 4 // steps that FormShrunk starts with
	minimalStep = 6 // steps that FormMinimal starts with
)

// steps are in the order in which a person misses things least.
//
//nolint:gochecknoglobals // look-up table
var steps = []step{
	{"details", func(p *payload) { p.Tocsin.Details = nil }},
	{"subtitle", text(func(a *alert) { a.Subtitle = "" })},
	{"body to 178", text(func(a *alert) { a.Body = push.CutRunes(a.Body, 178) })},
	{"body to 100", text(func(a *alert) { a.Body = push.CutRunes(a.Body, 100) })},
	{"sealed text", func(p *payload) { p.Tocsin.Sealed, p.Tocsin.SealedKey, p.Tocsin.Fetch = "", "", 1 }},
	{"all but the essence", func(p *payload) {
		cut(p, 64)
		p.APS.ThreadID, p.APS.Badge = "", nil
		p.Tocsin.Severity, p.Tocsin.ActionToken, p.Tocsin.Fetch = "", "", 1
	}},
	{"all but the text", func(p *payload) { // only identifiers of absurd lengths come here
		cut(p, 64)
		t := &p.Tocsin
		*t = fields{Version: t.Version, Delivery: push.CutRunes(t.Delivery, 36), Kind: t.Kind, Expires: t.Expires, Fetch: 1}
		if _, named := p.APS.Sound.(string); named {
			p.APS.Sound = defaultSound
		} else if s, ok := p.APS.Sound.(criticalSound); ok {
			s.Name = defaultSound
			p.APS.Sound = s
		}
	}},
}

func text(f func(*alert)) func(*payload) {
	return func(p *payload) {
		if p.APS.Alert != nil {
			f(p.APS.Alert)
		}
	}
}

func cut(p *payload, limit int) {
	if a := p.APS.Alert; a != nil {
		*a = alert{Title: push.CutRunes(a.Title, limit), Body: push.CutRunes(a.Body, limit)}
	}
}

// marshal is json.Marshal without the escapes that only HTML needs: a "<"
// that becomes six bytes costs a page its text.
func marshal(p *payload) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// validToken is what may stand in a request's path: Apple's tokens are
// hexadecimal, today 64 characters of it.
func validToken(t push.Token) bool {
	return len(t) >= 64 && len(t) <= 200 && strings.Trim(string(t), "0123456789abcdef") == ""
}
