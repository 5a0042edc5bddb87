package app

import (
	"bytes"
	"context"
	"io"
	"mime/quotedprintable"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// letterbox is a mail server: the way of reaching people beside their phones.
type letterbox struct {
	listener net.Listener
	mu       sync.Mutex
	got      []string      // envelope recipient, a space, and the message
	news     chan struct{} // closed and replaced at each arrival
}

func newLetterbox(t *testing.T) *letterbox {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	b := &letterbox{listener: l, news: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return b
}

// serve speaks as much SMTP (RFC 5321) as taking mail needs.
func (b *letterbox) serve(c net.Conn) {
	defer c.Close()
	text := textproto.NewConn(c)
	_ = text.PrintfLine("220 letterbox")
	for to := ""; ; {
		line, err := text.ReadLine()
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "RCPT":
			to = strings.Trim(line[len("RCPT TO:"):], "<> ")
			_ = text.PrintfLine("250 ok")
		case "DATA":
			_ = text.PrintfLine("354 go on")
			body, err := text.ReadDotBytes()
			if err != nil {
				return
			}
			read, _ := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body)))
			b.mu.Lock()
			b.got = append(b.got, to+" "+string(read))
			close(b.news)
			b.news = make(chan struct{})
			b.mu.Unlock()
			_ = text.PrintfLine("250 ok")
		case "QUIT":
			_ = text.PrintfLine("221 bye")
			return
		default:
			_ = text.PrintfLine("250 ok")
		}
	}
}

// settings has the server send mail there.
func (b *letterbox) settings(o *Options) {
	o.Config.SMTP = config.SMTP{Host: "127.0.0.1", Port: b.listener.Addr().(*net.TCPAddr).Port, Security: "none", From: "tocsin@example.com"} //nolint:forcetypeassert // a TCP listener
}

// gets waits for a letter to a person with all of the words in it.
func (b *letterbox) gets(t *testing.T, user string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		b.mu.Lock()
		got, news := slices.Clone(b.got), b.news
		b.mu.Unlock()
		for _, letter := range got {
			if strings.HasPrefix(letter, user+"@example.com ") && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(letter, w) }) {
				return
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			t.Fatalf("%s never got a letter with %q; there are %q", user, words, got)
		}
	}
}

