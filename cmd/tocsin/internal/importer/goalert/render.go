package goalert

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
)

// The rules of GoAlert, as its source tells them. A rotation hands over on the
// wall of its own zone, counted from its start; monthly ones by the calendar, on
// which 31 January and one month is 3 March. Who has the turn is not computed
// but kept: the index of the active user. A schedule has the people of all its
// rules that are active, in its own zone; overrides replace, remove or add
// people; a temporary schedule takes the place of all that.

// turns is a rotation whose present turn is known.
type turns struct {
	rotation
	zone   *time.Location
	first  importer.Wall
	active int64 // the turn that the active user has
}

// compile checks the rotation, and finds the turn that the active user has.
func (r rotation) compile(now time.Time) (*turns, error) {
	zone, err := time.LoadLocation(r.TimeZone)
	if err != nil || r.TimeZone == "" {
		return nil, fmt.Errorf("rotation %s (%s): timeZone: %q is not known", r.Name, r.ID, r.TimeZone)
	}
	if y := r.Start.Year(); y < 1970 || y > 2200 {
		return nil, fmt.Errorf("rotation %s (%s): start: %s is no date that a rotation begins at", r.Name, r.ID, r.Start.Format(time.RFC3339))
	}
	r.Length = max(r.Length, 1)
	if r.Length > 1000 {
		return nil, fmt.Errorf("rotation %s (%s): shiftLength: %d is more than 1000", r.Name, r.ID, r.Length)
	}
	if r.span() == 0 && r.Type != "monthly" {
		return nil, fmt.Errorf("rotation %s (%s): type: %q is none of hourly, daily, weekly and monthly", r.Name, r.ID, r.Type)
	}
	t := &turns{rotation: r, zone: zone, first: importer.WallOf(r.Start.Truncate(time.Minute), zone)}
	if len(r.Next) > 0 && r.Next[0].Year() >= 1970 && r.Next[0].Year() <= 2200 {
		now = r.Next[0].Add(-time.Minute) // the answer was given during the turn that ends there
	}
	t.active = t.at(now)
	return t, nil
}

// span is the length of a turn on the wall; 0 for months.
func (r rotation) span() time.Duration {
	switch r.Type {
	case "hourly":
		return time.Duration(r.Length) * time.Hour
	case "daily":
		return time.Duration(r.Length) * 24 * time.Hour
	case "weekly":
		return time.Duration(r.Length) * 7 * 24 * time.Hour
	default:
		return 0
	}
}

// begin is when a turn begins.
func (t *turns) begin(turn int64) time.Time {
	if t.Type == "monthly" {
		return t.first.AddDate(0, int(turn)*t.Length, 0).First(t.zone)
	}
	return t.first.Add(time.Duration(turn) * t.span()).First(t.zone)
}

// at returns the number of the turn that an instant is in.
func (t *turns) at(now time.Time) int64 {
	wall := importer.WallOf(now, t.zone)
	var turn int64
	if t.Type == "monthly" {
		a, b := t.first.Time(), wall.Time()
		turn = int64((b.Year()-a.Year())*12+int(b.Month())-int(a.Month())) / int64(t.Length)
	} else {
		turn = int64(wall.Sub(t.first) / t.span())
	}
	turn -= 2
	for !t.begin(turn + 1).After(now) {
		turn++
	}
	return turn
}

// user returns who has the turn at an instant.
func (t *turns) user(now time.Time) string {
	n := int64(len(t.Users))
	if n == 0 {
		return ""
	}
	return t.Users[(((t.at(now)-t.active+int64(t.Active))%n)+n)%n]
}

func (t *turns) edges(w importer.Window) []time.Time {
	var all []time.Time
	for turn := t.at(w.From); ; turn++ {
		at := t.begin(turn)
		if !at.Before(w.To) {
			return all
		}
		all = append(all, at)
	}
}

// stretches are when a rule is active around a window.
func (r rule) stretches(w importer.Window, zone *time.Location) []importer.Window {
	start, end := clock(r.Start), clock(r.End)
	if start >= end {
		end += 24 * time.Hour
	}
	var all []importer.Window
	for day := importer.WallOf(w.From, zone).Midnight().AddDate(0, 0, -2); day.First(zone).Before(w.To); day = day.AddDate(0, 0, 1) {
		if r.Days[day.Weekday()] {
			all = append(all, importer.Window{From: day.Add(start).First(zone), To: day.Add(end).Last(zone)})
		}
	}
	return all
}

// always reports whether a rule never ends.
func (r rule) always() bool {
	return !slices.Contains(r.Days[:], false) && clock(r.Start) == clock(r.End)
}

func clock(text string) time.Duration {
	t, _ := time.Parse("15:04", text) // the check of the schedule has read it
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
}

func (r rule) check() error {
	for _, text := range []string{r.Start, r.End} {
		if _, err := time.Parse("15:04", text); err != nil {
			return fmt.Errorf("%q is no time of day such as 08:00", text)
		}
	}
	return nil
}

// shifts renders a schedule, people by their ids in GoAlert.
func (s rota) shifts(rotations map[string]*turns, overrides []override, zone *time.Location, w importer.Window) []importer.Shift {
	var edges []time.Time
	for _, t := range s.Temporary {
		edges = append(edges, t.Start, t.End)
		for _, x := range t.Shifts {
			edges = append(edges, x.Start, x.End)
		}
	}
	for _, o := range overrides {
		edges = append(edges, o.Start, o.End)
	}
	active := make([][]importer.Window, len(s.Targets)) // of all rules of the target
	for i, t := range s.Targets {
		for _, r := range t.Rules {
			if r.always() {
				active[i] = append(active[i], w)
				continue
			}
			active[i] = append(active[i], r.stretches(w, zone)...)
		}
		for _, a := range active[i] {
			edges = append(edges, a.From, a.To)
		}
		if r := rotations[t.Target.ID]; t.Target.Type == "rotation" && r != nil {
			edges = append(edges, r.edges(w)...)
		}
	}
	return importer.Sweep(w, edges, func(at time.Time) []string {
		for _, t := range s.Temporary {
			if within(at, t.Start, t.End) {
				return t.users(at)
			}
		}
		var who []string
		for i, t := range s.Targets {
			if !slices.ContainsFunc(active[i], func(a importer.Window) bool { return within(at, a.From, a.To) }) {
				continue
			}
			user := t.Target.ID
			if t.Target.Type == "rotation" {
				user = ""
				if r := rotations[t.Target.ID]; r != nil {
					user = r.user(at)
				}
			}
			if user = instead(user, overrides, at); user != "" {
				who = append(who, user)
			}
		}
		for _, o := range overrides {
			if o.Remove == "" && o.Add != "" && within(at, o.Start, o.End) {
				who = append(who, o.Add)
			}
		}
		return who
	})
}

func (t temporary) users(at time.Time) []string {
	var who []string
	for _, x := range t.Shifts {
		if within(at, x.Start, x.End) {
			who = append(who, x.User)
		}
	}
	return who
}

// instead returns who is on call in place of somebody: nobody when he is
// removed, unless he is replaced as well.
func instead(user string, overrides []override, at time.Time) string {
	out := user
	for _, o := range overrides {
		if o.Remove == user && within(at, o.Start, o.End) && (o.Add != "" || out == user) {
			out = o.Add
		}
	}
	return out
}

func within(at, start, end time.Time) bool { return !at.Before(start) && at.Before(end) }
