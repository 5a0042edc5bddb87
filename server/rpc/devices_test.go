package rpc_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

// bearer is the context of a call with a credential.
func bearer(ctx context.Context, credential string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+credential)
}

func app(token string) *pb.Device {
	d := &pb.Device{InstallId: uuid.NewString(), Platform: pb.Device_PLATFORM_IOS, AppId: "dev.tocsin.app", Model: "iPhone17,1"}
	if token != "" {
		d.Address = &pb.Device_Address{Kind: pb.Device_Address_KIND_APNS, Value: strings.Repeat(token, 64)}
	}
	return d
}

func TestEnrolment(t *testing.T) {
	r := newRig(t)
	c := r.devices()
	_, err := c.CreateEnrolment(r.as(responder), &pb.CreateEnrolmentRequest{User: "users/ann"})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	link, err := c.CreateEnrolment(r.as(responder), &pb.CreateEnrolmentRequest{User: "users/me"})
	if err != nil {
		t.Fatal(err)
	}
	if link.GetUser() != "users/ben" || link.GetOrganization() != "Example" || !strings.HasSuffix(link.GetUri(), "#"+link.GetCode()) || link.GetQrPayload() == "" {
		t.Errorf("the link is %v", link)
	}
	for range 2 { // looking uses nothing up
		seen, err := c.PreviewEnrolment(t.Context(), &pb.PreviewEnrolmentRequest{Code: link.GetCode()})
		if err != nil || seen.GetUserDisplayName() != "Ben Baker" || seen.GetCode() != "" {
			t.Fatalf("preview: %v (%v)", seen, err)
		}
	}
	mine := app("1")
	got, err := c.EnrolDevice(t.Context(), &pb.EnrolDeviceRequest{Code: link.GetCode(), Device: mine})
	if err != nil {
		t.Fatal(err)
	}
	if d := got.GetDevice(); d.GetUser() != "users/ben" || d.GetState() != pb.Device_STATE_ACTIVE || d.GetAddress().GetValue() != "" || d.GetAddress().GetHint() == "" {
		t.Errorf("the device is %v", d)
	}
	_, err = c.EnrolDevice(t.Context(), &pb.EnrolDeviceRequest{Code: link.GetCode(), Device: mine})
	wants(t, err, codes.Unauthenticated, "ENROLMENT_CODE")

	self := bearer(t.Context(), got.GetCredential())
	me, err := c.GetDevice(self, &pb.GetDeviceRequest{Name: "devices/me"})
	if err != nil || me.GetName() != got.GetDevice().GetName() || me.GetLastSeenTime() == nil {
		t.Fatalf("the device about itself: %v (%v)", me, err)
	}
	// Registered again by its own credential it is the same record.
	mine.Model = "iPhone18,1"
	again, err := c.RegisterDevice(self, &pb.RegisterDeviceRequest{Device: mine})
	if err != nil || again.GetCredential() != "" || again.GetDevice().GetName() != me.GetName() || again.GetDevice().GetModel() != "iPhone18,1" {
		t.Errorf("registered again: %v (%v)", again, err)
	}
	// By a sign-in of the same person it is a new one, and the old is out.
	fresh, err := c.RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: mine})
	if err != nil || fresh.GetCredential() == "" || fresh.GetDevice().GetName() == me.GetName() {
		t.Fatalf("signed in again: %v (%v)", fresh, err)
	}
	_, err = c.GetDevice(self, &pb.GetDeviceRequest{Name: "devices/me"})
	wants(t, err, codes.Unauthenticated, "CREDENTIAL_INVALID")
	// Somebody else needs its address as well as its label.
	stranger := app("")
	stranger.InstallId = mine.GetInstallId()
	_, err = c.RegisterDevice(r.as(admin), &pb.RegisterDeviceRequest{Device: stranger})
	wants(t, err, codes.PermissionDenied, "NOT_THIS_DEVICE")
	stranger.Address = app("2").GetAddress()
	_, err = c.RegisterDevice(r.as(admin), &pb.RegisterDeviceRequest{Device: stranger})
	wants(t, err, codes.PermissionDenied, "NOT_THIS_DEVICE")

	// A link whose phone was refused is as good as before.
	link, err = c.CreateEnrolment(r.as(admin), &pb.CreateEnrolmentRequest{User: "users/ann"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.EnrolDevice(t.Context(), &pb.EnrolDeviceRequest{Code: link.GetUri(), Device: stranger})
	wants(t, err, codes.PermissionDenied, "NOT_THIS_DEVICE")
	stranger.InstallId = app("").GetInstallId() // the app was reset
	if _, err = c.EnrolDevice(t.Context(), &pb.EnrolDeviceRequest{Code: link.GetCode(), Device: stranger}); err != nil {
		t.Fatalf("a link whose phone was refused: %v", err)
	}
	_, err = c.EnrolDevice(t.Context(), &pb.EnrolDeviceRequest{Code: link.GetCode(), Device: stranger})
	wants(t, err, codes.Unauthenticated, "ENROLMENT_CODE")

	// A link is good for ten minutes.
	link, err = c.CreateEnrolment(r.as(admin), &pb.CreateEnrolmentRequest{User: "users/ben"})
	if err != nil {
		t.Fatal(err)
	}
	r.offset.Add(int64(11 * time.Minute))
	_, err = c.EnrolDevice(t.Context(), &pb.EnrolDeviceRequest{Code: link.GetCode(), Device: app("")})
	wants(t, err, codes.Unauthenticated, "ENROLMENT_CODE")
}

// The address of another person's device moves only when the phone shows what was pushed there.
func TestAddressOfAnother(t *testing.T) {
	r := newRig(t)
	c := r.devices()
	anns, err := c.RegisterDevice(r.as(admin), &pb.RegisterDeviceRequest{Device: app("5")})
	if err != nil {
		t.Fatal(err)
	}
	bens, err := c.RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: app("5")})
	if err != nil || !bens.GetConfirmationRequired() || bens.GetDevice().GetState() != pb.Device_STATE_UNVERIFIED {
		t.Fatalf("registered: %v (%v)", bens, err)
	}
	sent := r.pushes.last(t)
	nonce := sent.Message.Details["nonce"]
	if nonce == "" || sent.Device.Token != push.Token(strings.Repeat("5", 64)) {
		t.Fatalf("pushed %v to %q", sent.Message, sent.Device.Token)
	}
	self := bearer(t.Context(), bens.GetCredential())
	_, err = c.ConfirmDeviceAddress(self, &pb.ConfirmDeviceAddressRequest{Name: "devices/me", Nonce: strings.Repeat("x", 22)})
	wants(t, err, codes.FailedPrecondition, "NONCE_INVALID")
	got, err := c.ConfirmDeviceAddress(self, &pb.ConfirmDeviceAddressRequest{Name: "devices/me", Nonce: nonce})
	if err != nil || got.GetState() != pb.Device_STATE_ACTIVE {
		t.Fatalf("confirmed: %v (%v)", got, err)
	}
	left, err := c.GetDevice(r.as(admin), &pb.GetDeviceRequest{Name: anns.GetDevice().GetName()})
	if err != nil || left.GetAddress() != nil || left.GetState() != pb.Device_STATE_UNVERIFIED {
		t.Errorf("the former device is %v (%v)", left, err)
	}
}

