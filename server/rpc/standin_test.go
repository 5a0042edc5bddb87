package rpc_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

const stranger = "stranger" // gil, a responder of no team

// joined adds a responder who takes no turns and is of no team.
func (r *rig) joined() {
	r.t.Helper()
	r.keys[stranger] = auth.NewToken()
	_, err := r.dir.Change(r.t.Context(), directory.By{Principal: auth.Console(), Method: "test"}, func(e *directory.Edit) error {
		if err := e.Create(&directory.User{User: roster.User{ID: "gil", Name: "Gil", Zone: "UTC", Email: "gil@example.org", Role: roster.Responder}}); err != nil {
			return err
		}
		return e.Create(&directory.Token{Token: auth.Token{ID: "tokgil", Name: stranger, Hash: auth.HashSecret(r.keys[stranger]), User: "gil", By: "test"}})
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestWhoMayStandIn: who takes turns in a schedule, or is of its team, puts
// himself on call by it; a stranger does not, neither ahead nor at once. A manager puts
// strangers there, and nobody puts somebody there who is never paged.
func TestWhoMayStandIn(t *testing.T) {
	r := managed(t)
	r.joined()
	from := midnight(r.now())
	n := 0
	put := func(who, user string) error {
		n++ // never at the same time
		start := from.Add(time.Duration(n) * time.Hour)
		_, err := r.schedules().CreateOverride(r.as(who), &pb.CreateOverrideRequest{Override: &pb.Override{
			Schedule: "schedules/primary", User: user, StartTime: timestamppb.New(start), EndTime: timestamppb.New(start.Add(30 * time.Minute)),
		}})
		return err
	}
	take := func(who string) error {
		_, err := r.onCall().TakeOnCall(r.as(who), &pb.TakeOnCallRequest{Schedule: "schedules/primary", Duration: durationpb.New(time.Minute)})
		return err
	}
	wants(t, put(stranger, "users/me"), codes.PermissionDenied, "NOT_A_MEMBER")
	wants(t, take(stranger), codes.PermissionDenied, "NOT_A_MEMBER")
	wants(t, put(stranger, "users/ben"), codes.PermissionDenied, "NOT_YOURS")
	for name, err := range map[string]error{
		"who takes turns":                 put(responder, "users/me"),
		"who takes turns, at once":        take(responder),
		"a stranger, by a manager":        put(ofCore, "users/gil"),
		"a stranger, by an administrator": put(admin, "users/gil"),
		"nobody, by a manager":            put(ofCore, ""),
		"the manager, of the team":        put(ofCore, "users/dan"),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wants(t, put(ofWeb, "users/gil"), codes.PermissionDenied, "NOT_YOURS")

	_, err := r.dir.Change(t.Context(), directory.By{Principal: auth.Console(), Method: "test"}, func(e *directory.Edit) error {
		gil, _ := e.GetUser("gil")
		gone := *gil
		gone.Inactive = true
		if err := e.Update(&gone, ""); err != nil {
			return err
		}
		core, _ := e.GetTeam("core") // and a responder of the team who takes no turns
		with := *core
		with.Members = append([]roster.UserID{"hal"}, core.Members...)
		if err := e.Create(&directory.User{User: roster.User{ID: "hal", Name: "Hal", Zone: "UTC", Email: "hal@example.org", Role: roster.Responder}}); err != nil {
			return err
		}
		if err := e.Update(&with, ""); err != nil {
			return err
		}
		r.keys["hal"] = auth.NewToken()
		return e.Create(&directory.Token{Token: auth.Token{ID: "tokhal", Name: "hal", Hash: auth.HashSecret(r.keys["hal"]), User: "hal", By: "test"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	r.failsWith(put(admin, "users/gil"), codes.InvalidArgument, "override.user")
	if err := put("hal", "users/me"); err != nil {
		t.Errorf("who is of the team: %v", err)
	}
}

// TestOverrideOfARequestStays: what fulfils a request is not taken out by who has
// it, nor by who asked: the request would go on saying that it is taken. A
// manager of the team, or an administrator, may.
func TestOverrideOfARequestStays(t *testing.T) {
	r := turns(t)
	c := r.asks()
	taken := must(r.onCall().AcceptCoverRequest(r.as(third), &pb.AcceptCoverRequestRequest{Name: c.GetName()}))
	name := taken.GetOverrides()[0]
	remove := func(who string) error {
		_, err := r.schedules().DeleteOverride(r.as(who), &pb.DeleteOverrideRequest{Name: name})
		return err
	}
	wants(t, remove(third), codes.FailedPrecondition, "OWNED_BY_REQUEST")
	wants(t, remove(responder), codes.PermissionDenied, "NOT_YOURS")
	if got := r.holderOn(3); got != "users/fay" {
		t.Errorf("after the refusals %s is on call, want fay", got)
	}
	if err := remove(admin); err != nil {
		t.Fatal(err)
	}
	if got := r.holderOn(3); got != "users/ben" {
		t.Errorf("after it was removed %s is on call, want ben", got)
	}
}

// TestFeedsAndManagers: a manager revokes no feed of somebody else's, though it
// is of his schedule; its owner does. When the manager deletes the schedule, the
// feeds of it go along, whoever made them.
func TestFeedsAndManagers(t *testing.T) {
	r := managed(t)
	kept, _ := r.subscribe(responder, &pb.CalendarFeed{Schedule: "schedules/primary"})
	goes, path := r.subscribe(stakeholder, &pb.CalendarFeed{Schedule: "schedules/primary"})
	revoke := func(who, name string) error {
		_, err := r.calendars().RevokeCalendarFeed(r.as(who), &pb.RevokeCalendarFeedRequest{Name: name})
		return err
	}
	wants(t, revoke(ofCore, kept.GetName()), codes.NotFound, "NOT_FOUND")
	if err := revoke(responder, kept.GetName()); err != nil {
		t.Errorf("by its owner: %v", err)
	}
	if code, _, _ := r.ics(path); code != 200 {
		t.Errorf("the other's feed answers %d", code)
	}
	if _, err := r.schedules().DeleteSchedule(r.as(ofWeb), &pb.DeleteScheduleRequest{Name: "schedules/primary"}); err == nil {
		t.Fatal("the manager of another team deletes the schedule")
	}
	if _, err := r.schedules().DeleteSchedule(r.as(ofCore), &pb.DeleteScheduleRequest{Name: "schedules/primary"}); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := r.ics(path); code != 404 {
		t.Errorf("the feed of a schedule that is gone answers %d, want 404", code)
	}
	for _, name := range []string{kept.GetName(), goes.GetName()} {
		wants(t, revoke(admin, name), codes.NotFound, "NOT_FOUND")
	}
}
