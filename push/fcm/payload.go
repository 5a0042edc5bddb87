package fcm

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

// The channels that the app creates. A channel's sound cannot be changed once
// it exists, so the app versions them; these are the names it maps from.
const (
	channelCritical = "page_critical"
	channelPage     = "page_normal"
	channelInfo     = "info"
)

const (
	freshPage = 15 * time.Minute // how long a clear may still interrupt a phone's sleep
	maxTTL    = 28 * 24 * time.Hour
)

// Build makes the message of m for d: its data has at most push.MaxPayload
// bytes of keys and values, always, all of them strings. shrunk names what
// had to go for that.
func Build(m *push.Message, d *push.Device, form push.Form, now time.Time) (msg *Message, size int, shrunk string) {
	data := compose(m, d)
	first := 0
	switch form {
	case push.FormFull:
	case push.FormShrunk:
		first = shrunkStep
	case push.FormMinimal:
		first = minimalStep
	}
	for _, s := range steps[:first] {
		s.cut(data)
		shrunk = s.name
	}
	for _, s := range steps[first:] {
		if dataSize(data) <= push.MaxPayload {
			break
		}
		s.cut(data)
		shrunk = s.name
	}
	msg = &Message{
		Token: string(d.Token), Data: data,
		Android: AndroidConfig{Priority: priority(m, now), TTL: ttl(m, now), CollapseKey: collapseKey(m), DirectBootOK: true},
		Options: Options{AnalyticsLabel: m.Kind.String()},
	}
	return msg, dataSize(data), shrunk
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
func compose(m *push.Message, d *push.Device) map[string]string {
	data := map[string]string{
		"v": "1", "d": m.DeliveryID, "k": m.Kind.String(), "x": strconv.FormatInt(m.Deadline.Unix(), 10),
	}
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
	if len(m.Details) > 0 {
		if b, err := json.Marshal(m.Details); err == nil {
			put("m", string(b))
		}
	}
	if m.Kind == push.KindHeartbeat {
		return data
	}
	title, subtitle, body := m.Text()
	put("title", title)
	put("subtitle", subtitle)
	put("body", body)
	put("tag", m.CollapseID)
	put("thread", m.ThreadID)
	critical := m.Sound == push.SoundCritical && d.Capabilities.Critical
	put("channel", channel(m, critical))
	put("level", level(m, critical))
	put("sound", sound(m, critical))
	if critical && m.Volume > 0 {
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

func channel(m *push.Message, critical bool) string {
	switch {
	case m.Kind.Loud() && critical:
		return channelCritical
	case m.Kind.Loud():
		return channelPage
	}
	return channelInfo
}

func level(m *push.Message, critical bool) string {
	l := m.InterruptionLevel()
	switch {
	case m.Kind == push.KindClear:
		l = push.LevelPassive
	case critical:
		l = push.LevelCritical
	case l == push.LevelCritical:
		l = push.LevelTimeSensitive
	}
	return l.String()
}

func sound(m *push.Message, critical bool) string {
	switch {
	case m.Sound == push.SoundNone || m.Kind == push.KindClear:
		return ""
	case critical:
		return push.SoundCritical.String()
	}
	return push.SoundNormal.String()
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

func ttl(m *push.Message, now time.Time) string {
	left := min(max(m.Deadline.Sub(now).Round(time.Second), time.Second), maxTTL)
	return strconv.FormatInt(int64(left/time.Second), 10) + "s"
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

type step struct {
	name string
	cut  func(map[string]string)
}

const (
	shrunkStep  = 4
	minimalStep = 6
)

// steps are in the order in which a person misses things least; the same as
// for APNs.
//
//nolint:gochecknoglobals // look-up table
var steps = []step{
	{"details", remove("m")},
	{"subtitle", remove("subtitle")},
	{"body to 178", limit(178, "body")},
	{"body to 100", limit(100, "body")},
	{"sealed text", func(d map[string]string) {
		remove("e", "ek")(d)
		d["fetch"] = "1"
	}},
	{"all but the essence", func(d map[string]string) {
		remove("s", "a", "thread", "badge", "volume")(d)
		limit(64, "title", "body")(d)
		d["fetch"] = "1"
	}},
	{"all but the text", func(d map[string]string) { // only identifiers of absurd lengths come here
		remove("i", "n", "r", "u", "uk", "open")(d)
		limit(64, "d", "tag")(d)
	}},
}

func remove(keys ...string) func(map[string]string) {
	return func(d map[string]string) {
		for _, k := range keys {
			delete(d, k)
		}
	}
}

func limit(n int, keys ...string) func(map[string]string) {
	return func(d map[string]string) {
		for _, k := range keys {
			if v, ok := d[k]; ok {
				d[k] = push.CutRunes(v, n)
			}
		}
	}
}