// Somebody else signs in on a phone: it is his once it has shown that it is that
// phone, and its former person is signed out there.
func TestSecondPersonOnThePhone(t *testing.T) {
	r := newRig(t)
	c := r.devices()
	mine := app("6")
	anns, err := c.RegisterDevice(r.as(admin), &pb.RegisterDeviceRequest{Device: mine})
	if err != nil {
		t.Fatal(err)
	}
	bens, err := c.RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: mine})
	if err != nil || !bens.GetConfirmationRequired() || bens.GetDevice().GetAddress() != nil {
		t.Fatalf("registered: %v (%v)", bens, err)
	}
	self := bearer(t.Context(), bens.GetCredential())
	// Until then nothing has changed for Ann, and the app may register as often as it likes.
	again, err := c.RegisterDevice(self, &pb.RegisterDeviceRequest{Device: mine})
	if err != nil || again.GetCredential() != "" || again.GetDevice().GetName() != bens.GetDevice().GetName() {
		t.Fatalf("registered again: %v (%v)", again, err)
	}
	if still, err := c.GetDevice(bearer(t.Context(), anns.GetCredential()), &pb.GetDeviceRequest{Name: "devices/me"}); err != nil || still.GetAddress() == nil {
		t.Errorf("before the phone has proven anything the former device is %v (%v)", still, err)
	}
	nonce := r.pushes.last(t).Message.Details["nonce"]
	got, err := c.ConfirmDeviceAddress(self, &pb.ConfirmDeviceAddressRequest{Name: "devices/me", Nonce: nonce})
	if err != nil || got.GetState() != pb.Device_STATE_ACTIVE || got.GetInstallId() != mine.GetInstallId() {
		t.Fatalf("confirmed: %v (%v)", got, err)
	}
	_, err = c.GetDevice(bearer(t.Context(), anns.GetCredential()), &pb.GetDeviceRequest{Name: "devices/me"})
	wants(t, err, codes.Unauthenticated, "CREDENTIAL_INVALID")
	if once, err := c.RegisterDevice(self, &pb.RegisterDeviceRequest{Device: mine}); err != nil || once.GetConfirmationRequired() {
		t.Errorf("registered after it: %v (%v)", once, err)
	}
}

