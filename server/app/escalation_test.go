package app

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// mailbox is a mail server that counts the pages that it gets; there are also
// notices about phones.
type mailbox struct{ mails atomic.Int64 }

// NewSession implements [smtp.Backend].
func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return letter{m}, nil }

type letter struct{ *mailbox }

func (letter) Mail(string, *smtp.MailOptions) error { return nil }
func (letter) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (letter) Reset()                               {}
func (letter) Logout() error                        { return nil }

func (l letter) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if strings.Contains(string(text), "needs you") || strings.Contains(string(text), "Checkout") {
		l.mails.Add(1)
	}
	return err
}

// serve opens the mail server, and returns what makes a server send by it.
func (m *mailbox) serve(t *testing.T) func(*Options) {
	t.Helper()
	server := smtp.NewServer(m)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) {
		o.Config.SMTP.Host, o.Config.SMTP.Security, o.Config.SMTP.From = host, "none", "tocsin@example.com"
		if o.Config.SMTP.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
	}
}

// nextWay is a world in which Ann has mail three minutes after her phone.
func nextWay(t *testing.T) (*world, *instance, *mailbox) {
	t.Helper()
	w, m := newWorld(t, redistest.Start(t).URL()), &mailbox{}
	in := w.start(m.serve(t))
	in.apply(strings.Replace(organisation, "email: ann@example.com, role: responder}", `email: ann@example.com, role: responder,
     contact_methods: [{id: mail, kind: email, address: ann@example.com, verified: true}],
     high_steps: [{contact_method: push}, {contact_method: mail, delay: 3m}]}`, 1))
	return w, in, m
}

// eachProvider runs a test with a phone of each push service that has native phones.
func eachProvider(t *testing.T, f func(t *testing.T, p pb.Device_Platform)) {
	t.Helper()
	for name, platform := range map[string]pb.Device_Platform{"apns": pb.Device_PLATFORM_IOS, "fcm": pb.Device_PLATFORM_ANDROID} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, platform)
		})
	}
}

// states are those of the deliveries of an incident by push.
func (in *instance) states(incidentID string) []pb.Delivery_State {
	in.t.Helper()
	list, err := pb.NewIncidentServiceClient(in.console()).ListDeliveries(in.t.Context(), &pb.ListDeliveriesRequest{Parent: "incidents/" + incidentID})
	if err != nil {
		in.t.Fatal(err)
	}
	var all []pb.Delivery_State
	for _, d := range list.GetDeliveries() {
		if d.GetMethodKind() == pb.ContactMethod_KIND_PUSH {
			all = append(all, d.GetState())
		}
	}
	return all
}

// TestCase48_NoReceipt: no device confirms the page for 20 s, or one only says
// that it made no sound; the next way starts after 20 s, once, not again at its
// own time, and the push keeps its state. As mail wakes nobody and is all that
// there is, the phone gets the critical sound with it. (That a browser's receipt
// counts only where there is no phone is tried in server/incident, TestReceipts.)
func TestCase48_NoReceipt(t *testing.T) {
	for name, mute := range map[string]bool{"silent": false, "without sound": true} {
		t.Run(name, func(t *testing.T) {
			eachProvider(t, func(t *testing.T, p pb.Device_Platform) {
				t.Helper()
				w, in, mail := nextWay(t)
				ann := in.bring(w, "ann", p)
				in.send("trigger", "db", "disk full")
				n := gets(t, ann.Phone, "the page", page)
				want := pb.Delivery_STATE_ACCEPTED
				if mute {
					want = pb.Delivery_STATE_DISPLAYED
					_, err := ann.devices.ReportReceipts(ann.auth, &pb.ReportReceiptsRequest{Receipts: []*pb.Receipt{
						{DeliveryId: n.DeliveryID, State: pb.Receipt_STATE_DISPLAYED, Audible: pb.Delivery_AUDIBLE_NO},
					}})
					if err != nil {
						t.Fatal(err)
					}
				}
				in.forward(w, 15*time.Second)
				if got := mail.mails.Load(); got != 0 {
					t.Errorf("after 15 s there are %d mails, want none yet", got)
				}
				in.forward(w, 6*time.Second)
				eventually(t, "the mail comes", func() bool { return mail.mails.Load() == 1 })
				loud := gets(t, ann.Phone, "the louder page", func(got pushtest.Notification) bool { return page(got) && got.DeliveryID != n.DeliveryID })
				if !loud.Audible() || loud.IncidentID != n.IncidentID {
					t.Errorf("the second page is %+v, want it to sound, of the same incident", loud)
				}
				if got := in.states(n.IncidentID); len(got) != 2 || !slices.Contains(got, want) {
					t.Errorf("the pushes are %v, want the first to have kept %v", got, want)
				}
				in.forward(w, 3*time.Minute)
				if got := mail.mails.Load(); got != 1 {
					t.Errorf("at its own time the mail came again: there are %d", got)
				}
			})
		})
	}
}

// TestCase49_ReceiptWithoutAnswer: the phone confirms the page after 3 s and
// nobody acknowledges; the next way runs at its own time, not earlier.
func TestCase49_ReceiptWithoutAnswer(t *testing.T) {
	eachProvider(t, func(t *testing.T, p pb.Device_Platform) {
		t.Helper()
		w, in, mail := nextWay(t)
		ann := in.bring(w, "ann", p)
		in.send("trigger", "db", "disk full")
		n := gets(t, ann.Phone, "the page", page)
		in.forward(w, 3*time.Second)
		ann.receipt(n, pb.Receipt_STATE_RECEIVED)
		in.forward(w, 2*time.Minute+30*time.Second)
		if got := mail.mails.Load(); got != 0 {
			t.Errorf("%d mails came before their time", got)
		}
		in.forward(w, 30*time.Second)
		eventually(t, "the mail comes at its time", func() bool { return mail.mails.Load() == 1 })
	})
}

// TestCase50_AllDevicesRejected: the push service says of every device that its
// address is dead; the next way starts at once (a second, and what a busy
// machine adds), without any wait for receipts.
func TestCase50_AllDevicesRejected(t *testing.T) {
	eachProvider(t, func(t *testing.T, p pb.Device_Platform) {
		t.Helper()
		w, in, mail := nextWay(t)
		in.bring(w, "ann", p)
		if p == pb.Device_PLATFORM_IOS {
			w.apple.Decide(func(pushtest.Request) (pushtest.Answer, bool) {
				return pushtest.Reject(http.StatusGone, "ExpiredToken"), true
			})
		} else {
			w.fcm.Decide(func(pushtest.Request) (pushtest.Answer, bool) {
				return pushtest.Reject(http.StatusNotFound, "UNREGISTERED"), true
			})
		}
		began := time.Now()
		in.send("trigger", "db", "disk full")
		eventually(t, "the mail comes", func() bool { return mail.mails.Load() == 1 })
		if took := time.Since(began); took > time.Second+busy {
			t.Errorf("the next way took %s, want a second", took)
		}
	})
}
