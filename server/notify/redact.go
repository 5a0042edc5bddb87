package notify

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// What no message may hold at any redaction level. Text comes
// from monitors that print whole command lines.
var (
	secretPair = regexp.MustCompile(`(?i)\b([a-z0-9_.-]*(?:token|passw(?:or)?d|passwd|secret|authorization|cookie|api[_-]?key|credential|private[_-]?key)[a-z0-9_.-]*)(["']?\s*[=:]\s*)("[^"]*"?|'[^']*'?|(?:bearer|basic|digest)\s+[^\s,;"']+|[^\s,;"']+)`)
	bearer     = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9+/._~=-]{8,}`)
	address    = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s"'<>]+`)
	email      = regexp.MustCompile(`(?i)\b[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+\b`)
)

const (
	hidden   = "[hidden]"
	maxQuery = 32 // a longer query string is no name of a page but a payload
)

// Scrub takes out of a line what must not leave in any message: values that
// look like credentials, user names and passwords in addresses, long query
// strings, and e-mail addresses.
func Scrub(s string) string {
	s = address.ReplaceAllStringFunc(s, scrubURL)
	s = secretPair.ReplaceAllString(s, "${1}${2}"+hidden)
	s = bearer.ReplaceAllString(s, "${1} "+hidden)
	return email.ReplaceAllString(s, hidden)
}

// scrubURL leaves of an address what names a page.
func scrubURL(s string) string {
	trail := s[len(strings.TrimRight(s, ".,;:!?)]}")):]
	u, err := url.Parse(strings.TrimSuffix(s, trail))
	if err != nil {
		return hidden
	}
	u.User = nil
	if len(u.RawQuery) > maxQuery || secretPair.MatchString(u.RawQuery) {
		u.RawQuery = ""
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String() + trail
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
