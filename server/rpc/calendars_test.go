package rpc_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
)

func (r *rig) calendars() pb.CalendarServiceClient { return pb.NewCalendarServiceClient(r.conn) }

// subscribe makes a feed and returns it with the path of its address.
func (r *rig) subscribe(who string, feed *pb.CalendarFeed) (*pb.CalendarFeed, string) {
	r.t.Helper()
	made, err := r.calendars().CreateCalendarFeed(r.as(who), &pb.CreateCalendarFeedRequest{CalendarFeed: feed})
	if err != nil {
		r.t.Fatal(err)
	}
	return made.GetCalendarFeed(), strings.TrimPrefix(made.GetUrl(), "https://page.example.org")
}

// ics reads a calendar as calendar programs do.
func (r *rig) ics(path string, headers ...string) (status int, header http.Header, body string) {
	r.t.Helper()
	res := r.http(http.MethodGet, path, nobody, "", headers...)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(raw)
}

func TestCalendarFeeds(t *testing.T) {
	r := newRig(t)
	s := r.rota()
	for name, c := range map[string]struct {
		feed       *pb.CalendarFeed
		has, lacks string
	}{
		"person":   {&pb.CalendarFeed{User: "users/me"}, "SUMMARY:On call: Primary\r\n", "Ann"},
		"team":     {&pb.CalendarFeed{Team: "teams/core"}, "SUMMARY:On call: Primary (Ann Archer)", "none"},
		"schedule": {&pb.CalendarFeed{Schedule: s.GetName()}, "SUMMARY:On call: Primary (Ann Archer)", "none"},
	} {
		_, path := r.subscribe(responder, c.feed)
		code, header, body := r.ics(path)
		if code != http.StatusOK || header.Get("Content-Type") != "text/calendar; charset=utf-8" || header.Get("Cache-Control") != "private, max-age=900" {
			t.Errorf("%s: status %d, headers %v", name, code, header)
		}
		if !strings.Contains(body, c.has) || strings.Contains(body, c.lacks) || !strings.Contains(body, "UID:shift-primary-") {
			t.Errorf("%s: the calendar has not %q, or has %q:\n%s", name, c.has, c.lacks, body)
		}
		if code, _, body = r.ics(path, "If-None-Match", header.Get("Etag")); code != http.StatusNotModified || body != "" {
			t.Errorf("%s, read again: status %d with %d bytes, want 304 without a body", name, code, len(body))
		}
	}
}

func TestRevokedFeedAnswersAsUnknown(t *testing.T) {
	r := newRig(t)
	r.rota()
	unknown, _, words := r.ics("/calendars/tcf_" + strings.Repeat("a", 43) + ".ics")
	feed, path := r.subscribe(responder, &pb.CalendarFeed{User: "users/me"})
	for range 2 {
		if _, err := r.calendars().RevokeCalendarFeed(r.as(responder), &pb.RevokeCalendarFeedRequest{Name: feed.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, body := r.ics(path); code != http.StatusNotFound || code != unknown || body != words {
		t.Errorf("revoked: %d %q, unknown: %d %q", code, body, unknown, words)
	}
	for _, other := range []string{"/calendars/.ics", "/calendars/x.ics", "/calendars/" + strings.Repeat("a", 300) + ".ics", strings.TrimSuffix(path, ".ics")} {
		if code, _, body := r.ics(other); code != http.StatusNotFound || body != words {
			t.Errorf("%s: %d %q, want %q", other, code, body, words)
		}
	}

	_, path = r.subscribe(responder, &pb.CalendarFeed{Team: "teams/core"})
	if _, err := r.dir.Change(t.Context(), directory.ByServer("test"), func(e *directory.Edit) error {
		e.Force()
		u, _ := e.GetUser("ben")
		gone := *u
		gone.Inactive = true
		return e.Update(&gone, "")
	}); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := r.ics(path); code != http.StatusNotFound {
		t.Errorf("the feed of somebody who left: status %d, want 404", code)
	}
}

func TestCalendarFeedsAreTheirOwners(t *testing.T) {
	r := newRig(t)
	r.rota()
	feed, _ := r.subscribe(responder, &pb.CalendarFeed{Team: "teams/core"})
	if _, err := r.calendars().CreateCalendarFeed(r.as(stakeholder), &pb.CreateCalendarFeedRequest{CalendarFeed: &pb.CalendarFeed{User: "users/ben"}}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a feed of somebody else: %v", err)
	}
	if _, err := r.calendars().RevokeCalendarFeed(r.as(stakeholder), &pb.RevokeCalendarFeedRequest{Name: feed.GetName()}); status.Code(err) != codes.NotFound {
		t.Errorf("revoked by another: %v", err)
	}
	for who, want := range map[string]int{responder: 1, stakeholder: 0, admin: 1} {
		list, err := r.calendars().ListCalendarFeeds(r.as(who), &pb.ListCalendarFeedsRequest{})
		if err != nil || len(list.GetCalendarFeeds()) != want {
			t.Errorf("%s sees %v, %v; want %d", who, list, err, want)
		}
	}
	for name, bad := range map[string]*pb.CalendarFeed{"nothing": {}, "two": {User: "users/me", Team: "teams/core"}, "no such team": {Team: "teams/nope"}} {
		if _, err := r.calendars().CreateCalendarFeed(r.as(responder), &pb.CreateCalendarFeedRequest{CalendarFeed: bad}); status.Code(err) != codes.InvalidArgument && status.Code(err) != codes.NotFound {
			t.Errorf("of %s: %v", name, err)
		}
	}
}
