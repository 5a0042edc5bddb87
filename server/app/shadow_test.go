package app

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// shift asks whoever is on call: Ann until the hand-off, then Bo; each is
// followed by a trainee of the shadow rotation, Eve and Flo.
func shift(handOff time.Time, mode string) string {
	return `
people:
  - {id: ann, name: Ann, email: ann@example.com, role: responder}
  - {id: bo, name: Bo, email: bo@example.com, role: responder}
  - {id: cy, name: Cy, email: cy@example.com, role: admin}
  - {id: eve, name: Eve, email: eve@example.com, role: responder}
  - {id: flo, name: Flo, email: flo@example.com, role: responder}
schedules:
  - id: primary
    name: Primary
    time_zone: UTC
    response_target: 15m
    layers:
      - id: week
        rotation: {unit: weeks, handoff: "` + handOff.UTC().Format("2006-01-02T15:04") + `"}
        participants: [bo, ann]
        shadows: {participants: [flo, eve], mode: ` + mode + `}
policies:
  - {id: shop, name: Shop, levels: [{targets: [schedules/primary], delay: 1h}], fallback: [users/cy]}
services:
  - {id: checkout, name: Checkout, escalation_policy: shop, integrations: [{id: monitor, source: generic, key: ` + key + `}]}
settings: {organization: Example, catch_all: [cy]}
`
}

// act sends the tap on a card, whatever becomes of it.
func (h *handset) act(n pushtest.Notification) (*pb.ActResponse, error) {
	return h.devices.Act(h.auth, &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: n.DeliveryID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE})
}

func (in *instance) timeline(id string) []*pb.TimelineEntry {
	in.t.Helper()
	answer, err := pb.NewIncidentServiceClient(in.console()).ListTimeline(in.t.Context(), &pb.ListTimelineRequest{Parent: "incidents/" + id})
	if err != nil {
		in.t.Fatal(err)
	}
	return answer.GetEntries()
}

func (in *instance) incident(id string) *pb.Incident {
	in.t.Helper()
	answer, err := pb.NewIncidentServiceClient(in.console()).GetIncident(in.t.Context(), &pb.GetIncidentRequest{Name: "incidents/" + id})
	if err != nil {
		in.t.Fatal(err)
	}
	return answer
}

// TestShadowWhoObserves: the newcomer's phone gets the page with the holder's,
// marked, and without the button to acknowledge; the tap that an app makes up all
// the same is refused.
func TestShadowWhoObserves(t *testing.T) {
	eachProvider(t, func(t *testing.T, p pb.Device_Platform) {
		t.Helper()
		w := newWorld(t, redistest.Start(t).URL())
		in := w.start()
		in.apply(shift(w.watch.Now().Add(time.Hour), "observe"))
		ann, eve := in.bring(w, "ann", p), in.bring(w, "eve", p)
		in.send("trigger", "db", "disk full")
		own, n := gets(t, ann.Phone, "the page", page), gets(t, eve.Phone, "the page", page)
		if n.Shadow != "observe" || !strings.HasPrefix(n.Title, "Shadow · ") || !n.Audible() || own.Shadow != "" {
			t.Errorf("eve's page is marked %q and says %q, audible %t; ann's is marked %q", n.Shadow, n.Title, n.Audible(), own.Shadow)
		}
		if p == pb.Device_PLATFORM_IOS && (n.Category != "TOCSIN_PAGE_OBSERVE" || own.Category != "TOCSIN_PAGE") {
			t.Errorf("categories %q and %q", n.Category, own.Category)
		}
		if _, err := eve.act(n); status.Code(err) != codes.PermissionDenied {
			t.Errorf("the tap of one who observes: %v, want it denied", err)
		}
		ann.acknowledge(own)
		gets(t, eve.Phone, "the quiet line", quiet)
		if got := in.acknowledgements(n.IncidentID); got != 1 {
			t.Errorf("%d acknowledgements, want ann's", got)
		}
	})
}

// TestShadowWhoPractises: the newcomer's answer is measured, beside the
// holder's, and takes nothing off anybody but herself.
func TestShadowWhoPractises(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(shift(w.watch.Now().Add(time.Hour), "practise"))
	ann, eve := in.bring(w, "ann", pb.Device_PLATFORM_IOS), in.bring(w, "eve", pb.Device_PLATFORM_ANDROID)
	in.send("trigger", "db", "disk full")
	own, n := gets(t, ann.Phone, "the page", page), gets(t, eve.Phone, "the page", page)
	if answer, err := eve.act(n); err != nil || answer.GetState() != pb.Incident_STATE_TRIGGERED || answer.GetHolder() != "Ann" {
		t.Fatalf("eve answers: %v, %v; want it still Ann's", answer, err)
	}
	gets(t, eve.Phone, "the quiet line", quiet)
	in.forward(w, 2*time.Minute)
	gets(t, ann.Phone, "the next step", func(got pushtest.Notification) bool { return got.Kind == "page" && got.DeliveryID != own.DeliveryID })
	ann.acknowledge(own)
	got := map[pb.TimelineEntry_Type]*pb.TimelineEntry{}
	for _, e := range in.timeline(n.IncidentID) {
		got[e.GetType()] = e
	}
	measure, primary := got[pb.TimelineEntry_TYPE_SHADOW_ACKNOWLEDGED], got[pb.TimelineEntry_TYPE_ACKNOWLEDGED]
	if measure.GetFollowed() != "users/ann" || measure.GetResponseTime().AsDuration() > time.Minute+busy || primary.GetResponseTime().AsDuration() < 2*time.Minute {
		t.Errorf("measured %v beside %v", measure, primary)
	}
	if after := in.incident(n.IncidentID); len(after.GetShadows()) != 1 || after.GetShadows()[0].GetAcknowledgeTime() == nil || len(after.GetResponses()) != 2 {
		t.Errorf("the incident shows the shadows %v and the responses %v", after.GetShadows(), after.GetResponses())
	}
}

// TestHandOffInTheMiddle: nobody has taken the incident when the shift ends; the
// next one's phone rings at once, and his own newcomer's with it. The response
// target is warned of before it is missed.
func TestHandOffInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(shift(w.watch.Now().Add(30*time.Minute), "duty"))
	ann, bo, flo := in.bring(w, "ann", pb.Device_PLATFORM_IOS), in.bring(w, "bo", pb.Device_PLATFORM_IOS), in.bring(w, "flo", pb.Device_PLATFORM_IOS)
	in.send("trigger", "db", "disk full")
	own := gets(t, ann.Phone, "the page", page)
	in.forward(w, 11*time.Minute)
	gets(t, ann.Phone, "the quiet reminder of the target", func(n pushtest.Notification) bool {
		return n.Kind == "info" && strings.Contains(n.Body, "response target") && !n.Audible()
	})
	in.forward(w, 10*time.Minute)
	in.forward(w, 10*time.Minute)
	gets(t, bo.Phone, "the page at the hand-off", page)
	n := gets(t, flo.Phone, "the page of whoever follows", page)
	if n.Shadow != "duty" {
		t.Errorf("flo's page is marked %q", n.Shadow)
	}
	missed := 0
	for _, e := range in.timeline(own.IncidentID) {
		if e.GetType() == pb.TimelineEntry_TYPE_RESPONSE_MISSED && e.GetUsers()[0] == "users/ann" {
			missed++
		}
	}
	if missed != 1 {
		t.Errorf("ann's missed target is %d times on the timeline", missed)
	}
}