// mail gives people a proven address.
func (in *instance) mail(people ...roster.UserID) {
	in.t.Helper()
	_, err := in.server.directory.Change(in.t.Context(), directory.ByServer("test"), func(e *directory.Edit) error {
		for _, id := range people {
			u, ok := e.GetUser(id)
			if !ok {
				continue
			}
			c := *u
			c.Methods = []roster.Method{{ID: "mail", Kind: roster.Email, Address: u.Email, Verified: true}}
			if err := e.Update(&c, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		in.t.Fatal(err)
	}
}

// me is the phone's own record.
func (h *handset) me() *pb.Device {
	h.t.Helper()
	d, err := h.devices.GetDevice(h.auth, &pb.GetDeviceRequest{Name: "devices/me"})
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// info matches news whose title has the words.
func info(words string) func(pushtest.Notification) bool {
	return func(n pushtest.Notification) bool { return n.Kind == "info" && strings.Contains(n.Title, words) }
}

// settles waits until something is so.
func settles(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		if !again(ctx) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestCase62_AddressOfAnother: somebody else signs in on Ann's phone; once the phone has shown the nonce
// that was pushed to it, Ann's record has lost it, she and those who count on
// her are told by another way, and the next page to her does not reach it.
func TestCase62_AddressOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	box := newLetterbox(t)
	in := w.start(box.settings)
	in.apply(organisation)
	in.mail("ann")
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	cy := in.bring(w, "cy", pb.Device_PLATFORM_ANDROID)
	in.send("trigger", "before", "disk full")
	gets(t, ann.Phone, "a page while it is hers", page)

	link, err := pb.NewDeviceServiceClient(in.console()).CreateEnrolment(t.Context(), &pb.CreateEnrolmentRequest{User: "users/bo"})
	if err != nil {
		t.Fatal(err)
	}
	record := ann.me()
	bo, err := ann.devices.EnrolDevice(t.Context(), &pb.EnrolDeviceRequest{Code: link.GetCode(), Device: &pb.Device{
		InstallId: record.GetInstallId(), Platform: pb.Device_PLATFORM_IOS, AppId: bundle,
		Address: &pb.Device_Address{Kind: pb.Device_Address_KIND_APNS, Value: ann.token}, Permission: pb.Device_PERMISSION_GRANTED,
	}})
	if err != nil || bo.GetDevice().GetAddress() != nil {
		t.Fatalf("before it is proven, Bo's device is %v (%v)", bo, err)
	}
	asked := gets(t, ann.Phone, "the nonce", func(n pushtest.Notification) bool { return n.Details["nonce"] != "" })
	if !asked.Visible {
		t.Error("the nonce is not shown: nobody at the phone sees what happens to it")
	}
	self := bearer(t.Context(), bo.GetCredential())
	if _, err := ann.devices.ConfirmDeviceAddress(self, &pb.ConfirmDeviceAddressRequest{Name: "devices/me", Nonce: asked.Details["nonce"]}); err != nil {
		t.Fatal(err)
	}
	if _, err := ann.devices.GetDevice(ann.auth, &pb.GetDeviceRequest{Name: "devices/me"}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("Ann's credential on the phone answers %v, want 401", err)
	}
	box.gets(t, "ann", "Your last phone gets no pages any more", "Bo")
	gets(t, cy.Phone, "that Ann can hardly be woken", info("Ann can hardly be woken"))

	in.send("trigger", "after", "disk slow")
	box.gets(t, "ann", "disk slow") // her pages go on, by what is left
	for _, n := range ann.Got() {
		if n.Kind == "page" && strings.Contains(n.Title+n.Subtitle+n.Body, "disk slow") {
			t.Errorf("the phone that is Bo's got Ann's page: %+v", n)
		}
	}
}

// TestCase63_RevokedDevice: Ann's lost phone is taken out at one instance; within a second its credential,
// its receipt keys and its open stream are void at another one, it was asked to
// wipe itself, it gets no page, and her other phone is told.
func TestCase63_RevokedDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	here, there := w.start(), w.start()
	here.apply(organisation)
	settles(t, "the other instance knows Ann", func() bool { _, ok := there.server.directory.Snapshot().GetUser("ann"); return ok })
	lost := there.bring(w, "ann", pb.Device_PLATFORM_IOS)
	kept := there.bring(w, "ann", pb.Device_PLATFORM_ANDROID)
	here.send("trigger", "one", "disk full")
	paged := gets(t, lost.Phone, "a page", page)
	ctx, cancel := context.WithTimeout(lost.auth, patience)
	defer cancel()
	stream, err := pb.NewIncidentServiceClient(dial(t, there.doors.Listen)).WatchIncidents(ctx, &pb.WatchIncidentsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	name := lost.me().GetName()
	settles(t, "both instances know the phone", func() bool {
		_, ok := here.server.directory.Snapshot().GetDevice(roster.DeviceID(strings.TrimPrefix(name, "devices/")))
		return ok
	})
	if _, err := pb.NewDeviceServiceClient(here.console()).RevokeDevice(t.Context(), &pb.RevokeDeviceRequest{Name: name, Reason: "lost"}); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	for {
		if _, err = stream.Recv(); err != nil {
			break
		}
	}
	if took := time.Since(revoked); status.Code(err) != codes.Unauthenticated || took > time.Second {
		t.Errorf("the stream of the lost phone ended with %v after %s, want 401 within 1 s", err, took)
	}
	receipt := &pb.ReportReceiptsRequest{Receipts: []*pb.Receipt{{DeliveryId: paged.DeliveryID, State: pb.Receipt_STATE_OPENED}}}
	byKey := &pb.ReportReceiptsRequest{Receipts: receipt.GetReceipts(), ReceiptKey: paged.ReceiptKey}
	act := &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: paged.DeliveryID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE}
	for what, call := range map[string]func() error{
		"the credential": func() error {
			_, err := lost.devices.GetDevice(lost.auth, &pb.GetDeviceRequest{Name: "devices/me"})
			return err
		},
		"a receipt":     func() error { _, err := lost.devices.ReportReceipts(lost.auth, receipt); return err },
		"a receipt key": func() error { _, err := lost.devices.ReportReceipts(t.Context(), byKey); return err },
		"an action":     func() error { _, err := lost.devices.Act(lost.auth, act); return err },
	} {
		if err := call(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s of the lost phone answers %v at the other instance, want 401", what, err)
		}
	}
	wipe := gets(t, lost.Phone, "the push that asks it to wipe itself", func(n pushtest.Notification) bool { return n.Details["wipe"] != "" })
	if "devices/"+wipe.Details["wipe"] != name || wipe.Visible || wipe.Sound != "" {
		t.Errorf("the wipe is %+v, want a silent one for %s", wipe, name)
	}
	gets(t, kept.Phone, "that the other one was taken out", info("taken out"))

	before := len(lost.Got())
	here.send("trigger", "two", "disk slow")
	gets(t, kept.Phone, "the next page", func(n pushtest.Notification) bool {
		return page(n) && strings.Contains(n.Title+n.Subtitle+n.Body, "disk slow")
	})
	if after := lost.Got(); len(after) != before {
		t.Errorf("the lost phone got %+v", after[before:])
	}
}

// TestCase64_ThreeDevices: Ann has three phones, one of which the push service knows no more: the two others
// ring all the same, none waits for the dead one, and nothing is sent to that again.
func TestCase64_ThreeDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	phones := []*handset{
		in.bring(w, "ann", pb.Device_PLATFORM_IOS), in.bring(w, "ann", pb.Device_PLATFORM_ANDROID), in.bring(w, "ann", pb.Device_PLATFORM_IOS),
	}
	dead := phones[2]
	record := dead.me()
	w.apple.Unregister(dead.token, w.watch.Now().Add(time.Minute))
	in.send("trigger", "one", "disk full")
	first := gets(t, phones[0].Phone, "the page", page)
	gets(t, phones[1].Phone, "the page", page)
	if first.Duplicate || !first.Audible() {
		t.Errorf("the page is %+v", first)
	}
	settles(t, "the third is dead", func() bool {
		d, _ := in.server.directory.Snapshot().GetDevice(roster.DeviceID(strings.TrimPrefix(record.GetName(), "devices/")))
		return d.State == roster.DeviceDead && d.StateReason == "Unregistered"
	})
	gets(t, phones[0].Phone, "that one of her phones is gone", info("A phone of yours gets no pages any more"))
	if d := dead.me(); d.GetHealth() != pb.Device_HEALTH_RED || d.GetHealthReason() == "" {
		t.Errorf("the dead one's health is %v", d)
	}
}

// Whoever has had a phone for long is told that another one was added, and that
// the plan by which he is woken was changed; a phone that does so itself is not.
func TestOldDevicesAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	old := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	fresh := in.bring(w, "ann", pb.Device_PLATFORM_ANDROID)
	n := gets(t, old.Phone, "that a device was added", info("A device was added"))
	if n.Sound != "" || n.Level != "passive" {
		t.Errorf("the news are as loud as %+v", n)
	}
	users := pb.NewUserServiceClient(in.console())
	_, err := users.UpdateUser(t.Context(), &pb.UpdateUserRequest{
		User: &pb.User{Name: "users/ann", HighSteps: []*pb.ContactStep{{ContactMethod: "push", Loud: true}}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"high_steps"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*handset{old, fresh} {
		gets(t, h.Phone, "that the plan was changed", info("How you are woken was changed"))
	}
	if slices.ContainsFunc(fresh.Got(), info("A device was added")) {
		t.Error("the new phone is told of itself")
	}
	settles(t, "the audit log has it", func() bool {
		records, err := in.server.store.Audits(t.Context(), "", 100)
		return err == nil && slices.ContainsFunc(records, func(r store.AuditRecord) bool {
			return strings.Contains(string(r.Record), `"users/ann"`) && strings.Contains(string(r.Record), "A device was added")
		})
	})
}

// A push that is accepted proves in which of Apple's worlds a phone's token is;
// from then on the record says so, until the token changes.
func TestEnvironmentIsConfirmedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	id := roster.DeviceID(strings.TrimPrefix(ann.me().GetName(), "devices/"))
	device := func() *directory.Device {
		d, _ := in.server.directory.Snapshot().GetDevice(id)
		return d
	}
	if device().Confirmed {
		t.Fatal("an environment is confirmed before anything was pushed")
	}
	in.send("trigger", "one", "disk full")
	gets(t, ann.Phone, "a page", page)
	settles(t, "the environment is confirmed", func() bool { return device().Confirmed })
	revision := device().Revision
	in.send("resolve", "one", "disk full")
	gets(t, ann.Phone, "the quiet card", func(n pushtest.Notification) bool { return n.Kind == "clear" })
	if now := device(); now.Revision != revision {
		t.Error("a second push has changed the record again")
	}
	// The same token keeps what is proven, whatever the app believes; a new one does not.
	for _, c := range []struct {
		token string
		want  bool
	}{{ann.token, true}, {w.apple.Register(ann.Phone, bundle), false}} {
		_, err := ann.devices.UpdateDevice(ann.auth, &pb.UpdateDeviceRequest{
			Device: &pb.Device{
				Name: "devices/me", Environment: pb.Device_ENVIRONMENT_SANDBOX, Address: &pb.Device_Address{Kind: pb.Device_Address_KIND_APNS, Value: c.token},
			}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"environment", "address"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		d := device()
		if d.Confirmed != c.want || (d.Environment == directory.Production) != c.want {
			t.Errorf("with the token %.6s it is confirmed %t in environment %d, want confirmed %t", c.token, d.Confirmed, d.Environment, c.want)
		}
	}
}

// A token that rotates while a page is under way: the page to the old one may
// still be receipted, and the next one goes to the new one.
func TestTokenRotates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	in.send("trigger", "one", "disk full")
	n := gets(t, ann.Phone, "a page", page)
	fresh := w.apple.Register(ann.Phone, bundle)
	_, err := ann.devices.UpdateDevice(ann.auth, &pb.UpdateDeviceRequest{Device: &pb.Device{
		Name: "devices/me", Address: &pb.Device_Address{Kind: pb.Device_Address_KIND_APNS, Value: fresh},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ann.receipt(n, pb.Receipt_STATE_RECEIVED, pb.Receipt_STATE_DISPLAYED)
	in.send("trigger", "two", "disk slow")
	next := gets(t, ann.Phone, "the next page", func(n pushtest.Notification) bool { return page(n) && n.Token == fresh })
	if next.DeliveryID == n.DeliveryID {
		t.Error("both are one delivery")
	}
}
