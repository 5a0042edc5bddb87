package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const ellipsis = "…"

// Key returns key in its stored form: trimmed, in Unicode normal form C, and
// as it is while it has at most [MaxKey] bytes and no control characters.
// Else it is "<source>:sha256:<hex of the whole key>": a cut key would make
// two conditions one. An empty key stays empty.
func Key(source, key string) string {
	key = norm.NFC.String(strings.TrimSpace(strings.ToValidUTF8(key, "\uFFFD")))
	if len(key) <= MaxKey && !strings.ContainsFunc(key, unwanted) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return source + ":sha256:" + hex.EncodeToString(sum[:])
}

// keyPrefix is the name of the source that a mapper has put before the first
// colon of key, or "key".
func keyPrefix(key string) string {
	prefix, _, ok := strings.Cut(key, ":")
	if !ok || prefix == "" || len(prefix) > 32 || strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return "key"
	}
	return prefix
}

// StableKey makes the dedup key of an event that has none, out of what says
// which condition it is about. An event sent again gets the same key, so it is
// no second page. e should have been through [Normalise] but for its key.
func StableKey(integration string, e Event) string {
	h := sha256.New()
	for _, part := range []string{integration, e.Source, e.Class, e.Component, e.Summary} {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return "auto:" + hex.EncodeToString(h.Sum(nil)[:16])
}

// unwanted reports what no stored line of text may hold: control characters
// other than the tab, and the line ends of Unicode.
func unwanted(r rune) bool {
	return r != '\t' && (unicode.IsControl(r) || r == '\u2028' || r == '\u2029')
}

// line makes one trimmed line of valid UTF-8 of s.
func line(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\u2028' || r == '\u2029':
			return ' '
		case unwanted(r):
			return -1
		}
		return r // of a byte that is no UTF-8: U+FFFD
	}, s))
}

// clip cuts s to limit runes, the last of which is an ellipsis then.
func clip(s string, limit int) string { //nolint:unparam // two limits, of which both are 1024 today
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	seen := 0
	for at := range s {
		if seen++; seen == limit {
			return s[:at] + ellipsis
		}
	}
	return s
}

// clipBytes cuts s to limit bytes at a rune border, the ellipsis included.
func clipBytes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	at := limit - len(ellipsis)
	for at > 0 && !utf8.RuneStart(s[at]) {
		at--
	}
	return s[:at] + ellipsis
}

// isLine reports whether s is a line as [line] and [clip] leave it.
func isLine(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, unwanted) && strings.TrimSpace(s) == s
}
