package rpc

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// book is what conversions look up in the tests.
type book struct{}

func (book) User(id roster.UserID) (roster.User, bool) {
	if id == "gone" {
		return roster.User{}, false
	}
	return roster.User{ID: id, Name: strings.ToUpper(string(id)), Methods: []roster.Method{{ID: "mail", Kind: roster.Email, Address: "ann@example.org", Verified: true}}}, true
}

func (book) Policy(ref escalation.Ref) (escalation.Policy, bool) {
	return escalation.Policy{ID: ref.ID, Version: ref.Version, Levels: make([]escalation.Level, 3)}, ref.Version == 4
}
func (book) Service(catalog.ServiceID) (catalog.Service, bool) { return catalog.Service{}, false }
func (book) GetTeam(roster.TeamID) (*directory.Team, bool)     { return nil, false }
func (book) GetIntegration(id catalog.IntegrationID) (*directory.Integration, bool) {
	return &directory.Integration{Integration: catalog.Integration{ID: id, Name: "Prometheus"}}, id == "prom"
}

func (book) GetDevice(id roster.DeviceID) (*directory.Device, bool) {
	return &directory.Device{Device: roster.Device{ID: id, Name: "Ann's iPhone"}}, id == "iphone"
}

func (book) GetToken(id auth.TokenID) (*directory.Token, bool) {
	return &directory.Token{Token: auth.Token{ID: id, Name: "release bot"}}, id == "t1"
}

var at = time.Date(2026, 3, 1, 2, 3, 4, 5e6, time.UTC)

// A number that means one thing in the domain means the same in the contract.
func TestSharedNumbers(t *testing.T) {
	for _, c := range []struct {
		name     string
		got, exp int32
	}{
		{"critical", int32(severity(event.Critical)), int32(pb.Event_SEVERITY_CRITICAL)},
		{"error", int32(severity(event.Error)), int32(pb.Event_SEVERITY_ERROR)},
		{"warning", int32(severity(event.Warning)), int32(pb.Event_SEVERITY_WARNING)},
		{"info", int32(severity(event.Info)), int32(pb.Event_SEVERITY_INFO)},
		{"high", int32(urgency(incident.High)), int32(pb.Incident_URGENCY_HIGH)},
		{"low", int32(urgency(incident.Low)), int32(pb.Incident_URGENCY_LOW)},
		{"P1", int32(priority(1)), int32(pb.Incident_PRIORITY_P1)},
		{"P5", int32(priority(5)), int32(pb.Incident_PRIORITY_P5)},
		{"full", int32(privacy(roster.PrivacyFull)), int32(pb.Privacy_PRIVACY_FULL)},
		{"sealed", int32(privacy(roster.PrivacySealed)), int32(pb.Privacy_PRIVACY_SEALED)},
		{"admin", int32(role(roster.Admin)), int32(pb.Role_ROLE_ADMIN)},
		{"stakeholder", int32(role(roster.Stakeholder)), int32(pb.Role_ROLE_STAKEHOLDER)},
		{"triggered", int32(incident.Triggered), int32(pb.Incident_STATE_TRIGGERED)},
		{"resolved", int32(incident.Resolved), int32(pb.Incident_STATE_RESOLVED)},
		{"trigger", int32(event.Trigger), int32(pb.Event_ACTION_TRIGGER)},
		{"acknowledge", int32(event.Acknowledge), int32(pb.Event_ACTION_ACKNOWLEDGE)},
		{"resolve", int32(event.Resolve), int32(pb.Event_ACTION_RESOLVE)},
		{"iOS", int32(roster.IOS), int32(pb.Device_PLATFORM_IOS)},
		{"Android", int32(roster.Android), int32(pb.Device_PLATFORM_ANDROID)},
		{"web", int32(roster.Web), int32(pb.Device_PLATFORM_WEB)},
		{"APNs", int32(directory.APNs), int32(pb.Device_Address_KIND_APNS)},
		{"FCM", int32(directory.FCM), int32(pb.Device_Address_KIND_FCM)},
		{"Web Push", int32(directory.WebPush), int32(pb.Device_Address_KIND_WEB_PUSH)},
		{"granted", int32(directory.PermissionGranted), int32(pb.Device_PERMISSION_GRANTED)},
		{"provisional", int32(directory.PermissionProvisional), int32(pb.Device_PERMISSION_PROVISIONAL)},
	} {
		if c.got != c.exp {
			t.Errorf("%s: got %d, want %d", c.name, c.got, c.exp)
		}
	}
}

