package event

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// maxString is how much of each string stays in details that are too big, bytes.
const maxString = 1 << 10

// TooDeep reports whether the nesting of a JSON text passes [MaxJSONDepth].
// It needs no valid JSON, so that it can stand before the parser.
func TooDeep(text []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxJSONDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// normaliseDetails returns details as one compact JSON object with sorted
// keys, no key twice (the last one wins) and at most [MaxDetails] bytes; nil
// when there are none. A value that is no object becomes {"value": …}. Numbers
// keep the digits that the sender wrote.
func normaliseDetails(details []byte) ([]byte, error) {
	if len(details) == 0 {
		return nil, nil
	}
	if TooDeep(details) {
		return nil, fault.InvalidField("custom_details", "must not be nested deeper than %d", MaxJSONDepth)
	}
	var value any
	dec := json.NewDecoder(bytes.NewReader(details))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return nil, fault.InvalidField("custom_details", "must be a JSON object").Because(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fault.InvalidField("custom_details", "must be one JSON object")
	}
	object, ok := value.(map[string]any)
	switch {
	case value == nil || (ok && len(object) == 0):
		return nil, nil
	case !ok:
		object = map[string]any{"value": value}
	}
	text, err := encode(object)
	switch {
	case err != nil:
		return nil, err
	case !ok && TooDeep(text):
		return nil, fault.InvalidField("custom_details", "must not be nested deeper than %d", MaxJSONDepth)
	case len(text) > MaxDetails:
		return truncate(object)
	}
	return text, nil
}

// truncate brings object under MaxDetails: first every long string is cut,
// then the largest top-level key goes until the rest fits.
func truncate(object map[string]any) ([]byte, error) {
	object = cutStrings(object).(map[string]any) //nolint:forcetypeassert,errcheck // an object stays one
	delete(object, "truncated")
	size := len(`{"truncated":true}`)
	sizes := make(map[string]int, len(object))
	for key, value := range object {
		text, err := encode(map[string]any{key: value})
		if err != nil {
			return nil, err
		}
		sizes[key] = len(text) - len("{}") + len(",")
		size += sizes[key]
	}
	largestFirst := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		return cmp.Or(sizes[b]-sizes[a], strings.Compare(a, b))
	})
	for _, key := range largestFirst {
		if size <= MaxDetails {
			break
		}
		delete(object, key)
		size -= sizes[key]
	}
	object["truncated"] = true
	return encode(object)
}

func cutStrings(value any) any {
	switch v := value.(type) {
	case string:
		return clipBytes(v, maxString)
	case []any:
		for i := range v {
			v[i] = cutStrings(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = cutStrings(v[key])
		}
	}
	return value
}

// encode writes JSON with sorted keys and without the escapes meant for HTML.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, fault.InvalidField("custom_details", "cannot be written as JSON").Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func checkDetails(details []byte) error {
	if len(details) == 0 {
		return nil
	}
	if len(details) > MaxDetails || details[0] != '{' || !json.Valid(details) || TooDeep(details) {
		return fault.InvalidField("custom_details", "must be a JSON object of at most %d bytes", MaxDetails)
	}
	return nil
}
