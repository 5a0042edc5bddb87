package grafana

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
)

// The rules of Grafana OnCall, as its source tells them. A shift is events of a
// calendar, all of the same length and at the same time of day on the wall.
// Those of rolling users go from group to group: by every interval of its
// frequency, counted from its start; in weeks, by the week that begins on
// week_start; in days of which only some are chosen, by chosen days. A schedule
// has everybody of the highest level that has anybody; overrides are above all.

var week = []string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"} //nolint:gochecknoglobals // look-up table

const day = 24 * time.Hour

func weekday(w importer.Wall) int { return (int(w.Weekday()) + 6) % 7 }

// check refuses what is no shift of Grafana OnCall's.
func (s shift) check() error {
	if s.Start.none() {
		return errors.New("start: is missing")
	}
	if s.Duration < 1 || s.Duration > 366*24*60*60 {
		return fmt.Errorf("duration: %d seconds is no length of a shift", s.Duration)
	}
	if s.Interval < 0 || s.Interval > 1000 {
		return fmt.Errorf("interval: %d is not within 1 to 1000", s.Interval)
	}
	for _, d := range s.Days {
		if !slices.Contains(week, d) {
			return fmt.Errorf("by_day: %q is none of %v", d, week)
		}
	}
	return nil
}

// single reports whether the shift is one event.
func (s shift) single() bool { return s.Type == "single_event" || s.Type == "override" || s.Unit == "" }

// unknown says what of the shift is not known to be rendered rightly here, "" for nothing.
func (s shift) unknown() string {
	switch {
	case s.single():
		return ""
	case len(s.Months) > 0:
		return "by_month"
	case len(s.Dates) > 0:
		return "by_monthday"
	case len(s.Days) > 0 && (s.Unit == "hourly" || s.Unit == "monthly"):
		return "by_day with the frequency " + s.Unit
	case !slices.Contains([]string{"hourly", "daily", "weekly", "monthly"}, s.Unit):
		return "the frequency " + s.Unit
	case s.Type == "recurrent_event" && s.Unit == "daily" && len(s.Days) > 0 && s.interval() > 1:
		return "by_day with an interval of days"
	}
	return ""
}

func (s shift) interval() int { return max(s.Interval, 1) }

func (s shift) length() time.Duration { return time.Duration(s.Duration) * time.Second }

// groups are who takes turns, the first one first.
func (s shift) groups() [][]string {
	if s.Type != "rolling_users" && len(s.Users) > 0 {
		return [][]string{s.Users}
	}
	if s.First > 0 && s.First < len(s.Groups) {
		return slices.Concat(s.Groups[s.First:], s.Groups[:s.First])
	}
	return s.Groups
}

// days are the chosen ones of a week, counted from week_start on.
func (s shift) days() (first int, chosen []int) {
	first = max(slices.Index(week, s.Week), 0)
	for i := range 7 {
		if slices.Contains(s.Days, week[(first+i)%7]) {
			chosen = append(chosen, i)
		}
	}
	return first, chosen
}

// start is the first event: on a chosen day.
func (s shift) start() importer.Wall {
	at := s.Start.Wall
	first, chosen := s.days()
	if len(chosen) == 0 || slices.Contains(s.Days, week[weekday(at)]) {
		return at
	}
	return at.AddDate(0, 0, ((first+chosen[0]-weekday(at))%7+7)%7)
}

// event is one event: its beginning and the number of its turn.
type event struct {
	at   importer.Wall
	turn int
}

// events are those that begin before an instant, from the first on.
func (s shift) events(zone *time.Location, before time.Time) []event {
	start, i := s.start(), s.interval()
	if s.single() {
		return []event{{start, 0}}
	}
	var all []event
	add := func(at importer.Wall, turn int) bool {
		begin := at.First(zone)
		if !begin.Before(before) || !s.Until.none() && begin.After(s.Until.First(time.UTC)) { // the end alone is in UTC
			return false
		}
		if s.From.none() || at.Sub(s.From.Wall) >= 0 {
			all = append(all, event{at, turn})
		}
		return true
	}
	first, chosen := s.days()
	switch {
	case s.Unit == "weekly":
		begin := start.AddDate(0, 0, -((weekday(start)-first)%7+7)%7)
		if len(chosen) == 0 {
			chosen = []int{int(start.Sub(begin) / day)}
		}
		for turn := 0; ; turn++ {
			for _, c := range chosen {
				at := begin.AddDate(0, 0, 7*turn*i+c)
				if at.Sub(start) >= 0 && !add(at, turn) {
					return all
				}
			}
		}
	case s.Unit == "daily" && len(chosen) > 0:
		for n, at := 0, start; ; at = at.AddDate(0, 0, 1) {
			if slices.Contains(s.Days, week[weekday(at)]) {
				if !add(at, n/i) {
					return all
				}
				n++
			}
		}
	case s.Unit == "monthly":
		for turn := 0; ; turn++ {
			at := start.AddDate(0, turn*i, 0)
			if at.Time().Day() == start.Time().Day() && !add(at, turn) {
				return all
			}
		}
	default:
		step := time.Duration(i) * time.Hour
		if s.Unit == "daily" {
			step *= 24
		}
		for turn := 0; ; turn++ {
			if !add(start.Add(time.Duration(turn)*step), turn) {
				return all
			}
		}
	}
}

// held is a stretch in which people of a shift are on call.
type held struct {
	importer.Window
	level int
	users []string
}

func (s shift) held(zone *time.Location, w importer.Window) []held {
	groups := s.groups()
	var all []held
	for _, e := range s.events(zone, w.To) {
		h := held{importer.Window{From: e.at.First(zone), To: e.at.Add(s.length()).First(zone)}, s.Level, nil}
		if s.Type == "override" {
			h.level = above
		}
		if len(groups) > 0 {
			h.users = groups[e.turn%len(groups)]
		}
		if h.To.After(w.From) {
			all = append(all, h)
		}
	}
	return all
}

// above is the level of overrides.
const above = 1000

// render returns the shifts of a schedule, people by their ids there.
func render(all []held, w importer.Window) []importer.Shift {
	var edges []time.Time
	for _, h := range all {
		edges = append(edges, h.From, h.To)
	}
	return importer.Sweep(w, edges, func(at time.Time) []string {
		var who []string
		top := -1
		for _, h := range all {
			if at.Before(h.From) || !at.Before(h.To) || len(h.users) == 0 || h.level < top {
				continue
			}
			if h.level > top {
				top, who = h.level, nil
			}
			who = append(who, h.users...)
		}
		return who
	})
}