// Every value of an enumeration of the domain has its word in the contract.
func TestTablesAreComplete(t *testing.T) {
	for e := incident.EntryTriggered; e <= incident.EntryResponseMissed; e++ {
		if entryTypes[e] == 0 {
			t.Errorf("entry type %d has no word", e)
		}
		if s := (shaper{book{}}).sentence(incident.Entry{Type: e, Users: []roster.UserID{"ann"}}); s == "" || strings.Contains(s, "does not know") {
			t.Errorf("entry type %d is said as %q", e, s)
		}
	}
	for c := incident.CauseManual; c <= incident.CauseHandOff; c++ {
		if causes[c] == 0 {
			t.Errorf("cause %d has no word", c)
		}
	}
	for s := incident.DeliveryQueued; s <= incident.DeliveryActed; s++ {
		if deliveryStates[s] == 0 {
			t.Errorf("delivery state %d has no word", s)
		}
	}
	for v := incident.ViaPolicy; v <= incident.ViaResponder; v++ {
		if vias[v] == 0 {
			t.Errorf("via %d has no word", v)
		}
	}
	for s := roster.DeviceActive; s <= roster.DeviceRevoked; s++ {
		if deviceStates[s] == 0 {
			t.Errorf("device state %d has no word", s)
		}
	}
	for _, s := range auth.Scopes() {
		if scopesOf[scopes[s]] != s {
			t.Errorf("scope %s does not come back", s)
		}
	}
}

