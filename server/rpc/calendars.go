package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/calendar"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// calendars is tocsin.v1.CalendarService.
type calendars struct {
	pb.UnimplementedCalendarServiceServer
	*Server
}

// own reports whether the caller may see and revoke a feed.
func (s *calendars) own(c *call, f *directory.Feed) bool {
	return c.principal.IsAdmin() || c.principal.Is(f.Owner) || c.principal.Is(f.User)
}

func (s *calendars) ListCalendarFeeds(ctx context.Context, req *pb.ListCalendarFeedsRequest) (*pb.ListCalendarFeedsResponse, error) {
	c := callOf(ctx)
	page, next, err := byAgePage(req, usualPage, mostPage, s.c.Directory.Snapshot().Feeds(),
		func(f *directory.Feed) int64 { return f.Created.UnixMilli() },
		func(f *directory.Feed) bool { return s.own(c, f) && (req.GetShowRevoked() || f.Revoked.IsZero()) })
	if err != nil {
		return nil, err
	}
	return &pb.ListCalendarFeedsResponse{CalendarFeeds: each(page, feedMessage), NextPageToken: next}, nil
}

func (s *calendars) CreateCalendarFeed(ctx context.Context, req *pb.CreateCalendarFeedRequest) (*pb.CreateCalendarFeedResponse, error) {
	kept := func(m *pb.CreateCalendarFeedResponse) *pb.CreateCalendarFeedResponse {
		return &pb.CreateCalendarFeedResponse{CalendarFeed: m.GetCalendarFeed()}
	}
	return configured(ctx, s.Server, req.GetRequestId(), kept, func() (*pb.CreateCalendarFeedResponse, error) {
		c, want := callOf(ctx), req.GetCalendarFeed()
		if c.principal.User == "" {
			return nil, fault.New(fault.Precondition, "NO_PERSON", c.principal.String()+" is no person, and a calendar feed belongs to one")
		}
		secret := auth.NewFeedSecret()
		f := &directory.Feed{
			ID: directory.FeedID(auth.NewID()), Hash: auth.HashSecret(secret), Hint: secret[len(secret)-4:], Owner: c.principal.User,
			Team: roster.TeamID(last(want.GetTeam())), Schedule: scheduleID(want.GetSchedule()),
		}
		if want.GetUser() != "" {
			user, err := c.user("calendar_feed.user", want.GetUser())
			if err != nil {
				return nil, err
			}
			if err := c.mine(user); err != nil {
				return nil, err
			}
			f.User = user
		}
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error { return e.AddFeed(f) })
		if err != nil {
			return nil, inField("calendar_feed", err)
		}
		made, ok := snap.GetFeed(f.ID)
		if !ok {
			return nil, missing("name", directory.KeyOf(f).String())
		}
		return &pb.CreateCalendarFeedResponse{CalendarFeed: feedMessage(made), Url: s.feedURL(secret)}, nil
	})
}

// feedURL is the address of a feed, without a host where it is not known.
func (s *calendars) feedURL(secret string) string {
	return strings.TrimSuffix(s.c.PublicURL, "/") + "/calendars/" + secret + ".ics"
}

func (s *calendars) RevokeCalendarFeed(ctx context.Context, req *pb.RevokeCalendarFeedRequest) (*pb.CalendarFeed, error) {
	c, id := callOf(ctx), directory.FeedID(last(req.GetName()))
	find := func(snap *directory.Snapshot) (*directory.Feed, error) {
		f, ok := snap.GetFeed(id)
		if !ok || !s.own(c, f) {
			return nil, missing("name", req.GetName())
		}
		return f, nil
	}
	snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
		old, err := find(e.Snapshot)
		if err != nil || !old.Revoked.IsZero() {
			return err
		}
		f := *old
		f.Revoked = e.Now
		return e.Update(&f, "")
	})
	if err != nil {
		return nil, err
	}
	f, err := find(snap)
	if err != nil {
		return nil, err
	}
	return feedMessage(f), nil
}

func (s *calendars) ReadCalendar(ctx context.Context, req *pb.ReadCalendarRequest) (*pb.ReadCalendarResponse, error) {
	snap, f, err := s.feed(ctx, auth.HashSecret(req.GetSecret()))
	if err != nil {
		return nil, err
	}
	var events []calendar.Event
	for _, id := range feedSchedules(snap, f) {
		turns, err := snap.Turns(id)
		if err != nil {
			return nil, err
		}
		events = append(events, calendar.Events(turns, s.c.Now())...)
	}
	if f.User != "" {
		events = slices.DeleteFunc(events, func(e calendar.Event) bool { return e.User != f.User })
	}
	names := shaper{names: snap}
	body, err := calendar.Write(feedTitle(snap, f), events, func(e calendar.Event) string {
		title := "On call: " + string(e.Schedule)
		if r, ok := snap.GetSchedule(e.Schedule); ok {
			title = "On call: " + r.Name
		}
		if f.User == "" {
			title += " (" + names.display(e.User) + ")"
		}
		return title
	})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return &pb.ReadCalendarResponse{Calendar: body, Etag: `"` + hex.EncodeToString(sum[:16]) + `"`}, nil
}

// feed returns the feed of a secret. One made a moment ago on another instance
// may be ahead of the log.
func (s *calendars) feed(ctx context.Context, hash auth.Hash) (*directory.Snapshot, *directory.Feed, error) {
	snap := s.c.Directory.Snapshot()
	f, ok := snap.FeedByHash(hash)
	if !ok {
		if err := s.c.Directory.CatchUp(ctx); err != nil {
			return nil, nil, fault.New(fault.Unavailable, "DIRECTORY_BEHIND", "the calendar cannot be read now; try again").Because(err)
		}
		snap = s.c.Directory.Snapshot()
		if f, ok = snap.FeedByHash(hash); !ok {
			return nil, nil, fault.New(fault.NotFound, "NOT_FOUND", "there is no calendar at this address")
		}
	}
	return snap, f, nil
}

// feedSchedules returns the schedules that a feed shows, sorted: of a person also
// those that he has left, for his past.
func feedSchedules(snap *directory.Snapshot, f *directory.Feed) []schedule.ID {
	if f.Schedule != "" {
		return []schedule.ID{f.Schedule}
	}
	var ids []schedule.ID
	if f.User != "" {
		ids = snap.SchedulesOf(f.User)
	}
	for r := range snap.Schedules() {
		if f.Team != "" && r.Team == f.Team || f.User != "" && slices.ContainsFunc(r.Replaced, func(v schedule.Version) bool {
			return slices.Contains(v.Participants, f.User)
		}) {
			ids = append(ids, r.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// feedTitle is what a calendar program calls the feed.
func feedTitle(snap *directory.Snapshot, f *directory.Feed) string {
	if r, ok := snap.GetSchedule(f.Schedule); ok {
		return "On call: " + r.Name
	}
	if t, ok := snap.GetTeam(f.Team); ok {
		return "On call: " + t.Name
	}
	return "On call: " + shaper{names: snap}.display(f.User)
}

func feedMessage(f *directory.Feed) *pb.CalendarFeed {
	m := &pb.CalendarFeed{
		Name: directory.KeyOf(f).String(), Owner: userName(f.Owner), Hint: f.Hint, CreateTime: stamp(f.Created), RevokeTime: stamp(f.Revoked),
	}
	switch {
	case f.User != "":
		m.User = userName(f.User)
	case f.Team != "":
		m.Team = directory.Key{Kind: directory.KindTeam, ID: string(f.Team)}.String()
	default:
		m.Schedule = scheduleName(f.Schedule)
	}
	return m
}
