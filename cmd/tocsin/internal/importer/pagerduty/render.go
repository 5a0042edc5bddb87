package pagerduty

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
)

// The rules by which PagerDuty renders a schedule, as its documentation and
// clients tell them: the layers lie on each other, the first of the answer on
// top, and the top one that has somebody counts; overrides lie on all of them.
// Turns and restrictions are counted on the wall of the schedule's zone.

// shifts renders the schedule, people by their ids in PagerDuty.
func (r rota) shifts(covers []override, zone *time.Location, w importer.Window) []importer.Shift {
	edges := []time.Time{}
	for _, o := range covers {
		edges = append(edges, o.Start, o.End)
	}
	for _, l := range r.Layers {
		edges = append(edges, l.edges(zone, w)...)
	}
	return importer.Sweep(w, edges, func(at time.Time) []string {
		for _, o := range slices.Backward(covers) {
			if !at.Before(o.Start) && at.Before(o.End) {
				return []string{o.User.ID}
			}
		}
		for _, l := range r.Layers {
			if who := l.at(at, zone); who != "" {
				return []string{who}
			}
		}
		return nil
	})
}

// check refuses what is no layer of PagerDuty's and could not be rendered.
func (l layer) check() error {
	if y := l.First.Year(); y < 1970 || y > 2200 {
		return fmt.Errorf("rotation_virtual_start: %s is no date that a rotation begins at", l.First.Format(time.RFC3339))
	}
	if l.Turn < 60*60 || l.Turn > maxTurn {
		return fmt.Errorf("rotation_turn_length_seconds: %d is no length of a turn; they are hours to years", l.Turn)
	}
	for i, h := range l.Hours {
		if _, err := time.Parse(time.TimeOnly, h.Start); err != nil {
			return fmt.Errorf("restrictions[%d].start_time_of_day: %q is no time of day such as 08:00:00", i, h.Start)
		}
		if h.Length < 1 || h.Length > 7*24*60*60 {
			return fmt.Errorf("restrictions[%d].duration_seconds: %d is not within a week", i, h.Length)
		}
	}
	return nil
}

// maxTurn is three years, in seconds.
const maxTurn = 3 * 366 * 24 * 60 * 60

// at returns who has the layer at an instant, "" for nobody.
func (l layer) at(t time.Time, zone *time.Location) string {
	if len(l.Users) == 0 || t.Before(l.Start) || !l.End.IsZero() && !t.Before(l.End) || !l.open(t, zone) {
		return ""
	}
	turn := l.turn(t, zone)
	n := int64(len(l.Users))
	return l.Users[((turn%n)+n)%n].User.ID
}

// turn returns the number of the turn that an instant is in, by walking from a guess.
func (l layer) turn(t time.Time, zone *time.Location) int64 {
	first := importer.WallOf(l.First, zone)
	turn := int64(importer.WallOf(t, zone).Sub(first)/time.Second)/l.Turn - 1
	for !l.begin(turn+1, zone).After(t) {
		turn++
	}
	return turn
}

// begin returns when a turn begins.
func (l layer) begin(turn int64, zone *time.Location) time.Time {
	return importer.WallOf(l.First, zone).Add(time.Duration(turn*l.Turn) * time.Second).First(zone)
}

// open reports whether the restrictions let an instant through.
func (l layer) open(t time.Time, zone *time.Location) bool {
	if len(l.Hours) == 0 {
		return true
	}
	for _, s := range l.stretches(importer.Window{From: t, To: t.Add(time.Second)}, zone) {
		if !t.Before(s.From) && t.Before(s.To) {
			return true
		}
	}
	return false
}

// stretches returns the hours of the restrictions around a window.
func (l layer) stretches(w importer.Window, zone *time.Location) []importer.Window {
	var all []importer.Window
	for day := importer.WallOf(w.From, zone).Midnight().AddDate(0, 0, -9); day.First(zone).Before(w.To); day = day.AddDate(0, 0, 1) {
		for _, h := range l.Hours {
			if h.Type == "weekly_restriction" && isoDay(day.Weekday()) != h.Day {
				continue
			}
			start, _ := time.Parse(time.TimeOnly, h.Start) // check has read it
			from := day.Add(start.Sub(start.Truncate(24 * time.Hour)))
			all = append(all, importer.Window{From: from.First(zone), To: from.Add(time.Duration(h.Length) * time.Second).Last(zone)})
		}
	}
	return all
}

// edges are the instants at which somebody else may have the layer.
func (l layer) edges(zone *time.Location, w importer.Window) []time.Time {
	edges := []time.Time{l.Start, l.End}
	if len(l.Users) > 0 {
		for turn := l.turn(w.From, zone); ; turn++ {
			at := l.begin(turn, zone)
			if !at.Before(w.To) {
				break
			}
			edges = append(edges, at)
		}
	}
	for _, s := range l.stretches(w, zone) {
		edges = append(edges, s.From, s.To)
	}
	return edges
}

func isoDay(d time.Weekday) int { return (int(d)+6)%7 + 1 }
