package notify

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// secretWords are in the names of what is secret.
const secretWords = `(?:token|passw(?:or)?d|passwd|passphrase|secret|authorization|cookie|api[_-]?key|credential|private[_-]?key)`

// secrets are what no message may hold at any redaction level: the value behind
// each label. Text comes from monitors that print whole command lines, requests,
// and JSON inside of JSON.
var secrets = []struct{ label, value *regexp.Regexp }{ //nolint:gochecknoglobals // look-up table
	{ // password=…, "token": "…"
		regexp.MustCompile(`(?i)\b[a-z0-9_.-]*` + secretWords + `[a-z0-9_.-]*\\*["']?\s*[=:]\s*`),
		regexp.MustCompile(`(?i)^(?:\\+"[^"]*"?|\\+'[^']*'?|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|(?:bearer|basic|digest)\s+[^\s,;"']+|[^\s,;"']+)`),
	},
	{ // Headers of several words, of which any may be the secret: all of it, up to the quote or the end of the line.
		regexp.MustCompile(`(?i)\b(?:(?:proxy-)?authorization|(?:set-)?cookie)\s*:\s*`), regexp.MustCompile(`^[^"'\\\n]+`),
	},
	{ // --password …
		regexp.MustCompile(`(?i)--?[a-z0-9_-]*` + secretWords + `[a-z0-9_-]*\s+`), regexp.MustCompile(`^(?:"[^"]*"?|'[^']*'?|[^\s"'-][^\s"']*)`),
	},
	{regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+`), regexp.MustCompile(`(?i)^[a-z0-9+/._~=-]{8,}`)},
}

var (
	secretName = regexp.MustCompile(`(?i)` + secretWords)
	email      = regexp.MustCompile(`(?i)\b[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+\b`)
	address    = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s"'<>]+`)
)

const (
	hidden   = "[hidden]"
	maxQuery = 32 // a longer query string is no name of a page but a payload
)

// Scrub takes out of a line what must not leave in any message: values that
// look like credentials, user names and passwords in addresses, long query
// strings, and e-mail addresses.
func Scrub(s string) string {
	if harmless(s) {
		return s
	}
	return scrub(s)
}

// stems are what every label of a secret has one of, in lower case.
var stems = []string{ //nolint:gochecknoglobals // look-up table
	"token", "passw", "passphrase", "secret", "authorization", "cookie", "api", "credential", "private", "bearer", "basic",
}

// harmless reports whether no rule can find anything in the line, which is so of
// most: the expressions are a sixth of what a page costs. Letters that are not
// ASCII may stand for some that are, so such a line is looked at closely.
func harmless(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf || s[i] == '@' {
			return false
		}
	}
	if strings.Contains(s, "://") {
		return false
	}
	lower := strings.ToLower(s)
	return !slices.ContainsFunc(stems, func(stem string) bool { return strings.Contains(lower, stem) })
}

// scrub is Scrub for any line.
func scrub(s string) string {
	s = address.ReplaceAllStringFunc(s, scrubURL)
	// Labels are looked for before anything is hidden: what stands behind one
	// may be the label of the next.
	secret := make([]bool, len(s))
	hide := func(from, to int) {
		for i := from; i < to; i++ {
			secret[i] = true
		}
	}
	for _, at := range email.FindAllStringIndex(s, -1) {
		hide(at[0], at[1])
	}
	for _, rule := range secrets {
		for _, label := range rule.label.FindAllStringIndex(s, -1) {
			if value := rule.value.FindStringIndex(s[label[1]:]); value != nil {
				hide(label[1], label[1]+value[1])
			}
		}
	}
	var b strings.Builder
	for i := range len(s) {
		switch {
		case !secret[i]:
			b.WriteByte(s[i])
		case i == 0 || !secret[i-1]:
			b.WriteString(hidden)
		}
	}
	return b.String()
}

// scrubURL leaves of an address what names a page.
func scrubURL(s string) string {
	trail := s[len(strings.TrimRight(s, ".,;:!?)]}")):]
	u, err := url.Parse(strings.TrimSuffix(s, trail))
	if err != nil {
		return hidden
	}
	u.User = nil
	if len(u.RawQuery) > maxQuery || tells(u.RawQuery) {
		u.RawQuery = ""
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String() + trail
}

// tells reports whether a query string names a secret, however it is spelt. One
// that cannot be read may.
func tells(query string) bool {
	values, err := url.ParseQuery(query)
	for name := range values {
		if secretName.MatchString(name) {
			return true
		}
	}
	return err != nil
}

// strictest returns the redaction level that applies: the strictest of those
// set. A person and a service may only go stricter than the installation.
func strictest(levels ...roster.Privacy) roster.Privacy {
	p := roster.PrivacyFull
	for _, l := range levels {
		p = max(p, l)
	}
	return p
}
