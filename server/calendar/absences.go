package calendar

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Absence is a time in which a calendar has an entry.
type Absence struct {
	Start, End time.Time // [Start, End)
	Title      string
}

// Limits of what is read of a calendar that somebody else has written.
const (
	MaxCalendar = 1 << 20 // bytes
	maxEvents   = 5_000
	maxRepeats  = 100_000 // of all events together, those before the window too
	maxTitle    = 200     // bytes
	firstYear   = 1970    // of events that repeat
)

// Absences returns what a calendar says of [from, to), in order: every entry
// that takes up time (RFC 5545, 3.8.2.7) and is not cancelled, each repetition by
// itself. Entries of whole days, and
// times without a zone, are those of the zone that the calendar names, else of
// zone. What cannot be understood is an Invalid fault that names the entry: half
// of somebody's vacations would be worse than none.
func Absences(calendar []byte, zone *time.Location, from, to time.Time) ([]Absence, error) {
	if len(calendar) > MaxCalendar {
		return nil, unreadable("is larger than %d bytes", MaxCalendar)
	}
	cal, err := decode(calendar)
	if err != nil {
		return nil, unreadable("is no iCalendar: %v", err)
	}
	if name := text(cal.Component, "X-WR-TIMEZONE"); name != "" {
		if own, err := time.LoadLocation(name); err == nil {
			zone = own
		}
	}
	r := reader{zone: zone, from: from, to: to, moved: map[string]bool{}}
	events := cal.Events()
	if len(events) > maxEvents {
		return nil, unreadable("has %d entries; at most %d are read", len(events), maxEvents)
	}
	for _, e := range events { // an edit of one repetition stands in its place, wherever in the file it is
		if at := e.Props.Get(ical.PropRecurrenceID); at != nil {
			instant, err := at.DateTime(zone)
			if err != nil {
				return nil, entry(e, "RECURRENCE-ID", err)
			}
			r.moved[key(e, instant)] = true
		}
	}
	for _, e := range events {
		if err := r.event(e); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(r.found, func(a, b Absence) int { return a.Start.Compare(b.Start) })
	return r.found, nil
}

// decode reads the lines of a calendar. The decoder panics at some lines that end
// within a parameter ("0;0="): those are no calendar either.
func decode(calendar []byte) (cal *ical.Calendar, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("a line ends within a parameter")
		}
	}()
	return ical.NewDecoder(bytes.NewReader(calendar)).Decode()
}

// reader gathers the absences of one calendar.
type reader struct {
	zone     *time.Location
	from, to time.Time
	moved    map[string]bool // repetitions that an entry of their own stands for
	repeats  int
	found    []Absence
}

// key names a repetition of an event.
func key(e ical.Event, at time.Time) string {
	return fmt.Sprintf("%s\x00%d", text(e.Component, ical.PropUID), at.Unix())
}

func (r *reader) event(e ical.Event) error {
	if strings.EqualFold(text(e.Component, ical.PropStatus), "CANCELLED") || strings.EqualFold(text(e.Component, ical.PropTransparency), "TRANSPARENT") {
		return nil
	}
	start, err := e.DateTimeStart(r.zone)
	if err != nil || start.IsZero() {
		return entry(e, "DTSTART", err)
	}
	end, err := e.DateTimeEnd(r.zone)
	if err != nil {
		return entry(e, "DTEND", err)
	}
	if end.Before(start) {
		return entry(e, "DTEND", fmt.Errorf("it ends at %s, before it begins", end.UTC().Format(time.RFC3339)))
	}
	if p := e.Props.Get(ical.PropDateTimeStart); p.ValueType() == ical.ValueDate || len(p.Value) == len("20060102") {
		if e.Props.Get(ical.PropDateTimeEnd) == nil && e.Props.Get(ical.PropDuration) == nil {
			end = start.AddDate(0, 0, 1) // a civil day, of 23 hours too
		}
	}
	exceptions, err := r.instants(e, ical.PropExceptionDates)
	if err != nil {
		return err
	}
	except := make(map[int64]bool, len(exceptions))
	for _, at := range exceptions {
		except[at.Unix()] = true
	}
	besides, err := r.instants(e, ical.PropRecurrenceDates)
	if err != nil {
		return err
	}
	length := wall(end.In(start.Location())).Sub(wall(start))
	for _, at := range besides {
		if r.repeats++; r.repeats > maxRepeats {
			return tooOften()
		}
		if !except[at.Unix()] && !r.moved[key(e, at)] {
			at = at.In(start.Location())
			r.add(e, at, onWall(wall(at).Add(length), start.Location()))
		}
	}
	if e.Props.Get(ical.PropRecurrenceRule) == nil {
		r.add(e, start, end)
		return nil
	}
	return r.repeat(e, start, length, except)
}

