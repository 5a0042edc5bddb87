package calendar_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/calendar"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// file is a calendar with these lines in it.
func file(lines ...string) []byte {
	return []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VCALENDAR\r\n")
}

// entry is an event with these lines in it.
func entry(uid string, lines ...string) string {
	return "BEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20260101T000000Z\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT"
}

func TestAbsences(t *testing.T) {
	zurich, _ := zones("Europe/Zurich")
	from, to := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		calendar []byte
		want     []string
	}{
		"an instant":                      {file(entry("a", "DTSTART:20260310T080000Z", "DTEND:20260310T100000Z")), []string{"2026-03-10T08:00:00Z 2026-03-10T10:00:00Z"}},
		"a zone of its own":               {file(entry("a", "DTSTART;TZID=America/New_York:20260310T080000", "DURATION:PT2H")), []string{"2026-03-10T12:00:00Z 2026-03-10T14:00:00Z"}},
		"whole days, in the given zone":   {file(entry("a", "DTSTART;VALUE=DATE:20260310", "DTEND;VALUE=DATE:20260312")), []string{"2026-03-09T23:00:00Z 2026-03-11T23:00:00Z"}},
		"whole days, in the calendar's":   {file("X-WR-TIMEZONE:Asia/Tokyo", entry("a", "DTSTART;VALUE=DATE:20260310", "DTEND;VALUE=DATE:20260311")), []string{"2026-03-09T15:00:00Z 2026-03-10T15:00:00Z"}},
		"the day on which clocks change":  {file(entry("a", "DTSTART;VALUE=DATE:20260329")), []string{"2026-03-28T23:00:00Z 2026-03-29T22:00:00Z"}},
		"cancelled":                       {file(entry("a", "DTSTART;VALUE=DATE:20260310", "STATUS:CANCELLED")), nil},
		"takes up no time":                {file(entry("a", "DTSTART;VALUE=DATE:20260310", "TRANSP:TRANSPARENT"), entry("b", "DTSTART;VALUE=DATE:20260329", "TRANSP:OPAQUE")), []string{"2026-03-28T23:00:00Z 2026-03-29T22:00:00Z"}},
		"before and after what is wanted": {file(entry("a", "DTSTART;VALUE=DATE:20260227"), entry("b", "DTSTART;VALUE=DATE:20260502")), nil},
		"on days that are listed besides": {
			file(entry("a", "DTSTART;VALUE=DATE:20260310", "RDATE;VALUE=DATE:20260328,20260414"), entry("b", "DTSTART;TZID=Europe/Zurich:20260320T090000", "DURATION:PT1H", "RDATE;TZID=Europe/Zurich:20260330T090000", "EXDATE;TZID=Europe/Zurich:20260330T090000")),
			[]string{"2026-03-09T23:00:00Z 2026-03-10T23:00:00Z", "2026-03-20T08:00:00Z 2026-03-20T09:00:00Z", "2026-03-27T23:00:00Z 2026-03-28T23:00:00Z", "2026-04-13T22:00:00Z 2026-04-14T22:00:00Z"},
		},
		"weekly, until a day, over a change of clocks": {
			file(entry("a", "DTSTART;TZID=Europe/Zurich:20260323T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;UNTIL=20260406")),
			[]string{"2026-03-23T08:00:00Z 2026-03-23T09:00:00Z", "2026-03-30T07:00:00Z 2026-03-30T08:00:00Z", "2026-04-06T07:00:00Z 2026-04-06T08:00:00Z"},
		},
		"until an instant that is the last": {
			file(entry("a", "DTSTART;TZID=America/New_York:20260309T200000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260311T000000Z")),
			[]string{"2026-03-10T00:00:00Z 2026-03-10T01:00:00Z", "2026-03-11T00:00:00Z 2026-03-11T01:00:00Z"},
		},
		"whole days, until a day that is the last": {
			file(entry("a", "DTSTART;VALUE=DATE:20260310", "RRULE:FREQ=DAILY;UNTIL=20260312")),
			[]string{"2026-03-09T23:00:00Z 2026-03-10T23:00:00Z", "2026-03-10T23:00:00Z 2026-03-11T23:00:00Z", "2026-03-11T23:00:00Z 2026-03-12T23:00:00Z"},
		},
		"until an instant, which is the day before where it repeats": {
			file(entry("a", "DTSTART;TZID=America/New_York:20260309T200000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260310T235959Z")),
			[]string{"2026-03-10T00:00:00Z 2026-03-10T01:00:00Z"},
		},
		"until a time on the wall, itself counted": {
			file(entry("a", "DTSTART;TZID=Europe/Zurich:20260310T090000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260311T090000")),
			[]string{"2026-03-10T08:00:00Z 2026-03-10T09:00:00Z", "2026-03-11T08:00:00Z 2026-03-11T09:00:00Z"},
		},
		"until a time on the wall at noon, not the morning after": {
			file(entry("a", "DTSTART;TZID=Europe/Zurich:20260310T090000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260310T120000")),
			[]string{"2026-03-10T08:00:00Z 2026-03-10T09:00:00Z"},
		},
		"until before it begins": {file(entry("a", "DTSTART:20260310T080000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260301T000000Z")), nil},
		"exceptions, one moved and one cancelled": {
			file(
				entry("a", "RECURRENCE-ID;VALUE=DATE:20260311", "DTSTART;VALUE=DATE:20260320"), entry("a", "DTSTART;VALUE=DATE:20260310", "RRULE:FREQ=DAILY;COUNT=5", "EXDATE;VALUE=DATE:20260312,20260313"),
				entry("a", "RECURRENCE-ID;VALUE=DATE:20260314", "DTSTART;VALUE=DATE:20260314", "STATUS:CANCELLED"),
			),
			[]string{"2026-03-09T23:00:00Z 2026-03-10T23:00:00Z", "2026-03-19T23:00:00Z 2026-03-20T23:00:00Z"},
		},
	} {
		all, err := calendar.Absences(c.calendar, zurich, from, to)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, a := range all {
			got = append(got, a.Start.Format(time.RFC3339)+" "+a.End.Format(time.RFC3339))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCalendarsThatLie(t *testing.T) {
	from, to := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for says, raw := range map[string][]byte{
		"larger than":            make([]byte, calendar.MaxCalendar+1),
		"no iCalendar":           []byte("<html>sign in</html>"),
		"before it begins":       file(entry("a", "DTSTART:20260310T080000Z", "DTEND:20260309T080000Z")),
		"DTSTART cannot be read": file(entry("a", "DTEND:20260310T080000Z")),
		"Moon/Crater":            file(entry("a", "DTSTART;TZID=Moon/Crater:20260310T080000", "DURATION:PT1H")),
		"within a day":           file(entry("a", "DTSTART:20260310T080000Z", "DURATION:PT1H", "RRULE:FREQ=SECONDLY")),
		"not understood":         file(entry("a", "DTSTART:20260310T080000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")),
		"since 1066":             file(entry("a", "DTSTART:10661014T080000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY")),
		"more than 100000 times": file(slicesOf(20, entry("a", "DTSTART:19700101T080000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY"))...),
		"at most 5000":           file(slicesOf(5001, entry("a", "DTSTART:20260310T080000Z"))...),
	} {
		got, err := calendar.Absences(raw, time.UTC, from, to)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), says) || got != nil {
			t.Errorf("%s: got %v, %.300v", says, got, err)
		}
	}
}

func slicesOf(n int, s string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}

func FuzzAbsences(f *testing.F) {
	f.Add(file(entry("a", "DTSTART;VALUE=DATE:20260310", "RRULE:FREQ=DAILY;COUNT=5", "EXDATE;VALUE=DATE:20260312,20260313")))
	f.Add([]byte("0;0=")) // a line that ends within a parameter
	f.Add(file("X-WR-TIMEZONE:Asia/Tokyo", entry("a", "DTSTART;TZID=Europe/Zurich:20260323T090000", "DURATION:PT1H", "RRULE:FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20260406T000000Z")))
	from, to := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := calendar.Absences(raw, time.UTC, from, to)
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatalf("not a fault of the calendar: %v", err)
		}
		for i, a := range got {
			if !a.Start.Before(a.End) || !a.Start.Before(to) || !a.End.After(from) || i > 0 && a.Start.Before(got[i-1].Start) {
				t.Fatalf("absence %d is %v", i, a)
			}
		}
	})
}
