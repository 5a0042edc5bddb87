package opsgenie

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
)

// The rules of Opsgenie, as its documentation and client tell them: all
// rotations of a schedule are on call at once, each with its participant whose
// turn it is, in the schedule's zone; an override takes the place of the
// rotations that it names, of all when it names none, for all of its time.

var days = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"} //nolint:gochecknoglobals // look-up table

func dayOf(name string) int { return slices.Index(days, strings.ToLower(name)) }

// turn is the length of a turn on the wall; 0 for a type that is not known.
func (r rotation) turn() time.Duration {
	length := time.Duration(max(r.Length, 1))
	switch r.Type {
	case "hourly":
		return length * time.Hour
	case "daily":
		return length * 24 * time.Hour
	case "weekly":
		return length * 7 * 24 * time.Hour
	default:
		return 0
	}
}

func (r rotation) check() error {
	if y := r.Start.Year(); y < 1970 || y > 2200 {
		return fmt.Errorf("startDate: %s is no date that a rotation begins at", r.Start.Format(time.RFC3339))
	}
	if r.turn() == 0 {
		return fmt.Errorf("type: %q is none of hourly, daily and weekly", r.Type)
	}
	if r.Length > 1000 {
		return fmt.Errorf("length: %d is more than 1000", r.Length)
	}
	for _, h := range r.hours() {
		for _, n := range []int{h.StartHour, h.EndHour} {
			if n < 0 || n > 24 {
				return fmt.Errorf("timeRestriction: hour %d is not within a day", n)
			}
		}
		if h.StartMin < 0 || h.StartMin > 59 || h.EndMin < 0 || h.EndMin > 59 {
			return errors.New("timeRestriction: a minute is not within an hour")
		}
		if r.Hours.Type != "time-of-day" && (dayOf(h.StartDay) < 0 || dayOf(h.EndDay) < 0) {
			return fmt.Errorf("timeRestriction: %q to %q are no days of the week", h.StartDay, h.EndDay)
		}
	}
	return nil
}

func (r rotation) hours() []hours {
	switch {
	case r.Hours == nil:
		return nil
	case r.Hours.Type == "time-of-day":
		return []hours{r.Hours.One}
	default:
		return r.Hours.Many
	}
}

// span is where in the day, or in the week from Monday on, the hours begin, and
// how long they last.
func (h hours) span(weekly bool) (start, length time.Duration) {
	at := func(hour, minute int) time.Duration {
		return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	}
	start, end := at(h.StartHour, h.StartMin), at(h.EndHour, h.EndMin)
	round := 24 * time.Hour
	if weekly {
		start += time.Duration(dayOf(h.StartDay)) * 24 * time.Hour
		end += time.Duration(dayOf(h.EndDay)) * 24 * time.Hour
		round *= 7
	}
	start %= round // 24:30 is half an hour past midnight
	if end <= start {
		end += round
	}
	return start, end - start
}

// begin is when a turn begins.
func (r rotation) begin(turn int64, zone *time.Location) time.Time {
	return importer.WallOf(r.Start, zone).Add(time.Duration(turn) * r.turn()).First(zone)
}

func (r rotation) number(t time.Time, zone *time.Location) int64 {
	turn := int64(importer.WallOf(t, zone).Sub(importer.WallOf(r.Start, zone))/r.turn()) - 2
	for !r.begin(turn+1, zone).After(t) {
		turn++
	}
	return turn
}

// holder returns who has the turn, nil for nobody.
func (r rotation) holder(t time.Time, zone *time.Location, open []importer.Window) *named {
	inside := func(w importer.Window) bool { return !t.Before(w.From) && t.Before(w.To) }
	if t.Before(r.Start) || !r.End.IsZero() && !t.Before(r.End) || len(r.Participants) == 0 || r.Hours != nil && !slices.ContainsFunc(open, inside) {
		return nil
	}
	n := int64(len(r.Participants))
	return &r.Participants[((r.number(t, zone)%n)+n)%n]
}

// stretches are the hours of the rotation around a window.
func (r rotation) stretches(w importer.Window, zone *time.Location) []importer.Window {
	var all []importer.Window
	for _, h := range r.hours() {
		weekly := r.Hours.Type != "time-of-day"
		start, length := h.span(weekly)
		step := 1
		day := importer.WallOf(w.From, zone).Midnight().AddDate(0, 0, -2)
		if weekly {
			step = 7
			day = day.AddDate(0, 0, -14-(int(day.Weekday())+6)%7)
		}
		for ; day.First(zone).Before(w.To); day = day.AddDate(0, 0, step) {
			all = append(all, importer.Window{From: day.Add(start).First(zone), To: day.Add(start + length).Last(zone)})
		}
	}
	return all
}

// shifts renders the schedule; who tells the key of a participant.
func (s rota) shifts(overrides []override, zone *time.Location, w importer.Window, who func(named) string) []importer.Shift {
	var edges []time.Time
	for _, o := range overrides {
		edges = append(edges, o.Start, o.End)
	}
	open := make([][]importer.Window, len(s.Rotations))
	for i, r := range s.Rotations {
		edges = append(edges, r.Start, r.End)
		open[i] = r.stretches(w, zone)
		for _, x := range open[i] {
			edges = append(edges, x.From, x.To)
		}
		for turn := r.number(w.From, zone); ; turn++ {
			at := r.begin(turn, zone)
			if !at.Before(w.To) {
				break
			}
			edges = append(edges, at)
		}
	}
	return importer.Sweep(w, edges, func(at time.Time) []string {
		var all []string
		for i, r := range s.Rotations {
			if slices.ContainsFunc(overrides, func(o override) bool { return o.replaces(r) && !at.Before(o.Start) && at.Before(o.End) }) {
				continue
			}
			if p := r.holder(at, zone, open[i]); p != nil && p.Type != "none" {
				all = append(all, who(*p))
			}
		}
		for _, o := range overrides {
			if !at.Before(o.Start) && at.Before(o.End) && o.User.Type != "none" {
				all = append(all, who(o.User))
			}
		}
		return all
	})
}

// replaces reports whether the override takes the place of the rotation.
func (o override) replaces(r rotation) bool {
	return len(o.Rotations) == 0 || slices.ContainsFunc(o.Rotations, func(n named) bool { return n.ID == r.ID })
}