func TestDeviceChanges(t *testing.T) {
	r := newRig(t)
	c := r.devices()
	got, err := c.UpdateDevice(r.as(phone), &pb.UpdateDeviceRequest{
		Device:     &pb.Device{Name: "devices/me", Permission: pb.Device_PERMISSION_DENIED, Capabilities: &pb.Device_Capabilities{Critical: true}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"permission", "capabilities.critical"}},
	})
	if err != nil || got.GetPermission() != pb.Device_PERMISSION_DENIED || !got.GetCapabilities().GetCritical() || got.GetHealth() != pb.Device_HEALTH_RED || got.GetAddress() == nil {
		t.Fatalf("updated: %v (%v)", got, err)
	}
	_, err = c.UpdateDevice(r.as(phone), &pb.UpdateDeviceRequest{Device: &pb.Device{Name: "devices/benphone", Model: "x", Etag: `"stale"`}})
	wants(t, err, codes.Aborted, "REVISION_MOVED")
	named, err := c.UpdateDevice(r.as(responder), &pb.UpdateDeviceRequest{Device: &pb.Device{Name: "devices/benphone", DisplayName: "Ben's phone"}})
	if err != nil || named.GetDisplayName() != "Ben's phone" {
		t.Errorf("renamed: %v (%v)", named, err)
	}
	_, err = c.UpdateDevice(r.as(responder), &pb.UpdateDeviceRequest{Device: &pb.Device{Name: "devices/benphone", Model: "x"}})
	wants(t, err, codes.PermissionDenied, "NOT_THIS_DEVICE")
	_, err = c.UpdateDevice(r.as(phone), &pb.UpdateDeviceRequest{Device: &pb.Device{Name: "devices/annphone", Model: "x"}})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	all, err := c.ListDevices(r.as(admin), &pb.ListDevicesRequest{User: "users/ben"})
	if err != nil || len(all.GetDevices()) != 1 {
		t.Errorf("ben's devices: %v (%v)", all, err)
	}
	_, err = c.ListDevices(r.as(responder), &pb.ListDevicesRequest{User: "users/ann"})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	gone, err := c.RevokeDevice(r.as(responder), &pb.RevokeDeviceRequest{Name: "devices/benphone", Reason: "lost"})
	if err != nil || gone.GetState() != pb.Device_STATE_REVOKED || gone.GetEpoch() != 1 {
		t.Fatalf("revoked: %v (%v)", gone, err)
	}
	_, err = c.GetDevice(r.as(phone), &pb.GetDeviceRequest{Name: "devices/me"})
	wants(t, err, codes.Unauthenticated, "CREDENTIAL_INVALID")
}

