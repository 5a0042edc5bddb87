package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Reasons of the faults of this package.
const (
	ReasonBroken   = "BROKEN_BODY"    // not JSON, or cut on the wire
	ReasonTooLarge = "BODY_TOO_LARGE" // above the limit of the source, or a decompression bomb
)

// errNotObject says that a body is JSON, and no object.
var errNotObject = errors.New("the body is JSON but no object")

// prepare skips the byte order mark and the space around a body and makes it
// valid UTF-8, once, so that every parser sees the same text.
func prepare(body []byte) ([]byte, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\uFEFF")))
	if len(body) == 0 {
		return nil, fault.New(fault.Invalid, ReasonBroken, "the body is empty")
	}
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	return body, nil
}

// decodeObject reads a prepared body into v and overlooks fields of a wrong
// type: they stay empty. errNotObject: it is JSON of another form. Else the
// error is an Invalid fault.
func decodeObject(body []byte, v any) error {
	if event.TooDeep(body) {
		return fault.New(fault.Invalid, ReasonBroken, "the body is nested deeper than 64")
	}
	if body[0] != '{' {
		if !json.Valid(body) {
			return fault.New(fault.Invalid, ReasonBroken, "the body is not JSON")
		}
		return errNotObject
	}
	return overlook(json.Unmarshal(body, v))
}

// overlook drops the complaint that a field has a wrong type: encoding/json
// goes on behind it and fills the rest.
func overlook(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return fault.New(fault.Invalid, ReasonBroken, "the body is not JSON").Because(err)
}

// text is a JSON value read as text: strings as they are, numbers and booleans
// as written, null as "", lists and objects as their JSON.
type text string

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch b[0] {
	case '"':
		if inner := b[1 : len(b)-1]; bytes.IndexByte(inner, '\\') < 0 {
			*t = text(inner) // the common case, without a second parser
			return nil
		}
		return json.Unmarshal(b, (*string)(t))
	case 'n':
	case '{', '[':
		var compact bytes.Buffer
		if err := json.Compact(&compact, b); err == nil {
			*t = text(compact.String())
		}
	default:
		*t = text(b)
	}
	return nil
}

// object is a JSON object with its members read as text, beside its raw form.
// Empty members count as absent.
type object struct {
	raw     json.RawMessage // as sent, whatever its type; nil when absent or null
	members map[string]text
}

// UnmarshalJSON implements json.Unmarshaler. It never fails, and of a repeated
// key it leaves the last value, where a plain map would mix them.
func (o *object) UnmarshalJSON(b []byte) error {
	*o = object{}
	if b[0] == 'n' {
		return nil
	}
	o.raw = slices.Clone(b)
	if b[0] == '{' {
		return overlook(json.Unmarshal(b, &o.members))
	}
	return nil
}

// first returns the first member among names that is not blank.
func (o object) first(names ...string) string {
	for _, name := range names {
		if s := string(o.members[name]); strings.TrimSpace(s) != "" {
			return s
		}
	}
	return ""
}

// list is a JSON array; ok is false when the value was absent or something else.
type list[T any] struct {
	items []T
	ok    bool
}

// UnmarshalJSON implements json.Unmarshaler. Members of a wrong type stay zero.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	*l = list[T]{}
	if b[0] != '[' {
		return nil
	}
	l.ok = true
	return overlook(json.Unmarshal(b, &l.items))
}

// marshal writes details. They hold texts, numbers and JSON that was parsed
// before, so an error cannot be; if it were, the page goes out without them.
func marshal(details any) []byte {
	b, err := json.Marshal(details)
	if err != nil {
		return nil
	}
	return b
}

// link and image are how Events v2 and the generic source write them.
type (
	link struct {
		Href text `json:"href"`
		Text text `json:"text"`
	}
	image struct {
		Src  text `json:"src"`
		Href text `json:"href"`
		Alt  text `json:"alt"`
	}
)

func eventLinks(from []link) []event.Link {
	to := make([]event.Link, 0, len(from))
	for _, l := range from {
		to = append(to, event.Link{Href: string(l.Href), Text: string(l.Text)})
	}
	return to
}

func eventImages(from []image) []event.Image {
	to := make([]event.Image, 0, len(from))
	for _, i := range from {
		to = append(to, event.Image{Src: string(i.Src), Href: string(i.Href), Alt: string(i.Alt)})
	}
	return to
}