func TestIncidentMessage(t *testing.T) {
	in := &incident.Incident{
		ID: "0123", Number: 7, Service: "payments", Team: "core", Severity: event.Critical, Status: incident.Acknowledged, Urgency: incident.High, Priority: 2,
		Text: incident.Text{
			Title: "disk full", Source: "db1", Component: "/", Group: "g", Class: "c", Client: "Prometheus", ClientURL: "https://p", Details: []byte(`{"a":1}`),
			Links: []event.Link{{Href: "https://l", Text: "l"}}, Images: []event.Image{{Src: "https://i", Href: "https://h", Alt: "a"}},
		},
		Policy: escalation.Ref{ID: "core", Version: 4}, Level: 1, Loop: 2, Exhausted: true,
		Assignees: []incident.Assignee{{User: "ann", Since: at, Via: incident.ViaPolicy, Level: 1}, {User: "gone", Since: at, Via: incident.ViaResponder}},
		Acks:      []incident.Ack{{By: incident.Actor{Kind: incident.ActorUser, ID: "ann", Via: "notification", Device: "d"}, At: at, ClientAt: at.Add(-time.Second)}},
		Timers:    incident.Timers{Escalate: at.Add(time.Minute), SnoozeEnd: at.Add(time.Hour)},
		Created:   at, Updated: at, FirstAck: at, Opened: []incident.Interval{{From: at}}, Reopens: 1, AlertsOpen: 2, AlertsTotal: 3, Version: 9, Revision: 12,
	}
	want := &pb.Incident{
		Name: "incidents/0123", Number: 7, Title: "disk full", Service: "services/payments", Team: "teams/core", State: pb.Incident_STATE_ACKNOWLEDGED,
		Urgency: pb.Incident_URGENCY_HIGH, Priority: pb.Incident_PRIORITY_P2, Severity: pb.Event_SEVERITY_CRITICAL,
		Assignees: []*pb.Assignee{
			{User: "users/ann", DisplayName: "ANN", SinceTime: stamp(at), Level: 2, Via: pb.Assignee_VIA_POLICY},
			{User: "users/gone", DisplayName: "gone", SinceTime: stamp(at), Via: pb.Assignee_VIA_RESPONDER_REQUEST},
		},
		Acknowledgements: []*pb.Acknowledgement{{User: "users/ann", DisplayName: "ANN", AcknowledgeTime: stamp(at), ClientTime: stamp(at.Add(-time.Second)), Via: pb.Actor_VIA_NOTIFICATION}},
		Escalation:       &pb.Escalation{Policy: "escalationPolicies/core", PolicyVersion: 4, Level: 2, LevelCount: 3, Loop: 2, NextEscalationTime: stamp(at.Add(time.Minute)), Exhausted: true},
		SnoozeUntil:      stamp(at.Add(time.Hour)), AlertCount: 3, OpenAlertCount: 2, Source: "db1", Component: "/", Group: "g", Class: "c", Client: "Prometheus", ClientUri: "https://p",
		Links: []*pb.Link{{Uri: "https://l", Text: "l"}}, Images: []*pb.Image{{SourceUri: "https://i", Uri: "https://h", AltText: "a"}},
		CreateTime: stamp(at), UpdateTime: stamp(at), AcknowledgeTime: stamp(at), ReopenCount: 1, OpenIntervals: []*pb.OpenInterval{{StartTime: stamp(at)}},
		Etag: `"9"`, Revision: 12,
	}
	if diff := cmp.Diff(want, shaper{book{}}.incident(in), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	over := *in
	over.Status, over.ResolvedAt, over.Cause, over.MergedInto = incident.Resolved, at, incident.CauseMerged, "0456"
	over.ResolvedBy = incident.Actor{Kind: incident.ActorSource, ID: "prom", Via: "events"}
	got := shaper{book{}}.incident(&over)
	if got.GetResolveCause() != pb.Incident_RESOLVE_CAUSE_MERGED || got.GetMergedInto() != "incidents/0456" || got.GetResolver().GetDisplayName() != "Prometheus" || got.GetResolver().GetVia() != pb.Actor_VIA_EVENT {
		t.Errorf("a resolved one: %v", got)
	}
}

func TestEntryMessage(t *testing.T) {
	s := shaper{book{}}
	for name, c := range map[string]struct {
		entry incident.Entry
		want  *pb.TimelineEntry
	}{
		"escalated": {
			incident.Entry{Seq: 3, At: at, Type: incident.EntryEscalated, Actor: incident.System("timer"), From: 0, Level: 1, Loop: 1, Cause: incident.CauseTimeout},
			&pb.TimelineEntry{
				Seq: 3, EntryTime: stamp(at), Type: pb.TimelineEntry_TYPE_ESCALATED, Actor: &pb.Actor{Kind: pb.Actor_KIND_SYSTEM, DisplayName: "tocsin"},
				Cause: pb.TimelineEntry_CAUSE_TIMEOUT, FromLevel: 1, Level: 2, Loop: 1, Summary: "It went from level 1 to level 2, because nobody answered in time.",
			},
		},
		"acknowledged late": {
			incident.Entry{Seq: 4, At: at, Type: incident.EntryAcknowledged, Actor: incident.Actor{Kind: incident.ActorUser, ID: "ann", Via: "action_token", Device: "d"}, ClientAt: at.Add(-time.Minute)},
			&pb.TimelineEntry{
				Seq: 4, EntryTime: stamp(at), Type: pb.TimelineEntry_TYPE_ACKNOWLEDGED, ClientTime: stamp(at.Add(-time.Minute)),
				Actor:   &pb.Actor{Kind: pb.Actor_KIND_USER, Name: "users/ann", DisplayName: "ANN", Via: pb.Actor_VIA_ACTION_TOKEN, Device: "devices/d"},
				Summary: "ANN acknowledged it (tapped 1m0s earlier).",
			},
		},
		"merged in": {
			incident.Entry{Seq: 5, At: at, Type: incident.EntryMergedIn, Actor: incident.Actor{Kind: incident.ActorService, ID: "console", Via: "cli"}, Other: "0456", Count: 3},
			&pb.TimelineEntry{
				Seq: 5, EntryTime: stamp(at), Type: pb.TimelineEntry_TYPE_MERGED_IN, Incidents: []string{"incidents/0456"},
				Actor:   &pb.Actor{Kind: pb.Actor_KIND_TOKEN, DisplayName: "the server's console", Via: pb.Actor_VIA_COMMAND_LINE},
				Summary: "the server's console merged incident 0456 into it.",
			},
		},
		"repeats": {
			incident.Entry{Seq: 6, At: at, Type: incident.EntryDuplicate, Actor: incident.Actor{Kind: incident.ActorSource, ID: "prom", Via: "events"}, Service: "payments", Key: "a", Count: 4},
			&pb.TimelineEntry{
				Seq: 6, EntryTime: stamp(at), Type: pb.TimelineEntry_TYPE_DUPLICATE, Count: 4, Alerts: []string{alertName("payments", "a")},
				Actor:   &pb.Actor{Kind: pb.Actor_KIND_INTEGRATION, Name: "integrations/prom", DisplayName: "Prometheus", Via: pb.Actor_VIA_EVENT},
				Summary: "The alert a was reported 4 times more.",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, s.entry(c.entry), protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAlertNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range []struct {
		service catalog.ServiceID
		key     string
	}{{"a", "bc"}, {"ab", "c"}, {"a", "b"}, {"a", strings.Repeat("x", 255)}} {
		n := alertName(k.service, k.key)
		if seen[n] || len(last(n)) > 40 || strings.Trim(last(n), "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%v is named %s", k, n)
		}
		seen[n] = true
	}
}

func TestETags(t *testing.T) {
	for text, want := range map[string]uint32{`"12"`: 12, `W/"12"`: 12, "12": 12, "": 0} {
		if got, err := version(text); err != nil || got != want {
			t.Errorf("%q: got %d (%v), want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"x", `"-1"`, `"99999999999"`, `"0"`} {
		if got, err := version(bad); err == nil {
			t.Errorf("%q is taken for %d", bad, got)
		}
	}
}

func TestAddressHints(t *testing.T) {
	for address, want := range map[string]string{
		"ann@example.org": "a***@example.org", "https://hook.example.org/secret": "hook.example.org", "": "", "@x": "", "rubbish": "",
	} {
		if got := addressHint(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}

// Messages of the configuration come back as they went, but for what is the
// server's to say.
func TestConfigurationComesBack(t *testing.T) {
	user := &directory.User{User: roster.User{
		ID: "ann", Name: "Ann", Email: "ann@example.org", Zone: "Europe/Zurich", Locale: "de-CH", Role: roster.Admin, Privacy: roster.PrivacyTitle,
		Methods: []roster.Method{{ID: "mail", Kind: roster.Email, Address: "a@example.org", Verified: true, Bouncing: true}, {ID: "hook", Kind: roster.Webhook, Address: "https://h", Secret: []byte("sealed")}},
		High:    []roster.Step{{Method: "push"}, {Delay: time.Minute, Method: "mail", Loud: true}}, Low: []roster.Step{{Method: "mail"}},
		Quiet: roster.QuietHours{Start: 22 * time.Hour, End: 7*time.Hour + 30*time.Minute}, Remind: roster.Reminder{Every: 10 * time.Minute, UntilResolve: true},
	}, Meta: directory.Meta{Revision: 3, Created: at, Updated: at}}
	back, err := userOf("ann", userMessage(user, nil), user, nil)
	if err != nil || !reflect.DeepEqual(user, back) {
		t.Errorf("user (%v):\n%s", err, cmp.Diff(user, back))
	}
	service := &directory.Service{Service: catalog.Service{
		ID: "payments", Name: "Payments", Team: "core", Policy: "core", Disabled: true, Urgency: catalog.UrgencyBySupportHours,
		Hours:       catalog.SupportHours{Zone: "UTC", Days: []time.Weekday{time.Monday, time.Sunday}, Start: 8 * time.Hour, End: 18 * time.Hour},
		MinSeverity: event.Warning, AckTimeout: -1, AckReminder: time.Hour, AutoResolve: 4 * time.Hour, ReopenWindow: 5 * time.Minute,
		KeyScope: catalog.ScopeIntegration, Privacy: roster.PrivacyMinimal,
	}, Meta: directory.Meta{Revision: 3, Created: at, Updated: at}}
	if back := serviceOf("payments", serviceMessage(service, 2), service); !reflect.DeepEqual(service, back) {
		t.Errorf("service:\n%s", cmp.Diff(service, back))
	}
	policy := &directory.Policy{Policy: escalation.Policy{
		ID: "core", Version: 3, Name: "Core", Team: "core", Loops: 2, EscalateLow: true, HandOff: escalation.HandOffKeep, Fallback: []escalation.Target{{Kind: escalation.UserTarget, ID: "cyd"}},
		Levels: []escalation.Level{{Targets: []escalation.Target{{Kind: escalation.UserTarget, ID: "ann"}}, Delay: time.Minute, Strategy: escalation.RoundRobin, MultiAck: true}},
	}, Meta: directory.Meta{Revision: 3}}
	if back := policyOf("core", policyMessage(policy.Policy, policy.Meta, nil), policy); !reflect.DeepEqual(policy, back) {
		t.Errorf("policy:\n%s", cmp.Diff(policy, back))
	}
	team := &directory.Team{Team: roster.Team{ID: "core", Name: "Core", Members: []roster.UserID{"ann"}, Managers: []roster.UserID{"ann"}}, Meta: directory.Meta{Revision: 3}}
	if back := teamOf("core", teamMessage(team), team); !reflect.DeepEqual(team, back) {
		t.Errorf("team:\n%s", cmp.Diff(team, back))
	}
	in := &directory.Integration{Integration: catalog.Integration{ID: "prom", Service: "payments", Name: "P", Source: "generic", Options: map[string]string{"a": "b"}, Disabled: true, KeyHash: [32]byte{1}}, Hint: "abcd"}
	if back := integrationOf("prom", integrationMessage(in), in); !reflect.DeepEqual(in, back) {
		t.Errorf("integration:\n%s", cmp.Diff(in, back))
	}
	settings := &directory.Settings{Settings: catalog.Settings{CatchAll: []roster.UserID{"ann"}, Privacy: roster.PrivacyTitle, Held: true, HeldBy: "x"}, Organization: "Example"}
	if back := settingsOf(settingsMessage(settings), settings); !reflect.DeepEqual(settings, back) {
		t.Errorf("settings:\n%s", cmp.Diff(settings, back))
	}
	device := &directory.Device{
		Device: roster.Device{ID: "d", User: "ann", Name: "Ann's", Platform: roster.Android, State: roster.DeviceActive}, Install: "i", App: "a", Environment: directory.Sandbox,
		SealKey: []byte{1}, SealKeyID: "k", UnlockKey: []byte{2}, Locale: "de", Zone: "UTC", AppVersion: "1", OSVersion: "2", Model: "m",
		Can:        directory.Capabilities{Critical: true, TimeSensitive: true, FullScreen: true, DNDBypass: true, ChannelOK: true, LiveActivity: true, Actions: true, LockScreen: true, ScheduledSummary: true, BatteryUnrestricted: true, Alert: true, Sound: true},
		Permission: directory.PermissionProvisional,
	}
	again := *device
	deviceOf(&again, deviceMessage(device, roster.Word{}, at), at)
	if !reflect.DeepEqual(device, &again) {
		t.Errorf("device:\n%s", cmp.Diff(device, &again))
	}
}

// eventMessage is what a client sends of an event.
func eventMessage(e event.Event) *pb.Event {
	return &pb.Event{
		Action: pb.Event_Action(e.Action), DedupKey: e.DedupKey, Summary: e.Summary, Source: e.Source, Severity: severity(e.Severity),
		EventTime: stamp(e.Timestamp), Component: e.Component, Group: e.Group, Class: e.Class, Details: details(e.Details),
		Links: each(e.Links, link), Images: each(e.Images, image), Client: e.Client, ClientUri: e.ClientURL, SenderId: e.SenderID,
	}
}

// An event comes back as it went.
func TestEventsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~]{0,20}`)
		e := event.Event{
			Action: event.Action(rapid.IntRange(1, 3).Draw(t, "action")), DedupKey: text.Draw(t, "key"), Summary: text.Draw(t, "summary"), Source: text.Draw(t, "source"),
			Severity: event.Severity(rapid.IntRange(0, 4).Draw(t, "severity")), Component: text.Draw(t, "component"), Group: text.Draw(t, "group"),
			Class: text.Draw(t, "class"), Client: text.Draw(t, "client"), ClientURL: text.Draw(t, "url"), SenderID: text.Draw(t, "sender"),
		}
		if rapid.Bool().Draw(t, "timed") {
			e.Timestamp = time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "at")).UTC()
		}
		if rapid.Bool().Draw(t, "detailed") {
			e.Details = []byte(`{"a":[1,"b"],"c":null}`)
		}
		if got := eventOf(eventMessage(e)); !reflect.DeepEqual(e, got) {
			t.Fatalf("got %+v, want %+v", got, e)
		}
	})
}

func TestDetails(t *testing.T) {
	if m := details([]byte("[1]")); m.GetFields()["text"].GetStringValue() != "[1]" {
		t.Errorf("stored text is shown as %v", m)
	}
	if got := string(detailsOf(details([]byte(`{"b":2,"a":[true,null]}`)))); got != `{"a":[true,null],"b":2}` {
		t.Errorf("got %s", got)
	}
	if got := detailsOf(nil); got != nil {
		t.Errorf("nothing became %s", got)
	}
}

// update takes what the mask names and passes over what is the server's.
func TestUpdate(t *testing.T) {
	from := &pb.User{Name: "users/x", DisplayName: "New", Locale: "de", QuietHours: &pb.QuietHours{Start: "21:00", End: "06:00"}, Etag: "e", Reachable: true}
	for _, c := range []struct {
		name  string
		paths []string
		want  *pb.User
		bad   bool
	}{
		{"what is set", nil, &pb.User{Name: "users/ann", DisplayName: "New", Locale: "de", Email: "e", QuietHours: &pb.QuietHours{Start: "21:00", End: "06:00"}}, false},
		{"all", []string{"*"}, &pb.User{Name: "users/ann", DisplayName: "New", Locale: "de", QuietHours: &pb.QuietHours{Start: "21:00", End: "06:00"}}, false},
		{"one", []string{"locale"}, &pb.User{Name: "users/ann", DisplayName: "Ann", Locale: "de", Email: "e", QuietHours: &pb.QuietHours{Start: "22:00", End: "07:00"}}, false},
		{"cleared", []string{"email"}, &pb.User{Name: "users/ann", DisplayName: "Ann", QuietHours: &pb.QuietHours{Start: "22:00", End: "07:00"}}, false},
		{"inside", []string{"quiet_hours.start"}, &pb.User{Name: "users/ann", DisplayName: "Ann", Email: "e", QuietHours: &pb.QuietHours{Start: "21:00", End: "07:00"}}, false},
		{"the server's", []string{"name", "reachable", "etag"}, &pb.User{Name: "users/ann", DisplayName: "Ann", Email: "e", QuietHours: &pb.QuietHours{Start: "22:00", End: "07:00"}}, false},
		{"unknown", []string{"nope"}, nil, true},
		{"into a list", []string{"high_steps.delay"}, nil, true},
		{"into a text", []string{"locale.x"}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := &pb.User{Name: "users/ann", DisplayName: "Ann", Email: "e", QuietHours: &pb.QuietHours{Start: "22:00", End: "07:00"}}
			_, err := update(to, from, &fieldmaskpb.FieldMask{Paths: c.paths})
			if (err != nil) != c.bad {
				t.Fatalf("got %v, want an error: %t", err, c.bad)
			}
			if diff := cmp.Diff(c.want, to, protocmp.Transform()); !c.bad && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSlugs(t *testing.T) {
	for text, want := range map[string]string{"Web Shop (EU)": "web-shop-eu", "  ": "", "Ärzte": "rzte", "a.b_c": "a-b-c"} {
		if got := slug(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := slug(strings.Repeat("ab ", 100)); len(got) > 63 {
		t.Errorf("a slug of %d characters", len(got))
	}
}

// Every field of the contract's timeline and delivery that the domain can fill
// is filled by some entry: a field that nobody writes is a promise not kept.
func TestNoFieldIsForgotten(t *testing.T) {
	e := incident.Entry{
		Seq: 1, At: at, Type: incident.EntryDuplicate, Actor: incident.System("x"), Cause: incident.CauseManual, Users: []roster.UserID{"ann"}, Via: incident.ViaPolicy, Follows: "bo", Mode: schedule.Duty, Took: time.Minute,
		Loop: 1, Count: 2, Service: "s", Key: "k", Step: "push", Loud: true, Text: "t", Until: at, ClientAt: at, Other: "0", Urgency: 1, Priority: 1, Severity: 1,
	}
	m := shaper{book{}}.entry(e)
	e.Type, e.Level = incident.EntryEscalated, 1
	proto.Merge(m, shaper{book{}}.entry(e))
	filled(t, m)
	d := incident.Delivery{
		ID: "d", User: "ann", Device: "x", Method: "mail", Kind: roster.Email, Page: true, State: incident.DeliveryActed, Audible: true, Attempts: 1, Reason: "r",
		Deadline: at, Queued: at, Attempted: at, Accepted: at, Received: at, Displayed: at, Opened: at, Acted: at, Ended: at,
		Provider: "p", Tries: incident.Tries("").With(at, "503"),
	}
	filled(t, shaper{book{}}.delivery("0", d))
}

func filled(t *testing.T, m proto.Message) {
	t.Helper()
	r := m.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		if f := r.Descriptor().Fields().Get(i); !r.Has(f) {
			t.Errorf("%s: nothing fills %s", r.Descriptor().Name(), f.Name())
		}
	}
}
