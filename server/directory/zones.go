package directory

import (
	"sync"
	"time"
)

// zones remembers time zones: loading one reads and parses its whole history.
// There are some 600 names, so it needs no limit; unknown names are not kept.
type zones struct{ known sync.Map }

func (z *zones) get(name string) (*time.Location, bool) {
	if l, ok := z.known.Load(name); ok {
		loc, ok := l.(*time.Location)
		return loc, ok
	}
	if name == "" || name == "Local" { // the server's own zone is nobody's
		return time.UTC, name == ""
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC, false
	}
	z.known.Store(name, loc)
	return loc, true
}

// Zone returns an IANA zone; UTC for a name that is not known.
func (s *Snapshot) Zone(name string) *time.Location {
	loc, _ := s.zones.get(name)
	return loc
}