func TestReceipts(t *testing.T) {
	r := newRig(t)
	in := r.fire("a", "disk full")
	d, anns := r.deliver(in.ID, "ben", "benphone"), r.deliver(in.ID, "ann", "annphone")
	c := r.devices()
	got, err := c.ReportReceipts(r.as(phone), &pb.ReportReceiptsRequest{Receipts: []*pb.Receipt{
		{DeliveryId: d.ID, State: pb.Receipt_STATE_DISPLAYED, Audible: pb.Delivery_AUDIBLE_YES},
		{DeliveryId: d.ID, State: pb.Receipt_STATE_DISPLAYED},
		{DeliveryId: anns.ID, State: pb.Receipt_STATE_RECEIVED},
		{DeliveryId: uuid.NewString(), State: pb.Receipt_STATE_RECEIVED},
		{DeliveryId: "rubbish", State: pb.Receipt_STATE_RECEIVED},
		{DeliveryId: d.ID},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []pb.ReportReceiptsResponse_Result_Status{
		pb.ReportReceiptsResponse_Result_STATUS_RECORDED, pb.ReportReceiptsResponse_Result_STATUS_RECORDED,
		pb.ReportReceiptsResponse_Result_STATUS_DENIED, pb.ReportReceiptsResponse_Result_STATUS_UNKNOWN,
		pb.ReportReceiptsResponse_Result_STATUS_INVALID, pb.ReportReceiptsResponse_Result_STATUS_INVALID,
	}
	for i, res := range got.GetResults() {
		if res.GetStatus() != want[i] || (want[i] == pb.ReportReceiptsResponse_Result_STATUS_INVALID) != (res.GetMessage() != "") {
			t.Errorf("result %d is %v, want %s", i, res, want[i])
		}
	}
	if got.GetServerTime() == nil {
		t.Error("the answer has no time")
	}
	if _, dv, _, err := r.store.Delivery(t.Context(), d.ID); err != nil || dv.State != incident.DeliveryDisplayed {
		t.Errorf("the delivery is %v (%v)", dv.State, err)
	}
	_, err = c.ReportReceipts(t.Context(), &pb.ReportReceiptsRequest{Receipts: []*pb.Receipt{{DeliveryId: d.ID, State: pb.Receipt_STATE_OPENED}}})
	wants(t, err, codes.Unauthenticated, "CREDENTIAL_MISSING")
	key := must(r.signer.ReceiptKey(auth.Binding{Delivery: d.ID, User: "ben", Device: "benphone"}, r.now()))
	opened, err := c.ReportReceipts(t.Context(), &pb.ReportReceiptsRequest{ReceiptKey: key, Receipts: []*pb.Receipt{{DeliveryId: d.ID, State: pb.Receipt_STATE_OPENED}}})
	if err != nil || opened.GetResults()[0].GetStatus() != pb.ReportReceiptsResponse_Result_STATUS_RECORDED {
		t.Errorf("with the page's key: %v (%v)", opened, err)
	}
	_, err = c.ReportReceipts(t.Context(), &pb.ReportReceiptsRequest{ReceiptKey: key, Receipts: []*pb.Receipt{{DeliveryId: anns.ID, State: pb.Receipt_STATE_OPENED}}})
	wants(t, err, codes.Unauthenticated, "RECEIPT_KEY")
	me, err := c.GetDevice(r.as(phone), &pb.GetDeviceRequest{Name: "devices/me"})
	if err != nil || me.GetLastReceiptTime() == nil || me.GetHealth() != pb.Device_HEALTH_GREEN {
		t.Errorf("after its receipts the device is %v (%v)", me, err)
	}
}

func TestTestPush(t *testing.T) {
	r := newRig(t)
	c := r.devices()
	_, err := c.SendTestPush(r.as(responder), &pb.SendTestPushRequest{Name: "devices/annphone"})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	sent, err := c.SendTestPush(r.as(responder), &pb.SendTestPushRequest{Name: "devices/benphone", Critical: true})
	if err != nil || sent.GetDevice() != "devices/benphone" || sent.GetVerdict() != pb.TestPush_VERDICT_UNSPECIFIED {
		t.Fatalf("sent %v (%v)", sent, err)
	}
	ctx, cancel := context.WithTimeout(r.as(responder), 20*time.Second)
	defer cancel()
	watch, err := c.WatchTestPush(ctx, &pb.WatchTestPushRequest{Name: sent.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	states := map[pb.Delivery_State]bool{}
	for {
		m, err := watch.Recv()
		if err != nil {
			t.Fatalf("watch: %v after %v", err, states)
		}
		states[m.GetState()] = true
		if m.GetState() == pb.Delivery_STATE_ACCEPTED {
			break
		}
	}
	if _, err := c.ReportReceipts(r.as(phone), &pb.ReportReceiptsRequest{Receipts: []*pb.Receipt{{DeliveryId: sent.GetDeliveryId(), State: pb.Receipt_STATE_RECEIVED}}}); err != nil {
		t.Fatal(err)
	}
	_, err = c.ConfirmTestPush(r.as(stakeholder), &pb.ConfirmTestPushRequest{Name: sent.GetName(), Heard: true})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	done, err := c.ConfirmTestPush(r.as(responder), &pb.ConfirmTestPushRequest{Name: sent.GetName(), Heard: true})
	if err != nil || done.GetVerdict() != pb.TestPush_VERDICT_PASSED {
		t.Fatalf("confirmed: %v (%v)", done, err)
	}
	var last *pb.TestPush
	for {
		m, err := watch.Recv()
		if err != nil {
			break
		}
		last = m
	}
	if last.GetVerdict() != pb.TestPush_VERDICT_PASSED || len(last.GetSteps()) < 3 {
		t.Errorf("the stream ended with %v", last)
	}
	me, err := c.GetDevice(r.as(responder), &pb.GetDeviceRequest{Name: "devices/benphone"})
	if err != nil || !me.GetLastTestPassed() {
		t.Errorf("the device is %v (%v)", me, err)
	}
	for i := 2; ; i++ {
		_, err := c.SendTestPush(r.as(responder), &pb.SendTestPushRequest{Name: "devices/benphone"})
		if err != nil {
			wants(t, err, codes.ResourceExhausted, "RATE_LIMIT")
			if i != 11 {
				t.Errorf("test %d of the hour is refused", i)
			}
			break
		}
		if i > 20 {
			t.Fatal("a device may be tested without limit")
		}
	}
}

// Nobody has more devices than may be; the oldest that was never proven makes room.
func TestTooManyDevices(t *testing.T) {
	r := newRig(t)
	for i := range 9 {
		token := ""
		if i > 0 {
			token = string("0123456789abcdef"[i])
		}
		if _, err := r.devices().RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: app(token)}); err != nil {
			t.Fatalf("device %d: %v", i, err)
		}
	}
	if _, err := r.devices().RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: app("e")}); err != nil {
		t.Fatalf("the one without an address does not make room: %v", err)
	}
	_, err := r.devices().RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: app("f")})
	wants(t, err, codes.FailedPrecondition, "TOO_MANY_DEVICES")
}

// TestNoDeviceComesBackFromRevocation: a phone that registers while it is revoked
// is not a new device afterwards, whichever is first.
func TestNoDeviceComesBackFromRevocation(t *testing.T) {
	r := newRig(t)
	c := r.devices()
	for range 20 {
		mine := app("1")
		got, err := c.RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: mine})
		if err != nil {
			t.Fatal(err)
		}
		self := bearer(t.Context(), got.GetCredential())
		var both sync.WaitGroup
		both.Go(func() {
			again, err := c.RegisterDevice(self, &pb.RegisterDeviceRequest{Device: mine})
			if err != nil {
				wants(t, err, codes.Unauthenticated, "CREDENTIAL_INVALID")
			} else if again.GetCredential() != "" {
				t.Errorf("registering made a new device, %s", again.GetDevice().GetName())
			}
		})
		both.Go(func() {
			if _, err := c.RevokeDevice(r.as(admin), &pb.RevokeDeviceRequest{Name: got.GetDevice().GetName()}); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
	}
}
