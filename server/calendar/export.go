package calendar

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-ical"

	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// How much of a schedule a feed shows.
const (
	Past   = 30 * 24 * time.Hour
	Future = 180 * 24 * time.Hour
	// margin is how far beyond that a stint is followed, so that where it begins
	// and ends does not depend on when it is asked for.
	margin = 62 * 24 * time.Hour
)

// Event is one stint of one person.
type Event struct {
	Start, End time.Time // [Start, End)
	User       roster.UserID
	Schedule   schedule.ID
	Source     string    // the layer or the override that it begins with
	Given      time.Time // when it became his
}

// Events returns the stints of a schedule that a feed shows at an instant, whole
// and in order: shifts of one person that follow each other are one event.
//
// One that goes on for more than a month beyond what is shown is cut at the
// beginning of a month, so that the feed of somebody who is always on call
// changes once a month and not with every look.
func Events(r *schedule.Resolver, now time.Time) []Event {
	from, to := now.Add(-Past), now.Add(Future)
	var all []Event
	for _, s := range r.Render(monthOf(from.Add(-margin)), monthOf(to.Add(margin))) {
		given := r.Given(s)
		if n := len(all); n > 0 && all[n-1].User == s.User && all[n-1].End.Equal(s.Start) {
			all[n-1].End = s.End
			if given.After(all[n-1].Given) {
				all[n-1].Given = given
			}
			continue
		}
		all = append(all, Event{s.Start, s.End, s.User, r.Schedule().ID, source(s), given})
	}
	return slices.DeleteFunc(all, func(e Event) bool { return !e.End.After(from) || !e.Start.Before(to) })
}

func source(s schedule.Shift) string {
	if s.Override != "" {
		return string(s.Override)
	}
	return string(s.Layer)
}

// monthOf returns the first instant of the month in UTC.
func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// uid names the event; whoever holds the stint, it stays the same.
func (e Event) uid() string {
	return fmt.Sprintf("shift-%s-%s-%s@tocsin", e.Schedule, e.Start.UTC().Format("20060102T150405Z"), e.Source)
}

// sequence rises whenever the stint is given to another: seconds since 2020, as
// iCalendar numbers have 31 bits.
func (e Event) sequence() int64 {
	return max(0, e.Given.Unix()-time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
}

// Write returns the calendar of that name with the events. summary says what is
// shown of each. The same events give the same bytes.
func Write(name string, events []Event, summary func(Event) string) ([]byte, error) {
	cal := ical.NewCalendar()
	cal.Props.SetText(ical.PropVersion, "2.0")
	cal.Props.SetText(ical.PropProductID, "-//tocsin//on call//EN")
	cal.Props.SetText("X-WR-CALNAME", name)
	for _, e := range events {
		v := ical.NewEvent()
		v.Props.SetText(ical.PropUID, e.uid())
		v.Props.SetDateTime(ical.PropDateTimeStamp, e.Given.UTC())
		v.Props.SetDateTime(ical.PropDateTimeStart, e.Start.UTC())
		v.Props.SetDateTime(ical.PropDateTimeEnd, e.End.UTC())
		v.Props.Set(&ical.Prop{Name: ical.PropSequence, Params: ical.Params{}, Value: strconv.FormatInt(e.sequence(), 10)})
		v.Props.SetText(ical.PropSummary, summary(e))
		v.Props.SetText(ical.PropTransparency, "TRANSPARENT")
		cal.Children = append(cal.Children, v.Component)
	}
	if len(events) == 0 {
		cal.Children = append(cal.Children, utc()) // a calendar without a component is none (RFC 5545, 3.6)
	}
	var out bytes.Buffer
	if err := ical.NewEncoder(&out).Encode(cal); err != nil {
		return nil, fmt.Errorf("write the calendar %q: %w", name, err)
	}
	return fold(out.Bytes()), nil
}

// utc is a component that shows nothing.
func utc() *ical.Component {
	standard := ical.NewComponent(ical.CompTimezoneStandard)
	standard.Props.Set(&ical.Prop{Name: ical.PropDateTimeStart, Params: ical.Params{}, Value: "19700101T000000"})
	standard.Props.Set(&ical.Prop{Name: ical.PropTimezoneOffsetFrom, Params: ical.Params{}, Value: "+0000"})
	standard.Props.Set(&ical.Prop{Name: ical.PropTimezoneOffsetTo, Params: ical.Params{}, Value: "+0000"})
	zone := ical.NewComponent(ical.CompTimezone)
	zone.Props.SetText(ical.PropTimezoneID, "Etc/UTC")
	zone.Children = append(zone.Children, standard)
	return zone
}
