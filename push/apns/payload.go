package apns

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/tocsin-oncall/tocsin/push"
)

// The categories that the app declares; they choose the action buttons.
const (
	categoryPage     = "TOCSIN_PAGE"
	categoryRedacted = "TOCSIN_PAGE_REDACTED"
	categoryObserve  = "TOCSIN_PAGE_OBSERVE" // without buttons that act
	categoryInfo     = "TOCSIN_SHIFT"

	defaultSound = "page.caf"
)

// The payload is marshalled from these, never from a builder of others: a
// sound that is merely named must not become a critical one, and a zero must
// not vanish.
// https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification
type payload struct {
	APS    aps         `json:"aps"`
	Tocsin push.Fields `json:"t"`
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

// Build marshals the payload of m for d: at most push.MaxPayload bytes,
// always. shrunk names what had to go for that, "" for nothing. entitled says
// whether Apple granted the app critical alerts.
//
// The bytes are those of json.Marshal, which writes "<" as six of them: what
// carries the payload marshals it once more, and would add them unseen.
func Build(m *push.Message, d *push.Device, form push.Form, entitled bool) (body []byte, shrunk string, err error) {
	t := push.Trim(m, form, func(t *push.Trimmed) bool {
		body, err = json.Marshal(compose(t, d, entitled))
		return err != nil || len(body) <= push.MaxPayload
	})
	return body, t.Cut, err
}

func compose(m *push.Trimmed, d *push.Device, entitled bool) *payload {
	p := &payload{Tocsin: m.Fields()}
	if m.Kind == push.KindHeartbeat {
		p.APS.ContentAvailable = 1
		return p
	}
	p.APS = aps{
		Alert: &alert{m.Title, m.Subtitle, m.Body}, Badge: m.Badge, ThreadID: m.ThreadID, Category: category(&m.Message),
	}
	loudness, level := m.Loudness(entitled && d.Capabilities.Critical)
	p.APS.Level, p.APS.Sound = level.String(), sound(m, loudness)
	if m.Kind.Loud() {
		p.APS.MutableContent = 1 // runs the app's extension: receipt, and opening what is sealed
	}
	return p
}

func category(m *push.Message) string {
	switch {
	case m.Kind.Loud() && m.Observes():
		return categoryObserve
	case m.Kind.Loud() && m.Redacted:
		return categoryRedacted
	case m.Kind.Loud():
		return categoryPage
	case m.Kind == push.KindInfo:
		return categoryInfo
	}
	return ""
}

// sound is what Apple is told to play: nothing, a file, or a critical sound.
func sound(m *push.Trimmed, loudness push.Sound) any {
	name := cmp.Or(m.SoundName, defaultSound)
	switch loudness {
	case push.SoundCritical:
		return criticalSound{Critical: 1, Name: name, Volume: cmp.Or(m.Volume, 1)}
	case push.SoundNormal:
		return name
	case push.SoundNone:
	}
	return nil
}

// validToken is what may stand in a request's path: Apple's tokens are
// hexadecimal, today 64 characters of it.
func validToken(t push.Token) bool {
	return len(t) >= 64 && len(t) <= 200 && strings.Trim(string(t), "0123456789abcdef") == ""
}
