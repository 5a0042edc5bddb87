package push

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says what a message is for. The zero Kind is invalid.
type Kind uint8

// The kinds of message.
const (
	// KindPage wakes a person. Only pages may be stored by a push service for
	// a phone that is offline, since Apple stores a single one per app.
	KindPage Kind = iota + 1
	// KindClear replaces a page that somebody has dealt with by a quiet line.
	KindClear
	// KindInfo tells something that can wait.
	KindInfo
	// KindTest takes exactly a page's way; only its title says TEST.
	KindTest
	// KindHeartbeat shows nothing: it asks the app to say that it is alive.
	KindHeartbeat
)

var kindNames = [...]string{"", "page", "clear", "info", "test", "heartbeat"} //nolint:gochecknoglobals // look-up table

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// ParseKind is the inverse of Kind.String.
func ParseKind(s string) (Kind, bool) {
	for i, name := range kindNames {
		if i > 0 && name == s {
			return Kind(i), true
		}
	}
	return 0, false
}

// Loud tells whether the kind is shown as a page is: at once, and with its sound.
func (k Kind) Loud() bool { return k == KindPage || k == KindTest }

// Sound is what a message may be heard as.
type Sound uint8

// The sounds. Critical is asked for; it is played as Normal on a phone whose
// owner, or whose app, has not been allowed more.
const (
	SoundNone Sound = iota
	SoundNormal
	SoundCritical
)

var soundNames = [...]string{"none", "normal", "critical"} //nolint:gochecknoglobals // look-up table

func (s Sound) String() string {
	if int(s) < len(soundNames) {
		return soundNames[s]
	}
	return soundNames[SoundNone]
}

// Level is how far a message may interrupt; the words are Apple's
// (UNNotificationInterruptionLevel). The zero Level is chosen by the kind:
// pages and tests are time-sensitive, everything else is passive.
type Level uint8

// The interruption levels.
const (
	LevelDefault Level = iota
	LevelPassive
	LevelActive
	LevelTimeSensitive
	LevelCritical
)

var levelNames = [...]string{"", "passive", "active", "time-sensitive", "critical"} //nolint:gochecknoglobals // look-up table

func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return ""
}

// Limits of a message. Collapse ids are limited by Apple, in bytes:
// https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
const (
	MaxCollapseID = 64
	MaxPayload    = 4096 // bytes, both for APNs and for FCM's data
)

// Message is what one phone shall show. Its texts are already cut to the
// redaction level that applies: nothing here decides about secrecy.
type Message struct {
	Kind       Kind
	DeliveryID string // one message on one phone: a UUID in lower case; the phone drops a second one of the same id

	IncidentID     string
	IncidentNumber int64
	Revision       int64 // of the incident: a phone that knows a newer one stays silent
	Severity       string
	Title          string
	Subtitle       string
	Body           string
	Details        map[string]string // extra fields for the app; the first to go when space is short
	Redacted       bool              // the texts hide something: the phone offers "unlock to read"
	// Shadow is set when the person only follows whoever is paged: "observe" (no
	// button to acknowledge), "practise" or "duty".
	Shadow string

	OpenPages  int    // open pages of this person, this one included; named in the text, since a service may keep only the last page
	Badge      *int   // absolute number on the app's icon; nil leaves it
	CollapseID string // same id replaces what is shown; at most 64 bytes
	ThreadID   string // groups on the lock screen

	Sound     Sound
	SoundName string  // file in the app, at most 30 s long; empty is "page.caf" for pages and tests
	Volume    float64 // of a critical sound, above 0 to 1; 0 is 1
	Level     Level

	At       time.Time // the moment the page was intended; zero is the moment of Submit
	Deadline time.Time // after it the message has no value; required
	PagedAt  time.Time // of a clear: when the page it replaces was made, zero when unknown

	Again       bool   // a page of the same incident went to this phone before
	HighUrgency bool   // exempt from the retry budget, and may probe a throttled provider
	ReceiptPath string // path, not URL: the app knows its own server; set on pages and tests
	ReceiptKey  string // good for this delivery's receipt only; empty where the phone's credential is used
	ActionToken string // good for acknowledging this one incident only; empty where the phone has a credential
	Sealed      string // sealed text for the phone's own key, in base64; Title and Body are then the minimal text
	SealedKeyID string // which of the phone's keys Sealed is for
}

