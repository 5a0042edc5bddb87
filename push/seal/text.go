package seal

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/tocsin-oncall/tocsin/push"
)

// Text is what a phone shows in the place of the minimal text that came in the
// clear. Its JSON is what is sealed; a phone ignores keys that it does not know.
type Text struct {
	Title    string            `json:"title,omitempty"`
	Subtitle string            `json:"subtitle,omitempty"`
	Body     string            `json:"body,omitempty"`
	Severity string            `json:"s,omitempty"`
	Details  map[string]string `json:"m,omitempty"`
	Links    []Link            `json:"links,omitempty"`
	// ActionToken acknowledges the one incident, see the field a of a push.
	ActionToken string `json:"a,omitempty"`
}

// Link is an address that the app may open: its host was allowed by whoever
// sealed the text.
type Link struct {
	Text string `json:"text,omitempty"`
	URL  string `json:"url"`
}

// Encode returns the JSON of the text, at most [MaxText] bytes. What has no
// room goes: details, links, the subtitle, then the ends of body and title.
func (t Text) Encode() []byte {
	cuts := []func(){
		func() { t.Details = nil },
		func() { t.Links = nil },
		func() { t.Subtitle = "" },
		func() { t.Body = push.CutRunes(t.Body, 178) },
		func() { t.Title, t.Body = push.CutRunes(t.Title, 64), push.CutRunes(t.Body, 100) },
		func() { t.Severity, t.ActionToken = "", "" }, // only absurd lengths come here
	}
	b := t.json()
	for i := 0; len(b) > MaxText && i < len(cuts); i++ {
		cuts[i]()
		b = t.json()
	}
	return b
}

// json leaves out the escapes that only HTML needs.
func (t Text) json() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(t) // strings alone cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// ParseText reads what [Text.Encode] made.
func ParseText(b []byte) (Text, error) {
	var t Text
	if err := json.Unmarshal(b, &t); err != nil {
		return Text{}, fmt.Errorf("seal: what was sealed is no text: %w", err)
	}
	return t, nil
}
