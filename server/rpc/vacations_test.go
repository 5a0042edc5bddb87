package rpc_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
