package rpc_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

func TestVacationsAreHeldAgainstShifts(t *testing.T) {
	r := newRig(t)
	s := r.rota() // Ben and Ann change at midnight, and Ben has today
	next := midnight(r.now())
	r.away = []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nX-WR-TIMEZONE:UTC\r\nBEGIN:VEVENT\r\nUID:a\r\nSUMMARY:Sailing\r\n" +
		"DTSTART;VALUE=DATE:" + next.Format("20060102") + "\r\nDTEND;VALUE=DATE:" + next.AddDate(0, 0, 2).Format("20060102") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	got, err := r.calendars().CheckVacations(r.as(responder), &pb.CheckVacationsRequest{User: "users/me", Url: "https://calendar.example.org/ben.ics"})
	if err != nil {
		t.Fatal(err)
	}
	if a := got.GetAbsences(); len(a) != 1 || a[0].GetTitle() != "Sailing" || !a[0].GetStartTime().AsTime().Equal(next) || !a[0].GetEndTime().AsTime().Equal(next.AddDate(0, 0, 2)) {
		t.Errorf("away: %v", a)
	}
	from, to := next.AddDate(0, 0, 1), next.AddDate(0, 0, 2)
	if c := got.GetConflicts(); len(c) != 1 || c[0].GetSchedule() != s.GetName() || !c[0].GetStartTime().AsTime().Equal(from) || !c[0].GetEndTime().AsTime().Equal(to) {
		t.Errorf("on call while away: %v, want [%s, %s)", c, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}

	r.away = []byte("<html>")
	_, err = r.calendars().CheckVacations(r.as(responder), &pb.CheckVacationsRequest{User: "users/ben", Url: "https://calendar.example.org/ben.ics"})
	wants(t, err, codes.InvalidArgument, "CALENDAR_UNREADABLE")
	if _, err = r.calendars().CheckVacations(r.as(stakeholder), &pb.CheckVacationsRequest{User: "users/ben", Url: "https://calendar.example.org/"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("of somebody else: %v", err)
	}
}

// away is a calendar with one absence of whole days.
func away(status string, from, to time.Time) []byte {
	return []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nX-WR-TIMEZONE:UTC\r\nBEGIN:VEVENT\r\nUID:a\r\nSUMMARY:Surgery\r\n" + status +
		"DTSTART;VALUE=DATE:" + from.Format("20060102") + "\r\nDTEND;VALUE=DATE:" + to.Format("20060102") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
}

// A calendar that is kept warns wherever shifts are looked at, tells neither its
// address nor what its entries are called, and is forgotten with all that was read.
func TestVacationCalendarIsKept(t *testing.T) {
	r := newRig(t)
	s := r.rota() // Ben and Ann change at midnight, and Ben has today
	next := midnight(r.now())
	r.away = away("", next, next.AddDate(0, 0, 2))
	const secret = "https://calendar.example.org/private-5f2a/ben.ics"
	_, err := r.calendars().GetVacationCalendar(r.as(responder), &pb.GetVacationCalendarRequest{User: "users/me"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	set, err := r.calendars().SetVacationCalendar(r.as(responder), &pb.SetVacationCalendarRequest{User: "users/me", Url: secret})
	if err != nil {
		t.Fatal(err)
	}
	from, to := next.AddDate(0, 0, 1), next.AddDate(0, 0, 2)
	if c := set.GetConflicts(); len(c) != 1 || c[0].GetSchedule() != s.GetName() || !c[0].GetStartTime().AsTime().Equal(from) || !c[0].GetEndTime().AsTime().Equal(to) {
		t.Errorf("on call while away: %v", c)
	}
	if set.GetHost() != "calendar.example.org" || set.GetReadTime() == nil || set.GetError() != "" || len(set.GetAbsences()) != 1 {
		t.Errorf("set: %v", set)
	}
	if v, _ := r.dir.Snapshot().GetVacations("ben"); strings.Contains(string(v.Sealed), "private") {
		t.Error("the address is kept as it is")
	} else if opened, err := r.dir.OpenCalendar(v); err != nil || opened != secret {
		t.Errorf("the address is %q (%v)", opened, err)
	}

	ready, err := r.onCall().ListReadiness(r.as(admin), &pb.ListReadinessRequest{User: "users/ben"})
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, reason := range ready.GetReadiness()[0].GetReasons() {
		said += reason.GetText()
	}
	if !strings.Contains(said, "away by the calendar") || ready.GetReadiness()[0].GetVerdict() == pb.Readiness_VERDICT_READY {
		t.Errorf("ready: %v", ready)
	}
	review, err := r.schedules().ReviewSchedule(r.as(admin), &pb.ReviewScheduleRequest{Name: s.GetName()})
	if err != nil || !slices.ContainsFunc(review.GetConflicts(), func(c *pb.ScheduleConflict) bool { return strings.Contains(c.GetText(), "away by the calendar") }) {
		t.Errorf("review: %v (%v)", review.GetConflicts(), err)
	}
	preview, err := r.schedules().PreviewSchedule(r.as(admin), &pb.PreviewScheduleRequest{Schedule: s})
	if err != nil || !slices.ContainsFunc(preview.GetWarnings(), func(w string) bool { return strings.Contains(w, "ben is on call and away") }) {
		t.Errorf("preview: %v (%v)", preview.GetWarnings(), err)
	}

	today := &pb.Override{Schedule: s.GetName(), User: "users/ben", StartTime: timestamppb.New(next.Add(time.Hour)), EndTime: timestamppb.New(next.Add(2 * time.Hour))} // in Ann's turn
	before := r.dir.Snapshot().Position()
	for _, dry := range []bool{true, false} {
		o, err := r.schedules().CreateOverride(r.as(admin), &pb.CreateOverrideRequest{Override: today, ValidateOnly: dry})
		if err != nil || !slices.ContainsFunc(o.GetWarnings(), func(w string) bool { return strings.HasPrefix(w, "ben is on call and away") }) {
			t.Errorf("an override while away: %v (%v)", o, err)
		}
		if kept := r.dir.Snapshot().Position() != before; kept == dry {
			t.Errorf("validate_only %t, kept %t", dry, kept)
		}
	}
	listed, err := r.schedules().ListOverrides(r.as(admin), &pb.ListOverridesRequest{Schedule: s.GetName()})
	if err != nil || len(listed.GetOverrides()) != 1 || len(listed.GetOverrides()[0].GetWarnings()) != 0 {
		t.Errorf("listed: %v (%v)", listed, err)
	}

	for _, as := range []string{stakeholder, phone} {
		user := "users/ann"
		_, err := r.calendars().SetVacationCalendar(r.as(as), &pb.SetVacationCalendarRequest{User: user, Url: secret})
		wants(t, err, codes.PermissionDenied, "NOT_YOURS")
		_, err = r.calendars().GetVacationCalendar(r.as(as), &pb.GetVacationCalendarRequest{User: user})
		wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	}
	for _, status := range []string{"STATUS:CANCELLED\r\n", "TRANSP:TRANSPARENT\r\n"} {
		r.away = away(status, next, next.AddDate(0, 0, 2))
		if got, err := r.calendars().SetVacationCalendar(r.as(admin), &pb.SetVacationCalendarRequest{User: "users/ben", Url: secret}); err != nil || len(got.GetAbsences()) != 0 {
			t.Errorf("%q: %v (%v)", status, got, err)
		}
	}
	if _, err := r.calendars().DeleteVacationCalendar(r.as(responder), &pb.DeleteVacationCalendarRequest{User: "users/me"}); err != nil {
		t.Fatal(err)
	}
	_, err = r.calendars().DeleteVacationCalendar(r.as(responder), &pb.DeleteVacationCalendarRequest{User: "users/me"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

// Who manages a team sees to the calendars of its members, and of nobody else.
func TestManagersSeeToVacations(t *testing.T) {
	r := managed(t)
	next := midnight(r.now())
	r.away = away("", next, next.AddDate(0, 0, 2))
	if _, err := r.calendars().SetVacationCalendar(r.as(ofCore), &pb.SetVacationCalendarRequest{User: "users/ben", Url: "https://calendar.example.org/ben"}); err != nil {
		t.Error(err)
	}
	_, err := r.calendars().SetVacationCalendar(r.as(ofWeb), &pb.SetVacationCalendarRequest{User: "users/ben", Url: "https://calendar.example.org/ben"})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
}
