package config

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Problem is one thing that is wrong: where it was given, under which key,
// and what to do about it.
type Problem struct {
	Source string // "tocsin.yaml:12", "TOCSIN_LISTEN", "--set"; "" when it was not given at all
	Key    string // "smtp.host", "push.apps[0].key_id"
	Fix    string // a sentence without a full stop
}

func (p Problem) String() string {
	s := p.Fix
	if p.Key != "" {
		s = p.Key + ": " + s
	}
	if p.Source != "" {
		s = p.Source + ": " + s
	}
	return s
}

// Problems is everything that is wrong with a configuration, one line each.
type Problems []Problem //nolint:errname // what it is a list of says more than a suffix

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// elsewhere are keys that people look for here, and where they are.
var elsewhere = map[string]string{ //nolint:gochecknoglobals // look-up table
	"users": "", "people": "", "teams": "", "services": "", "policies": "", "escalation_policies": "",
	"settings": "", "catch_all": "", "integrations": "",
}

// unknownKey says that nobody reads name, and which of the known names may be meant.
func unknownKey(name, full string, known []string) string {
	if _, ok := elsewhere[name]; ok {
		return "belongs to the organisation: put it into the file of `tocsin apply -f`"
	}
	best := nearest(name, known)
	if best == "" {
		return "there is no such key; known here: " + strings.Join(known, ", ")
	}
	return "there is no such key; did you mean " + strings.TrimSuffix(full, name) + best + "?"
}

// nearest returns the known name with the least edit distance from name, or
// "" when more than half of it would have to change.
func nearest(name string, known []string) string {
	best, least := "", len(name)/2+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}
