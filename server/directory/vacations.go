package directory

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Vacations is a person's calendar of absences: its address, sealed, and what
// was last read there. What an entry of it is called is nobody's affair, and not kept.
type Vacations struct {
	User   roster.UserID
	Sealed []byte // the address, see [Directory.SealCalendar]
	Host   string // of the address, to tell two apart
	Away   []Away // in order
	Meta
}

// Away is when somebody is away.
type Away struct {
	Start time.Time `json:"start"` // [Start, End)
	End   time.Time `json:"end"`
}

func (v *Vacations) key() Key       { return Key{KindVacations, string(v.User)} }
func (v *Vacations) meta() *Meta    { return &v.Meta }
func (v *Vacations) copied() Record { c := *v; return &c }

func (v *Vacations) refs(f func(string, Key)) { refPerson(v.User, "user", f) }

// AbsencesAhead is how far ahead absences are kept.
const AbsencesAhead = 180 * 24 * time.Hour

// maxAway is how many absences of a person are kept.
const maxAway = 500

func (c *checker) vacations(v *Vacations) {
	if len(v.Sealed) == 0 {
		c.bad("url", "a calendar needs an address")
	}
	if len(v.Away) > maxAway {
		c.bad("url", "the calendar has %d absences in the next half year; at most %d are kept", len(v.Away), maxAway)
	}
	for _, a := range v.Away {
		if !a.Start.Before(a.End) {
			c.bad("url", "an absence ends before it begins")
		}
	}
}

// GetVacations returns a person's calendar of absences.
func (s *Snapshot) GetVacations(id roster.UserID) (*Vacations, bool) {
	return find[*Vacations](s, KindVacations, string(id))
}

// SetVacations keeps a person's calendar in place of the one before.
func (e *Edit) SetVacations(v *Vacations) error {
	if !e.Exists(Key{KindUser, string(v.User)}) {
		return notFound(Key{KindUser, string(v.User)})
	}
	if _, ok := e.GetVacations(v.User); ok {
		return e.Update(v, "")
	}
	return e.Create(v)
}

// SealCalendar returns the address of a person's calendar as it is stored.
func (d *Directory) SealCalendar(user roster.UserID, url string) ([]byte, error) {
	name := Key{KindVacations, string(user)}.String()
	sealed, err := d.secrets.Seal([]byte(url), name)
	if err != nil {
		return nil, fmt.Errorf("seal the address of %s: %w", name, err)
	}
	return sealed, nil
}

// OpenCalendar returns the address of a person's calendar.
func (d *Directory) OpenCalendar(v *Vacations) (string, error) {
	url, err := d.secrets.Open(v.Sealed, v.key().String())
	if err != nil {
		return "", fmt.Errorf("open the address of %s: %w", v.key(), err)
	}
	return string(url), nil
}

// KeepAbsences keeps what was read of a person's calendar, unless its address has
// changed since: then it was another's.
func (e *Edit) KeepAbsences(of *Vacations, away []Away) error {
	v, ok := e.GetVacations(of.User)
	if !ok || !bytes.Equal(v.Sealed, of.Sealed) {
		return nil
	}
	c := *v
	c.Away = away
	return e.Update(&c, "")
}

// AbsencesOf returns when a person is away, by his calendar.
func (s *Snapshot) AbsencesOf(id roster.UserID) []schedule.Absence {
	v, ok := s.GetVacations(id)
	if !ok {
		return nil
	}
	all := make([]schedule.Absence, len(v.Away))
	for i, a := range v.Away {
		all[i] = schedule.Absence{User: id, Start: a.Start, End: a.End}
	}
	return all
}

// AwayOnCall returns where a person is on call between two instants while he is
// away by his calendar, in order.
func (s *Snapshot) AwayOnCall(id roster.UserID, from, to time.Time) []schedule.Conflict {
	away := s.AbsencesOf(id)
	if len(away) == 0 {
		return nil
	}
	return s.Away(id, away, from, to)
}

// Away is AwayOnCall for absences that are not kept.
func (s *Snapshot) Away(id roster.UserID, away []schedule.Absence, from, to time.Time) []schedule.Conflict {
	plan := schedule.Plan{Absences: away}
	for _, by := range s.SchedulesOf(id) {
		if turns, err := s.Turns(by); err == nil { // a zone that is not known here: paging by it says so
			plan.Stints = append(plan.Stints, turns.Held(id, from, to)...)
		}
	}
	return slices.DeleteFunc(plan.Conflicts(), func(c schedule.Conflict) bool { return c.Kind != schedule.OnVacation })
}

// AwayWords says one of AwayOnCall to others, in a sentence on the wall of a zone.
func AwayWords(c schedule.Conflict, zone *time.Location) string {
	const form = "Mon 2 Jan 15:04"
	return "away by the calendar and on call from " + c.Start.In(zone).Format(form) + " to " + c.End.In(zone).Format(form+" MST")
}
