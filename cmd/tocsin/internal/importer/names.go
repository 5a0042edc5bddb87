package importer

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

const (
	maxID   = 50 // of the 63 that an id may have, so that a number fits behind it
	maxName = 100
)

// IDs gives records of one kind their ids here: readable ones, made of names.
type IDs struct {
	taken map[string]bool
	known map[string]string // by the id in the source
}

// Reserve keeps an id from being given to anybody.
func (s *IDs) Reserve(id string) {
	if s.taken == nil {
		s.taken, s.known = map[string]bool{}, map[string]string{}
	}
	s.taken[id] = true
}

// New returns the id of a record that the source knows by an id and a name.
// Asked again for the same record, it is the same.
func (s *IDs) New(source, name string) string {
	if id, ok := s.known[source]; ok {
		return id
	}
	base := Slug(name)
	if base == "" {
		base = Slug(source)
	}
	if base == "" {
		base = "x"
	}
	id := base
	for n := 2; s.taken[id]; n++ {
		id = base + "-" + strconv.Itoa(n)
	}
	s.Reserve(id)
	s.known[source] = id
	return id
}

// Of returns the id that was given to a record of the source.
func (s *IDs) Of(source string) (string, bool) {
	id, ok := s.known[source]
	return id, ok
}

// Slug makes of a name what an id may be: small letters of English, digits and
// single dashes. Accents are dropped. It is empty when nothing is left.
func Slug(name string) string {
	var b strings.Builder
	dash := false
	for _, r := range norm.NFD.String(strings.ToLower(name)) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r): // the accent of the letter before
		default:
			dash = true
		}
		if b.Len() >= maxID {
			break
		}
	}
	return b.String()
}

// Name makes of a name what one may be here: one line of at most 100
// characters, and not empty.
func Name(name, otherwise string) string {
	runes := []rune(oneLine(name))
	if len(runes) == 0 {
		return otherwise
	}
	return strings.TrimSpace(string(runes[:min(len(runes), maxName)]))
}

// oneLine makes all white space and control characters single blanks.
func oneLine(text string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return strings.Join(strings.Fields(clean), " ")
}

// Lasting writes a duration as documents have it: 5m, 1h30m, 24h.
func Lasting(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
