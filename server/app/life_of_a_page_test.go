package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// handset is a phone with the app: it came in by an enrolment link, and keeps
// to the contract of a phone over the public API.
type handset struct {
	*pushtest.Phone

	t       *testing.T
	devices pb.DeviceServiceClient
	auth    context.Context // with the device's credential
	token   string          // at its push service
	name    string          // of its device
}

// dial connects to a door of the server.
func dial(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func bearer(ctx context.Context, credential string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+credential)
}

// console connects as administrator.
func (in *instance) console() *grpc.ClientConn { return dial(in.t, "unix://"+in.doors.Socket) }

// bring brings a new phone of a person in, as its app does.
func (in *instance) bring(w *world, user string, platform pb.Device_Platform) *handset {
	in.t.Helper()
	ctx := in.t.Context()
	link, err := pb.NewDeviceServiceClient(in.console()).CreateEnrolment(ctx, &pb.CreateEnrolmentRequest{User: "users/" + user})
	if err != nil {
		in.t.Fatal(err)
	}
	_, code, ok := strings.Cut(link.GetUri(), "#")
	if !ok {
		in.t.Fatalf("the link %q has no code in its fragment", link.GetUri())
	}
	h := &handset{t: in.t, Phone: pushtest.NewPhone(pushtest.PhoneOptions{Name: user, Now: w.watch.Now})}
	in.t.Cleanup(h.Close)
	address := &pb.Device_Address{Kind: pb.Device_Address_KIND_APNS}
	if platform == pb.Device_PLATFORM_IOS {
		address.Value = w.apple.Register(h.Phone, bundle)
	} else {
		address.Kind, address.Value = pb.Device_Address_KIND_FCM, w.fcm.Register(h.Phone, bundle)
	}
	h.devices = pb.NewDeviceServiceClient(dial(in.t, in.doors.Listen))
	enrolled, err := h.devices.EnrolDevice(ctx, &pb.EnrolDeviceRequest{Code: code, Device: &pb.Device{
		InstallId: uuid.NewString(), Platform: platform, AppId: bundle, Address: address,
		Capabilities: &pb.Device_Capabilities{Alert: true, Sound: true, Actions: true, Critical: true, TimeSensitive: true, ChannelOk: true},
		Permission:   pb.Device_PERMISSION_GRANTED,
	}})
	if err != nil {
		in.t.Fatal(err)
	}
	h.auth, h.token, h.name = bearer(ctx, enrolled.GetCredential()), address.GetValue(), enrolled.GetDevice().GetName()
	return h
}

// receipt reports what the phone did with a page.
func (h *handset) receipt(n pushtest.Notification, states ...pb.Receipt_State) {
	h.t.Helper()
	req := &pb.ReportReceiptsRequest{}
	for _, s := range states {
		req.Receipts = append(req.Receipts, &pb.Receipt{DeliveryId: n.DeliveryID, State: s})
	}
	answer, err := h.devices.ReportReceipts(h.auth, req)
	if err != nil {
		h.t.Fatalf("receipts of %s: %v", h.Name(), err)
	}
	for _, r := range answer.GetResults() {
		if r.GetStatus() != pb.ReportReceiptsResponse_Result_STATUS_RECORDED {
			h.t.Errorf("receipt of %s answered %s, want STATUS_RECORDED", h.Name(), r.GetStatus())
		}
	}
}

// acknowledge is the tap on the lock screen.
func (h *handset) acknowledge(n pushtest.Notification) *pb.ActResponse {
	h.t.Helper()
	answer, err := h.devices.Act(h.auth, &pb.ActRequest{
		ActionId: uuid.NewString(), DeliveryId: n.DeliveryID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE,
	})
	if err != nil {
		h.t.Fatalf("%s acknowledges: %v", h.Name(), err)
	}
	return answer
}

// sounds counts how often the phone made a noise.
func (h *handset) sounds() int {
	n := 0
	for _, got := range h.Got() {
		if got.Audible() {
			n++
		}
	}
	return n
}

