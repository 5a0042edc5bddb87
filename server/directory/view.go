package directory

import (
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// The methods in this file are what decisions (incident.View, all but Turn and Silent) and
// authentication (auth.Book) read. A tombstone is known to them while it lasts:
// what was accepted before the deletion still pages.

var _ auth.Book = (*Snapshot)(nil)

// Service returns a service, a deleted one for 7 days.
func (s *Snapshot) Service(id catalog.ServiceID) (catalog.Service, bool) {
	r, ok := known[*Service](s, KindService, string(id))
	if !ok {
		return catalog.Service{}, false
	}
	return r.Service, true
}

// Policy returns one version of a policy.
func (s *Snapshot) Policy(ref escalation.Ref) (escalation.Policy, bool) {
	if r, ok := known[*Version](s, KindVersion, versionID(ref)); ok {
		return r.Policy, true
	}
	return escalation.Policy{}, false
}

// CurrentPolicy returns the newest version of a policy, the last one of a deleted policy.
func (s *Snapshot) CurrentPolicy(id escalation.PolicyID) (escalation.Policy, bool) {
	if r, ok := known[*Policy](s, KindPolicy, string(id)); ok {
		return r.Policy, true
	}
	v, ok := s.latest.get(id)
	if !ok {
		return escalation.Policy{}, false
	}
	return s.Policy(escalation.Ref{ID: id, Version: v})
}

// OnCall returns who holds the target at the instant; nobody is a gap.
func (s *Snapshot) OnCall(t escalation.Target, at time.Time) []roster.UserID {
	switch t.Kind {
	case escalation.UserTarget:
		if _, ok := s.GetUser(roster.UserID(t.ID)); ok {
			return []roster.UserID{roster.UserID(t.ID)}
		}
	case escalation.ScheduleTarget:
		if shift, ok := s.Holder(schedule.ID(t.ID), at); ok {
			return []roster.UserID{shift.User}
		}
	case escalation.TeamTarget:
		return s.Members(roster.TeamID(t.ID))
	}
	return nil
}

// Shift returns who is on call by a schedule at the instant, in the stretch in
// which that is sure, and the response target; of a schedule that does not exist,
// a gap without an end.
func (s *Snapshot) Shift(id schedule.ID, at time.Time) (schedule.Shift, time.Duration) {
	r, err := s.Turns(id)
	if err != nil {
		return schedule.Shift{}, 0
	}
	return r.Current(at), r.Schedule().Response
}

// Followers returns who follows, as a shadow, the one who holds the target.
func (s *Snapshot) Followers(t escalation.Target, holder roster.UserID, at time.Time) []schedule.Follower {
	if t.Kind == escalation.ScheduleTarget {
		return s.ShadowsAt(schedule.ID(t.ID), holder, at)
	}
	return schedule.Followers(s.Following(holder), at, holder)
}

// Follows reports whether what made somebody a shadow still stands.
func (s *Snapshot) Follows(f schedule.Follower, by schedule.ID, at time.Time) bool {
	if f.Layer == "" {
		h, ok := s.GetShadow(f.Shadow)
		return ok && h.Stands(at)
	}
	r, err := s.Turns(by)
	return err == nil && r.Follows(f, at)
}

// User returns a person; a deleted one is inactive and keeps the name, for the
// timelines that tell of him. A method whose channel is not set up here counts
// as unverified.
func (s *Snapshot) User(id roster.UserID) (roster.User, bool) {
	r, ok := known[*User](s, KindUser, string(id))
	if !ok {
		return roster.User{}, false
	}
	u := r.User
	u.Inactive = u.Inactive || !r.Deleted.IsZero()
	return s.channels.able(u), true
}

// Devices returns the devices of a person, whatever their state, oldest first.
// One whose app is not set up here is parked.
func (s *Snapshot) Devices(id roster.UserID) []roster.Device {
	devices := s.DevicesOf(id)
	if len(devices) == 0 {
		return nil
	}
	out := make([]roster.Device, len(devices))
	for i, d := range devices {
		out[i] = s.channels.seen(d)
	}
	return out
}

// Settings returns those of the installation.
func (s *Snapshot) Settings() catalog.Settings { return s.GetSettings().Settings }

// Pace returns the durations that the demo shortens.
func (s *Snapshot) Pace() incident.Pace { return s.pace }

// TokenByHash returns the token of that hash, an expired one too.
func (s *Snapshot) TokenByHash(h auth.Hash) (auth.Token, bool) {
	k, ok := s.hashes.get(h)
	if !ok || k.Kind != KindToken {
		return auth.Token{}, false
	}
	t, ok := s.GetToken(auth.TokenID(k.ID))
	if !ok {
		return auth.Token{}, false
	}
	return t.Token, true
}

// DeviceLogin returns what signing in as the device is checked against.
func (s *Snapshot) DeviceLogin(id roster.DeviceID) (auth.DeviceLogin, bool) {
	d, ok := s.GetDevice(id)
	if !ok {
		return auth.DeviceLogin{}, false
	}
	return d.Login(), true
}

// IntegrationByHash returns the integration of that key, a disabled one too:
// its events are accepted and dropped, with a count.
func (s *Snapshot) IntegrationByHash(h auth.Hash) (catalog.Integration, bool) {
	k, ok := s.hashes.get(h)
	if !ok || k.Kind != KindIntegration {
		return catalog.Integration{}, false
	}
	i, ok := s.GetIntegration(catalog.IntegrationID(k.ID))
	if !ok {
		return catalog.Integration{}, false
	}
	return i.Integration, true
}

// Owner returns the person whom a device or a token belongs to.
func (s *Snapshot) Owner(k Key) (roster.UserID, bool) {
	switch k.Kind {
	case KindUser:
		return roster.UserID(k.ID), s.Exists(k)
	case KindDevice:
		d, ok := s.GetDevice(roster.DeviceID(k.ID))
		if !ok {
			return "", false
		}
		return d.User, true
	case KindToken:
		t, ok := s.GetToken(auth.TokenID(k.ID))
		if !ok {
			return "", false
		}
		return t.User, true
	default:
		return "", false
	}
}

// OwnerOf is Owner by resource name ("devices/d1"), for the permission table.
func (s *Snapshot) OwnerOf(name string) (roster.UserID, bool) {
	collection, id, _ := strings.Cut(name, "/")
	kind, ok := map[string]Kind{"users": KindUser, "devices": KindDevice, "tokens": KindToken}[collection]
	if !ok {
		return "", false
	}
	return s.Owner(Key{kind, id})
}
