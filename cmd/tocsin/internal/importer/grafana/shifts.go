package grafana

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// form is a shift as turns of ours: who has them, one place after the other,
// and the hours in which they count.
type form struct {
	rotation directory.RotationDoc
	places   [][]string
	hours    []directory.RestrictionDoc
}

// form returns the shift as turns; false when no turns of ours are the same.
func (s shift) form() (form, bool) {
	groups, i, length, start := s.groups(), s.interval(), s.length(), s.start()
	_, chosen := s.days()
	at := start.Time().Format("15:04")
	switch {
	case start.Time().Second() != 0 || length%time.Minute != 0:
		return form{}, false
	case s.Unit == "hourly":
		return turns("hours", start, groups, i, length, time.Hour)
	case s.Unit == "daily" && len(chosen) == 0:
		if length < day {
			f, _ := turns("days", start, groups, i, day, day)
			f.hours = []directory.RestrictionDoc{{Start: at, Length: importer.Lasting(length)}}
			return f, true
		}
		return turns("days", start, groups, i, length, day)
	case s.Unit == "daily":
		return s.chosenDays(start, groups)
	case s.Unit == "weekly":
		return s.weeks(start, groups, chosen)
	case s.Unit == "monthly" && start.Time().Day() <= 28 && length >= 28*day:
		return form{rotation: directory.RotationDoc{Unit: "months", Length: i, Handoff: start.String()}, places: groups}, true
	}
	return form{}, false
}

// turns are those of groups that are on call for a length in every interval of units.
func turns(unit string, start importer.Wall, groups [][]string, interval int, length, of time.Duration) (form, bool) {
	if length == time.Duration(interval)*of {
		return form{rotation: directory.RotationDoc{Unit: unit, Length: interval, Handoff: start.String()}, places: groups}, true
	}
	if length%of != 0 || length > time.Duration(interval)*of {
		return form{}, false
	}
	f := form{rotation: directory.RotationDoc{Unit: unit, Length: 1, Handoff: start.String()}}
	for _, g := range groups {
		for k := range interval {
			if time.Duration(k)*of < length {
				f.places = append(f.places, g)
			} else {
				f.places = append(f.places, nil)
			}
		}
	}
	return f, true
}

// chosenDays are turns of a day each, over as many weeks as it takes until they
// are the same again: the others are nobody's.
func (s shift) chosenDays(start importer.Wall, groups [][]string) (form, bool) {
	if s.length() > day || len(groups) == 0 {
		return form{}, false
	}
	f := form{rotation: directory.RotationDoc{Unit: "days", Length: 1, Handoff: start.String()}}
	if s.length() < day {
		f.hours = []directory.RestrictionDoc{{Start: start.Time().Format("15:04"), Length: importer.Lasting(s.length())}}
	}
	n := 0
	for at := start; len(f.places) == 0 || len(f.places)%7 != 0 || n%(len(groups)*s.interval()) != 0; at = at.AddDate(0, 0, 1) {
		if len(f.places) > schedule.MaxParticipants {
			return form{}, false
		}
		if !slices.Contains(s.Days, week[weekday(at)]) {
			f.places = append(f.places, nil)
			continue
		}
		f.places = append(f.places, groups[n/s.interval()%len(groups)])
		n++
	}
	return f, true
}

// weeks are turns of a week each that hand over at the first chosen day, so that
// no event lies across a hand-off.
func (s shift) weeks(start importer.Wall, groups [][]string, chosen []int) (form, bool) {
	first, _ := s.days()
	begin := start.AddDate(0, 0, -((weekday(start)-first)%7+7)%7)
	if len(chosen) == 0 {
		chosen = []int{int(start.Sub(begin) / day)}
	}
	handoff := begin.AddDate(0, 0, chosen[0])
	if len(chosen) == 1 && s.length() >= 7*day {
		return turns("weeks", handoff, groups, s.interval(), s.length(), 7*day)
	}
	if time.Duration(chosen[len(chosen)-1]-chosen[0])*day+s.length() > 7*day {
		return form{}, false
	}
	f, _ := turns("weeks", handoff, groups, s.interval(), 7*day, 7*day)
	hours := directory.RestrictionDoc{Start: start.Time().Format("15:04"), Length: importer.Lasting(s.length())}
	for _, c := range chosen {
		hours.Days = append(hours.Days, strings.ToLower(time.Weekday((first+c+1)%7).String()))
	}
	f.hours = []directory.RestrictionDoc{hours}
	return f, true
}

// layers carries over one shift: a layer for each person of its largest group.
func (m *mapping) layers(about string, s shift, zone *time.Location, name string, n int) []directory.LayerDoc {
	about += ", shift " + cmp.Or(s.Name, s.ID)
	l := directory.LayerDoc{Name: importer.Name(s.Name, ""), Priority: s.Level, TimeZone: name}
	begin, end := s.start().First(zone), time.Time{}
	if !s.From.none() && s.From.First(zone).After(begin) {
		begin = s.From.First(zone)
	}
	if !s.Until.none() {
		end = s.Until.First(time.UTC)
	}
	f, ok := form{}, true
	if s.single() {
		end = s.start().Add(s.length()).First(zone)
		f = form{rotation: directory.RotationDoc{Unit: "weeks", Handoff: s.start().String()}, places: s.groups()[:min(1, len(s.groups()))]}
		if s.Type == "override" {
			l.Priority = above
		}
	} else if f, ok = s.form(); !ok {
		m.Note(about, fmt.Sprintf("events of %s, %s, interval %d have no turns that are the same", importer.Lasting(s.length()), s.Unit, s.interval()), "make the layer by hand")
	}
	if !end.IsZero() && (!end.After(m.Window.From) || !begin.Before(end)) || !ok {
		return nil
	}
	if s.single() {
		m.Note(about, "stands as a layer that begins and ends", "take it out of the document after "+importer.Moment(end))
	}
	if begin.After(m.Window.From) {
		l.Start = importer.Moment(begin)
	}
	if !end.IsZero() {
		l.End = importer.Moment(end)
	}
	l.Rotation, l.Restrictions = f.rotation, f.hours
	var all []directory.LayerDoc
	for k := range slices.MaxFunc(append([][]string{nil}, f.places...), func(a, b []string) int { return cmp.Compare(len(a), len(b)) }) {
		var sources []string
		for _, place := range f.places {
			who := ""
			if k < len(place) {
				who = place[k]
			}
			sources = append(sources, who)
		}
		one := l
		one.ID = fmt.Sprintf("%.40s-%d", cmp.Or(importer.Slug(s.Name), "shift"), n+len(all)+1)
		if one.Participants = m.Participants(about, sources); one.Participants != nil {
			all = append(all, one)
		}
	}
	return all
}
