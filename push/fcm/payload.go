package fcm

import (
	"encoding/json"
	"strconv"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/tocsin-oncall/tocsin/push"
)

// The channels that the app creates. A channel's sound cannot be changed once
// it exists, so the app versions them; these are the names it maps from.
const (
	channelCritical = "page_critical"
	channelPage     = "page_normal"
	channelInfo     = "info"
)

// dataKeys is how many keys a page has at most: a map that grows costs three of them.
const dataKeys = 28

const (
	freshPage = 15 * time.Minute // how long a clear may still interrupt a phone's sleep
	maxTTL    = 28 * 24 * time.Hour
)

// Build makes the message of m for d: its data has at most push.MaxPayload
// bytes of keys and values, always, all of them strings. shrunk names what
// had to go for that.
func Build(m *push.Message, d *push.Device, form push.Form, now time.Time) (msg *messaging.Message, size int, shrunk string) {
	var data map[string]string
	t := push.Trim(m, form, func(t *push.Trimmed) bool {
		data = compose(t, d)
		size = dataSize(data)
		return size <= push.MaxPayload
	})
	p := &struct { // the SDK wants pointers to each: one allocation for all of them
		msg     messaging.Message
		android messaging.AndroidConfig
		options messaging.FCMOptions
		ttl     time.Duration
	}{ttl: ttl(m, now)}
	p.options.AnalyticsLabel = m.Kind.String()
	p.android = messaging.AndroidConfig{Priority: priority(m, now), TTL: &p.ttl, CollapseKey: collapseKey(m), DirectBootOK: true}
	p.msg = messaging.Message{Token: string(d.Token), Data: data, Android: &p.android, FCMOptions: &p.options}
	return &p.msg, size, t.Cut
}

func dataSize(data map[string]string) int {
	n := 0
	for k, v := range data {
		n += len(k) + len(v)
	}
	return n
}

// compose flattens the message. The keys v to m are those of the APNs
// payload's "t"; the others say what iOS reads from "aps".
func compose(m *push.Trimmed, d *push.Device) map[string]string {
	data := make(map[string]string, dataKeys)
	data["v"], data["d"], data["k"], data["x"] = "1", m.DeliveryID, m.Kind.String(), strconv.FormatInt(m.Deadline.Unix(), 10)
	put := func(key, value string) {
		if value != "" {
			data[key] = clean(value)
		}
	}
	number := func(key string, n int64) {
		if n != 0 {
			data[key] = strconv.FormatInt(n, 10)
		}
	}
	put("i", m.IncidentID)
	number("n", m.IncidentNumber)
	number("r", m.Revision)
	put("s", m.Severity)
	put("u", m.ReceiptPath)
	put("uk", m.ReceiptKey)
	put("a", m.ActionToken)
	put("e", m.Sealed)
	put("ek", m.SealedKeyID)
	put("sh", m.Shadow)
	if len(m.Details) > 0 {
		if b, err := json.Marshal(m.Details); err == nil {
			put("m", string(b))
		}
	}
	if m.Fetch {
		data["fetch"] = "1"
	}
	if m.Kind == push.KindHeartbeat {
		return data
	}
	put("title", m.Title)
	put("subtitle", m.Subtitle)
	put("body", m.Body)
	put("tag", m.CollapseID)
	put("thread", m.ThreadID)
	sound, level := m.Loudness(d.Capabilities.Critical)
	put("channel", channel(m.Kind, sound))
	put("level", level.String())
	if sound != push.SoundNone {
		put("sound", sound.String())
	}
	if m.Kind.Loud() {
		// The lock screen shows what is in the clear here, with its button; what e
		// opens to is the private version.
		data["visibility"], data["ack"] = "private", "1"
		if sound != push.SoundNone && level >= push.LevelTimeSensitive {
			data["insistent"] = "1" // rings until somebody sees to it, at most until x
		}
	}
	if sound == push.SoundCritical && m.Volume > 0 {
		put("volume", strconv.FormatFloat(m.Volume, 'g', 4, 64))
	}
	if m.Badge != nil {
		data["badge"] = strconv.Itoa(*m.Badge)
	}
	if m.Redacted {
		data["redacted"] = "1"
	}
	number("open", int64(m.OpenPages))
	return data
}

func channel(k push.Kind, sound push.Sound) string {
	switch {
	case k.Loud() && sound == push.SoundCritical:
		return channelCritical
	case k.Loud():
		return channelPage
	}
	return channelInfo
}

// priority is high only for what the app shows at once: pages, tests, and the
// quiet line that takes a fresh page's place.
func priority(m *push.Message, now time.Time) string {
	fresh := m.Kind == push.KindClear && !m.PagedAt.IsZero() && now.Sub(m.PagedAt) < freshPage
	if m.Kind.Loud() || fresh {
		return "high"
	}
	return "normal"
}

// ttl is how long Google keeps the message for a phone that is away. Zero
// would be now or never, and what has a deadline is never worth nothing yet.
func ttl(m *push.Message, now time.Time) time.Duration {
	return min(max(m.Deadline.Sub(now).Round(time.Second), time.Second), maxTTL)
}

// collapseKey is empty on an incident's first page: Google keeps four keys
// per phone, and throttles what collapses.
func collapseKey(m *push.Message) string {
	if m.Kind == push.KindTest || (m.Kind == push.KindPage && !m.Again) {
		return ""
	}
	if m.CollapseID == "" {
		return m.Kind.String()
	}
	return m.CollapseID
}
