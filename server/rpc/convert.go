package rpc

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// names is what a conversion looks up: *directory.Snapshot.
type names interface {
	User(id roster.UserID) (roster.User, bool)
	Policy(ref escalation.Ref) (escalation.Policy, bool)
	Service(id catalog.ServiceID) (catalog.Service, bool)
	GetTeam(id roster.TeamID) (*directory.Team, bool)
	GetIntegration(id catalog.IntegrationID) (*directory.Integration, bool)
	GetToken(id auth.TokenID) (*directory.Token, bool)
	GetDevice(id roster.DeviceID) (*directory.Device, bool)
}

// shaper makes messages of domain values.
type shaper struct{ names names }

// last returns the last part of a resource name.
func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// named prefixes an id with its collection; nothing stays nothing.
func inCollection[S ~string](collection string, id S) string {
	if id == "" {
		return ""
	}
	return collection + "/" + string(id)
}

func incidentName(id incident.ID) string              { return inCollection("incidents", id) }
func userName(id roster.UserID) string                { return inCollection("users", id) }
func teamName(id roster.TeamID) string                { return inCollection("teams", id) }
func serviceName(id catalog.ServiceID) string         { return inCollection("services", id) }
func integrationName(id catalog.IntegrationID) string { return inCollection("integrations", id) }
func policyName(id escalation.PolicyID) string        { return inCollection("escalationPolicies", id) }
func deviceName(id roster.DeviceID) string            { return inCollection("devices", id) }

// alertName names an alert by what identifies it, its service and key, so that
// it keeps its name in whatever incident it is.
func alertName(service catalog.ServiceID, key string) string {
	sum := sha256.Sum256([]byte(string(service) + "\x00" + key))
	return "alerts/" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
}

// each converts every element of a list.
func each[A, B any](as []A, f func(A) B) []B {
	if len(as) == 0 {
		return nil
	}
	bs := make([]B, len(as))
	for i, a := range as {
		bs[i] = f(a)
	}
	return bs
}

// stamp returns an instant; the zero one is absent.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// instant is the reverse of stamp.
func instant(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// span returns a duration; zero is absent.
func span(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// quote writes a version as an etag (RFC 9110, 8.8.3).
func quote(version string) string { return `"` + version + `"` }

// unquote reads an etag as a caller may send it: quoted, weak or bare.
func unquote(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}

func incidentETag(version uint32) string { return quote(strconv.FormatUint(uint64(version), 10)) }

// version reads the etag of an incident; 0 is none.
func version(etag string) (uint32, error) {
	text := unquote(etag)
	if text == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(text, 10, 32)
	if err != nil || v == 0 {
		return 0, fault.InvalidField("etag", "is no etag of an incident; leave it out or send one as it was read")
	}
	return uint32(v), nil
}

// display is what to call a person: the name, or the id of one who is gone.
func (s shaper) display(id roster.UserID) string {
	if u, ok := s.names.User(id); ok && u.Name != "" {
		return u.Name
	}
	return string(id)
}

// people lists people in a sentence.
func (s shaper) people(ids []roster.UserID) string {
	if len(ids) == 0 {
		return "nobody"
	}
	list := each(ids, s.display)
	if len(list) == 1 {
		return list[0]
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// doors are the ways in, by the words that the domain keeps.
var doors = map[string]pb.Actor_Via{ //nolint:gochecknoglobals // look-up table
	"api": pb.Actor_VIA_API, "notification": pb.Actor_VIA_NOTIFICATION, "action_token": pb.Actor_VIA_ACTION_TOKEN,
	"events": pb.Actor_VIA_EVENT, "chat": pb.Actor_VIA_CHAT, "pagerduty": pb.Actor_VIA_PAGERDUTY,
	"email": pb.Actor_VIA_EMAIL, "app": pb.Actor_VIA_APP, "cli": pb.Actor_VIA_COMMAND_LINE,
}

// console is the id of who comes through the admin socket, which is no token.
const console = "console"

// account is what to call a service account: the name of its token, or the id
// of one that is gone.
func (s shaper) account(id string) string {
	if id == console {
		return "the server's console"
	}
	if t, ok := s.names.GetToken(auth.TokenID(id)); ok && t.Name != "" {
		return t.Name
	}
	return "token " + id
}

// principal is what to call somebody as [auth.Principal] names them.
func (s shaper) principal(name string) string {
	kind, id, _ := strings.Cut(name, "/")
	switch kind {
	case "user":
		id, _, _ = strings.Cut(id, "/")
		return s.display(roster.UserID(id))
	case "token", console:
		return s.account(cmp.Or(id, kind))
	}
	return name
}

// actor is nil for nobody.
func (s shaper) actor(a incident.Actor) *pb.Actor {
	m := &pb.Actor{Via: doors[a.Via], Device: deviceName(a.Device)}
	switch a.Kind {
	case incident.ActorUser:
		id := roster.UserID(a.ID)
		m.Kind, m.Name, m.DisplayName = pb.Actor_KIND_USER, userName(id), s.display(id)
	case incident.ActorService:
		m.Kind, m.Name, m.DisplayName = pb.Actor_KIND_TOKEN, inCollection("tokens", a.ID), s.account(a.ID)
		if a.ID == console {
			m.Name = ""
		}
	case incident.ActorSource:
		id := catalog.IntegrationID(a.ID)
		m.Kind, m.Name, m.DisplayName = pb.Actor_KIND_INTEGRATION, integrationName(id), a.ID
		if in, ok := s.names.GetIntegration(id); ok {
			m.DisplayName = in.Name
		}
	case incident.ActorSystem:
		m.Kind, m.DisplayName = pb.Actor_KIND_SYSTEM, "tocsin"
	default:
		return nil
	}
	return m
}

// civil writes a time of day as "22:00".
func clockTime(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

// timeOfDay is the reverse; the rules of the message have checked its form.
func timeOfDay(s string) time.Duration {
	h, m, _ := strings.Cut(s, ":")
	hours, _ := strconv.Atoi(h)
	minutes, _ := strconv.Atoi(m)
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
}

// The enumerations whose numbers are the same on both sides; a test holds that.

func severity(s event.Severity) pb.Event_Severity         { return pb.Event_Severity(s) }
func severityOf(s pb.Event_Severity) event.Severity       { return event.Severity(s) } //nolint:gosec // checked by the rules
func urgency(u incident.Urgency) pb.Incident_Urgency      { return pb.Incident_Urgency(u) }
func urgencyOf(u pb.Incident_Urgency) incident.Urgency    { return incident.Urgency(u) } //nolint:gosec // as above
func priority(p incident.Priority) pb.Incident_Priority   { return pb.Incident_Priority(p) }
func priorityOf(p pb.Incident_Priority) incident.Priority { return incident.Priority(p) } //nolint:gosec // as above
func privacy(p roster.Privacy) pb.Privacy                 { return pb.Privacy(p) }
func privacyOf(p pb.Privacy) roster.Privacy               { return roster.Privacy(p) } //nolint:gosec // as above
func role(r roster.Role) pb.Role                          { return pb.Role(r) }
func roleOf(r pb.Role) roster.Role                        { return roster.Role(r) } //nolint:gosec // as above