// instants returns those that a property of an event lists.
func (r *reader) instants(e ical.Event, property string) ([]time.Time, error) {
	var all []time.Time
	for _, p := range e.Props.Values(property) {
		for value := range strings.SplitSeq(p.Value, ",") {
			one := p
			one.Value = value
			at, err := one.DateTime(r.zone)
			if err != nil {
				return nil, entry(e, property, err)
			}
			all = append(all, at)
		}
	}
	return all, nil
}

func tooOften() error { return unreadable("repeats its entries more than %d times", maxRepeats) }

// add takes what lies in the window.
func (r *reader) add(e ical.Event, start, end time.Time) {
	if !start.Before(r.to) || !end.After(r.from) || !start.Before(end) {
		return
	}
	title := strings.ToValidUTF8(text(e.Component, ical.PropSummary), "")
	if len(title) > maxTitle {
		title = strings.ToValidUTF8(title[:maxTitle], "")
	}
	r.found = append(r.found, Absence{start.UTC(), end.UTC(), title})
}

// repeat adds the repetitions of an event. They are counted on the wall of its
// zone, so 09:00 stays 09:00, and a repetition lasts as long on the wall as the first.
func (r *reader) repeat(e ical.Event, start time.Time, length time.Duration, except map[int64]bool) error {
	rule, err := r.rule(e, start)
	if err != nil {
		return entry(e, "RRULE", err)
	}
	zone := start.Location()
	for next := rule.Iterator(); ; {
		on, ok := next()
		if !ok {
			return nil
		}
		if r.repeats++; r.repeats > maxRepeats {
			return tooOften()
		}
		at := onWall(on, zone)
		if !at.Before(r.to) {
			return nil
		}
		if !except[at.Unix()] && !r.moved[key(e, at)] {
			r.add(e, at, onWall(on.Add(length), zone))
		}
	}
}

// rule returns the rule of an event as times on the wall, written as if they
// were UTC. Rules that may search for long without finding anything are refused:
// whoever sends the calendar would decide how long the server works.
func (r *reader) rule(e ical.Event, start time.Time) (*rrule.RRule, error) {
	o, err := e.Props.RecurrenceRule()
	if err != nil {
		return nil, err
	}
	byDay := len(o.Byweekday) > 0
	switch {
	case start.Year() < firstYear:
		return nil, fmt.Errorf("it repeats since %d", start.Year())
	case o.Freq > rrule.DAILY || len(o.Byhour)+len(o.Byminute)+len(o.Bysecond) > 0:
		return nil, fmt.Errorf("it repeats within a day")
	case len(o.Bysetpos)+len(o.Byyearday)+len(o.Byweekno)+len(o.Byeaster) > 0,
		o.Freq != rrule.YEARLY && len(o.Bymonth) > 0,
		o.Freq > rrule.MONTHLY && len(o.Bymonthday) > 0,
		o.Freq == rrule.DAILY && byDay && o.Interval > 1,
		byDay && len(o.Bymonthday) > 0:
		return nil, fmt.Errorf("rules of this kind are not understood: %s", o.RRuleString())
	}
	if !o.Until.IsZero() {
		switch until := untilOf(e.Props.Get(ical.PropRecurrenceRule).Value); {
		case strings.HasSuffix(until, "Z"):
			o.Until = wall(o.Until.In(start.Location()))
		case strings.Contains(until, "T"):
			o.Until = wall(o.Until) // a time on the wall where it repeats
		default:
			o.Until = wall(o.Until).Add(24*time.Hour - time.Second) // a day, all of it
		}
	}
	if end := wall(r.to.In(start.Location())); o.Until.IsZero() || o.Until.After(end) {
		o.Until = end // a rule that never comes true would be tried for centuries
	}
	o.Dtstart = wall(start)
	return rrule.NewRRule(*o)
}

// untilOf returns the end of a rule as it is written: an instant, a time on the
// wall, or a day.
func untilOf(rule string) string {
	_, rest, _ := strings.Cut(strings.ToUpper(rule), "UNTIL=")
	until, _, _ := strings.Cut(rest, ";")
	return until
}

// wall returns what the wall shows, written as if it were UTC.
func wall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// onWall returns when the wall of a zone shows that.
func onWall(t time.Time, zone *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, zone)
}

func text(c *ical.Component, name string) string {
	s, err := c.Props.Text(name)
	if err != nil {
		return ""
	}
	return s
}

// entry says which entry of a calendar is wrong, and in what.
func entry(e ical.Event, property string, err error) error {
	why := "it is missing"
	if err != nil {
		why = err.Error()
	}
	return unreadable("has an entry %.100q whose %s cannot be read: %s", text(e.Component, ical.PropUID), property, why)
}

func unreadable(format string, args ...any) error {
	return fault.New(fault.Invalid, "CALENDAR_UNREADABLE", strings.ToValidUTF8("the calendar "+fmt.Sprintf(format, args...), "?"))
}