// Observes reports whether the person looks on and has nothing to act on.
func (m *Message) Observes() bool { return m.Shadow == "observe" }

// Validate reports what keeps the message from being sent at all.
func (m *Message) Validate() error {
	switch {
	case m.Kind.String() == "":
		return errors.New("message: the kind is missing")
	case !validUUID(m.DeliveryID):
		return fmt.Errorf("message: delivery id %q is not a UUID in lower case", m.DeliveryID)
	case m.Deadline.IsZero():
		return errors.New("message: the deadline is missing; nothing is ever sent without one")
	case len(m.CollapseID) > MaxCollapseID:
		return fmt.Errorf("message: collapse id has %d bytes, the limit is %d", len(m.CollapseID), MaxCollapseID)
	case !printable(m.CollapseID):
		return fmt.Errorf("message: collapse id %q has other than printable ASCII characters", m.CollapseID)
	case !(m.Volume >= 0 && m.Volume <= 1): // so that NaN, which JSON has no word for, is refused too
		return fmt.Errorf("message: volume %v is outside 0 to 1", m.Volume)
	case m.Kind.Loud() && m.Title == "" && m.Body == "":
		return errors.New("message: a page without title and body wakes nobody")
	}
	return nil
}

// InterruptionLevel is Level, or what the kind stands for.
func (m *Message) InterruptionLevel() Level {
	switch {
	case m.Level != LevelDefault:
		return m.Level
	case m.Kind.Loud():
		return LevelTimeSensitive
	}
	return LevelPassive
}

// Loudness is how the message is heard, and how far it interrupts, on a phone
// that may play critical sounds or may not. Without that permission the loudest
// is an ordinary sound at the time-sensitive level. That level is asked for
// even where the phone last said that it is switched off: the system lowers it
// by itself, and the owner may have switched it on since.
func (m *Message) Loudness(critical bool) (Sound, Level) {
	switch level := m.InterruptionLevel(); {
	case m.Kind == KindClear:
		return SoundNone, LevelPassive
	case m.Sound == SoundCritical && critical:
		return SoundCritical, LevelCritical
	case m.Sound == SoundCritical:
		return SoundNormal, LevelTimeSensitive
	case level == LevelCritical:
		return m.Sound, LevelTimeSensitive
	default:
		return m.Sound, level
	}
}

// Text is what is shown before the phone is unlocked. A page's body starts
// with the number of open pages, because a phone that was offline gets only
// the last of them; a test's title says that it is one. A heartbeat has none;
// everything else has some, since a push without text replaces nothing.
func (m *Message) Text() (title, subtitle, body string) {
	if m.Kind == KindHeartbeat {
		return "", "", ""
	}
	title, subtitle, body = clean(m.Title), clean(m.Subtitle), clean(m.Body)
	if title == "" && body == "" {
		title = "Incident updated"
	}
	if m.Kind == KindTest && !strings.HasPrefix(title, "TEST") {
		title = strings.TrimSuffix("TEST: "+title, ": ")
	}
	if m.Kind == KindPage && m.OpenPages > 0 {
		body = strings.TrimSuffix(fmt.Sprintf("%d open: %s", m.OpenPages, body), ": ")
	}
	return title, subtitle, body
}

// CutRunes shortens s to at most limit characters, on a rune boundary, the
// last one an ellipsis if anything was cut. A limit below one empties it.
func CutRunes(s string, limit int) string {
	if limit < 1 {
		return ""
	}
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	n := 0
	for at := range s {
		if n++; n == limit {
			return s[:at] + "…"
		}
	}
	return s
}

func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// validUUID accepts the canonical form in lower case, the only one that APNs
// takes for an apns-id without doubt.
func validUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