// forward moves time on, and returns when the server has done all that was due by then.
func (in *instance) forward(w *world, d time.Duration) {
	in.t.Helper()
	w.watch.forward(d)
	ctx, cancel := context.WithTimeout(in.t.Context(), patience)
	defer cancel()
	for {
		pulses, err := in.server.store.Pulse(ctx, in.server.engine.Owned())
		now := w.watch.Now()
		busy := 0
		for _, p := range pulses {
			if p.Inbox+p.Work > 0 || (!p.Due.IsZero() && p.Due.Before(now)) {
				busy++
			}
		}
		if err == nil && busy == 0 && len(pulses) > 0 {
			return
		}
		if !again(ctx) {
			in.t.Fatalf("%s later, %d partitions still have something to do: %+v, %v", d, busy, pulses, err)
		}
	}
}

// TestALifeOfAPage follows one page over the public doors: an event rings
// Ann's iPhone, she does not answer, it escalates to Bo's Android, he
// acknowledges from the lock screen, both cards turn quiet, and silence holds.
func TestALifeOfAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	console := in.console()
	_, err := pb.NewConfigurationServiceClient(console).ApplyConfiguration(t.Context(), &pb.ApplyConfigurationRequest{Yaml: organisation, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	bo := in.bring(w, "bo", pb.Device_PLATFORM_ANDROID)
	incidents := pb.NewIncidentServiceClient(console)

	in.send("trigger", "db-1", "disk full")
	first := gets(t, ann.Phone, "the page", page)
	ann.receipt(first, pb.Receipt_STATE_RECEIVED, pb.Receipt_STATE_DISPLAYED)
	name := "incidents/" + first.IncidentID
	if n := bo.sounds(); n != 0 {
		t.Errorf("Bo's phone sounded %d times before anything escalated", n)
	}

	in.forward(w, 5*time.Minute+time.Second)
	second := gets(t, bo.Phone, "the escalated page", page)
	bo.receipt(second, pb.Receipt_STATE_RECEIVED, pb.Receipt_STATE_DISPLAYED)
	if !second.Audible() {
		t.Errorf("the escalated page wakes nobody: %+v", second)
	}

	answer := bo.acknowledge(second)
	if !answer.GetChanged() || answer.GetState() != pb.Incident_STATE_ACKNOWLEDGED || !answer.GetHolderIsCaller() {
		t.Errorf("acknowledging answered %v, want it changed, acknowledged and held by the caller", answer)
	}
	for _, h := range []*handset{ann, bo} {
		n := gets(t, h.Phone, "the quiet card", quiet)
		if n.Audible() {
			t.Errorf("the card that says it is over makes a noise on %s's phone", h.Name())
		}
		if shown := h.Shown(); len(shown) != 1 || shown[0].Kind != "clear" {
			t.Errorf("%s's phone shows %+v, want one quiet card", h.Name(), shown)
		}
	}
	gone, err := incidents.GetIncident(t.Context(), &pb.GetIncidentRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if gone.GetState() != pb.Incident_STATE_ACKNOWLEDGED {
		t.Errorf("the incident is %s, want it acknowledged", gone.GetState())
	}

	before := ann.sounds() + bo.sounds()
	in.forward(w, 10*time.Minute)
	if after := ann.sounds() + bo.sounds(); after != before {
		t.Errorf("the phones sounded %d times after the acknowledgement", after-before)
	}
	expectStory(t, incidents, name)
}

// expectStory holds the record against what happened.
func expectStory(t *testing.T, incidents pb.IncidentServiceClient, name string) {
	t.Helper()
	timeline, err := incidents.ListTimeline(t.Context(), &pb.ListTimelineRequest{Parent: name})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range timeline.GetEntries() {
		told = append(told, fmt.Sprint(e.GetType()))
	}
	for _, want := range []string{"TYPE_TRIGGERED", "TYPE_ESCALATED", "TYPE_ACKNOWLEDGED"} {
		if !slices.Contains(told, want) {
			t.Errorf("the timeline does not tell of %s: %q", want, told)
		}
	}
	deliveries, err := incidents.ListDeliveries(t.Context(), &pb.ListDeliveriesRequest{Parent: name})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, d := range deliveries.GetDeliveries() {
		if d.GetDisplayTime() != nil {
			seen[d.GetUser()] = true
		}
	}
	if !seen["users/ann"] || !seen["users/bo"] {
		t.Errorf("the deliveries that were displayed are of %v, want Ann's and Bo's: %v", seen, deliveries)
	}
}
