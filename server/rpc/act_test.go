package rpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// The acknowledgement from the lock screen, by both ways of proving who taps.
func TestActAcknowledges(t *testing.T) {
	for _, way := range []string{"credential", "action token"} {
		t.Run(way, func(t *testing.T) {
			r := newRig(t)
			in := r.fire("a", "disk full")
			d := r.deliver(in.ID, "ben", "benphone")
			req := &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE, AtDevice: timestamppb.New(r.now().Add(-3 * time.Second))}
			ctx, via := r.as(phone), pb.Actor_VIA_NOTIFICATION
			if way == "action token" {
				ctx, via = t.Context(), pb.Actor_VIA_ACTION_TOKEN
				req.ActionToken = r.token(d, in.ID)
			}
			got, err := r.devices().Act(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			if got.GetOutcome() != pb.ActResponse_OUTCOME_DONE || !got.GetChanged() || got.GetState() != pb.Incident_STATE_ACKNOWLEDGED ||
				got.GetHolder() != "Ben Baker" || !got.GetHolderIsCaller() || got.GetNumber() != in.Number || got.GetReopen() {
				t.Errorf("the answer is %v", got)
			}
			after, err := r.incidents().GetIncident(r.as(admin), &pb.GetIncidentRequest{Name: "incidents/" + string(in.ID)})
			if err != nil || after.GetAcknowledgements()[0].GetVia() != via || after.GetAcknowledgements()[0].GetClientTime() == nil {
				t.Errorf("acknowledged %v (%v)", after.GetAcknowledgements(), err)
			}
			if _, dv, _, err := r.store.Delivery(t.Context(), d.ID); err != nil || dv.State != incident.DeliveryActed {
				t.Errorf("the delivery is %v (%v)", dv.State, err)
			}
			// The same tap again gets the same answer, whatever has happened since.
			if _, err := r.incidents().ResolveIncident(r.as(admin), &pb.ResolveIncidentRequest{Name: after.GetName()}); err != nil {
				t.Fatal(err)
			}
			if again, err := r.devices().Act(ctx, req); err != nil || !same(got, again) {
				t.Errorf("again: %v (%v), want %v", again, err, got)
			}
			req.ActionId = uuid.NewString()
			late, err := r.devices().Act(ctx, req)
			if err != nil || late.GetOutcome() != pb.ActResponse_OUTCOME_RESOLVED || late.GetChanged() || late.GetHolder() != "" {
				t.Errorf("of what is over: %v (%v)", late, err)
			}
		})
	}
}

// token is the action token of a page.
func (r *rig) token(d incident.Delivery, id incident.ID) string {
	r.t.Helper()
	epoch := uint32(0)
	if dev, ok := r.dir.Snapshot().GetDevice(d.Device); ok {
		epoch = dev.Epoch
	}
	return must(r.signer.Action(auth.Binding{Delivery: d.ID, Incident: id, User: d.User, Device: d.Device, Epoch: epoch}, r.now(), r.now().Add(10*time.Minute)))
}

func TestActOfAnother(t *testing.T) {
	r := newRig(t)
	in := r.fire("a", "disk full")
	d := r.deliver(in.ID, "ben", "benphone")
	name := "incidents/" + string(in.ID)
	if _, err := r.incidents().AcknowledgeIncident(r.as(admin), &pb.AcknowledgeIncidentRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	got, err := r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE})
	if err != nil || got.GetOutcome() != pb.ActResponse_OUTCOME_ALREADY || got.GetHolder() != "Ann Archer" || got.GetHolderIsCaller() {
		t.Errorf("of what ann has: %v (%v)", got, err)
	}
	// A page that has escalated away may still be acknowledged; the app opens to say who holds it.
	other := r.fire("b", "disk slow")
	d = r.deliver(other.ID, "ben", "benphone")
	if _, err := r.incidents().EscalateIncident(r.as(admin), &pb.EscalateIncidentRequest{Name: "incidents/" + string(other.ID)}); err != nil {
		t.Fatal(err)
	}
	got, err = r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE})
	if err != nil || got.GetOutcome() != pb.ActResponse_OUTCOME_DONE || !got.GetReopen() {
		t.Errorf("of what moved on: %v (%v)", got, err)
	}
}

// TestCase58_ActionTokenAbuse: an action token is used on another delivery and
// incident, with one bit changed, after its expiry, after the device was revoked:
// 401 each time, and nothing has changed; a verb beyond acknowledging is 403, as
// what is missing there is the unlocked phone. All refusals ask the app to open.
// The good token acknowledges and no more, and the answer holds no incident text.
// (Codes are compared in constant time: package auth.)
func TestCase58_ActionTokenAbuse(t *testing.T) {
	r := newRig(t)
	in := r.fire("a", "disk full")
	d, anns := r.deliver(in.ID, "ben", "benphone"), r.deliver(in.ID, "ann", "annphone")
	ack := func(f func(*pb.ActRequest)) *pb.ActRequest {
		req := &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE}
		f(req)
		return req
	}
	token := r.token(d, in.ID)
	for i := range token {
		forged := []byte(token)
		forged[i] ^= 1 << (i % 7)
		_, err := r.devices().Act(t.Context(), ack(func(q *pb.ActRequest) { q.ActionToken = string(forged) }))
		if code := status.Code(err); code != codes.Unauthenticated {
			t.Fatalf("with a bit of byte %d changed: %v, want it refused", i, err)
		}
	}
	elsewhere := r.fire("b", "disk slow")
	foreign := r.deliver(elsewhere.ID, "ben", "benphone")
	for _, c := range []struct {
		name   string
		ctx    context.Context
		req    *pb.ActRequest
		code   codes.Code
		reason string
		http   int
	}{
		{"nobody", t.Context(), ack(func(*pb.ActRequest) {}), codes.Unauthenticated, "CREDENTIAL_MISSING", 401},
		{"a forged token", t.Context(), ack(func(q *pb.ActRequest) { q.ActionToken = token[:len(token)-2] + "xx" }), codes.Unauthenticated, "ACTION_TOKEN", 401},
		{"rubbish", t.Context(), ack(func(q *pb.ActRequest) { q.ActionToken = "rubbish" }), codes.Unauthenticated, "ACTION_TOKEN", 401},
		{"the token on another incident of the same phone", t.Context(), ack(func(q *pb.ActRequest) { q.ActionToken, q.DeliveryId = token, foreign.ID }), codes.Unauthenticated, "ACTION_TOKEN", 401},
		{"the token of another delivery", t.Context(), ack(func(q *pb.ActRequest) { q.ActionToken, q.DeliveryId = token, anns.ID }), codes.Unauthenticated, "ACTION_TOKEN", 401},
		{"resolve by token", t.Context(), ack(func(q *pb.ActRequest) { q.ActionToken, q.Verb = token, pb.ActRequest_VERB_RESOLVE }), codes.PermissionDenied, "UNLOCK_REQUIRED", 403},
		{"resolve while locked", r.as(phone), ack(func(q *pb.ActRequest) { q.Verb = pb.ActRequest_VERB_RESOLVE }), codes.PermissionDenied, "UNLOCK_REQUIRED", 403},
		{"escalate with a wrong signature", r.as(phone), ack(func(q *pb.ActRequest) { q.Verb, q.UnlockSignature = pb.ActRequest_VERB_ESCALATE, []byte("x") }), codes.PermissionDenied, "UNLOCK_REQUIRED", 403},
		{"another device's page", r.as(phone), ack(func(q *pb.ActRequest) { q.DeliveryId = anns.ID }), codes.PermissionDenied, "NOT_THIS_DEVICE", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := r.devices().Act(c.ctx, c.req)
			s := wants(t, err, c.code, c.reason)
			if meta(s)["reopen"] != "true" {
				t.Errorf("the app is not asked to open: %v", s.Details())
			}
			who := nobody
			if _, ok := metadata.FromOutgoingContext(c.ctx); ok {
				who = phone
			}
			res := r.http(http.MethodPost, "/v1/push/actions", who, string(must(protojson.Marshal(c.req))))
			defer res.Body.Close()
			body := must(io.ReadAll(res.Body))
			if res.StatusCode != c.http || !strings.Contains(string(body), `"reopen":"true"`) {
				t.Errorf("HTTP %d %s, want %d with reopen", res.StatusCode, body, c.http)
			}
		})
	}
	if got, err := r.store.Incident(t.Context(), in.ID); err != nil || got.Status != incident.Triggered {
		t.Errorf("a refused action has changed the incident: %v (%v)", got.Status, err)
	}
	good, err := r.devices().Act(t.Context(), &pb.ActRequest{
		ActionId: uuid.NewString(), DeliveryId: foreign.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE, ActionToken: r.token(foreign, elsewhere.ID),
	})
	if err != nil || good.GetState() != pb.Incident_STATE_ACKNOWLEDGED {
		t.Fatalf("a good token: %v (%v)", good, err)
	}
	if text := string(must(protojson.Marshal(good))); strings.Contains(text, "disk") || strings.Contains(text, string(elsewhere.ID)) {
		t.Errorf("the answer to an action token tells of the incident: %s", text)
	}
	// After its hour the token is over; a revoked device's is at once.
	r.offset.Add(int64(30 * time.Minute))
	_, err = r.devices().Act(t.Context(), ack(func(q *pb.ActRequest) { q.ActionToken = token }))
	wants(t, err, codes.Unauthenticated, "ACTION_TOKEN")
	fresh := r.token(d, in.ID)
	if _, err := r.devices().RevokeDevice(r.as(admin), &pb.RevokeDeviceRequest{Name: "devices/benphone"}); err == nil {
		_, err = r.devices().Act(t.Context(), ack(func(q *pb.ActRequest) { q.ActionToken = fresh }))
		wants(t, err, codes.Unauthenticated, "ACTION_TOKEN")
	} else {
		t.Error(err)
	}
	if got, err := r.store.Incident(t.Context(), in.ID); err != nil || got.Status != incident.Triggered {
		t.Errorf("a refused action has changed the incident: %v (%v)", got.Status, err)
	}
}

func meta(s *status.Status) map[string]string {
	for _, d := range s.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return i.GetMetadata()
		}
	}
	return nil
}

// TestCase61_ResolveNeedsUnlocking: resolving from the lock screen is refused
// with reopen; with the key that works on an unlocked phone alone, signing the
// action's id, a notification can do it, as it can escalate. (The server cannot
// see whether a phone is unlocked: the key is the proof.)
func TestCase61_ResolveNeedsUnlocking(t *testing.T) {
	r := newRig(t)
	locked := r.fire("locked", "disk full")
	_, err := r.devices().Act(r.as(phone), &pb.ActRequest{
		ActionId: uuid.NewString(), DeliveryId: r.deliver(locked.ID, "ben", "benphone").ID, Verb: pb.ActRequest_VERB_RESOLVE,
	})
	if s := wants(t, err, codes.PermissionDenied, "UNLOCK_REQUIRED"); meta(s)["reopen"] != "true" {
		t.Errorf("the app is not asked to open: %v", s.Details())
	}
	if in := must(r.store.Incident(t.Context(), locked.ID)); in.Status != incident.Triggered {
		t.Errorf("the incident is %v, want it as it was", in.Status)
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	public := must(key.PublicKey.Bytes())
	if _, err := r.devices().UpdateDevice(r.as(phone), &pb.UpdateDeviceRequest{Device: &pb.Device{Name: "devices/me", UnlockKey: public}}); err != nil {
		t.Fatal(err)
	}
	sign := func(id string) []byte {
		sum := sha256.Sum256([]byte(id))
		return must(ecdsa.SignASN1(rand.Reader, key, sum[:]))
	}
	in := r.fire("a", "disk full")
	d := r.deliver(in.ID, "ben", "benphone")
	id := uuid.NewString()
	got, err := r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: id, DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ESCALATE, UnlockSignature: sign(id), Note: "in the train"})
	if err != nil || got.GetOutcome() != pb.ActResponse_OUTCOME_DONE || got.GetHolder() != "Ann Archer" {
		t.Fatalf("escalate: %v (%v)", got, err)
	}
	_, err = r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_RESOLVE, UnlockSignature: sign(id)})
	wants(t, err, codes.PermissionDenied, "UNLOCK_REQUIRED") // a signature is good for its action
	id = uuid.NewString()
	got, err = r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: id, DeliveryId: d.ID, Verb: pb.ActRequest_VERB_RESOLVE, UnlockSignature: sign(id)})
	if err != nil || got.GetState() != pb.Incident_STATE_RESOLVED || !got.GetChanged() {
		t.Fatalf("resolve: %v (%v)", got, err)
	}
}

// TestCase59_AcknowledgedOffline: a tap waits 90 s on a phone that is offline,
// and the incident has escalated meanwhile; it counts from when the server heard
// it, the escalation stays in the history, whoever holds it is told to the phone,
// and the metric has the time that it waited.
func TestCase59_AcknowledgedOffline(t *testing.T) {
	r := newRig(t)
	in := r.fire("a", "disk full")
	d := r.deliver(in.ID, "ben", "benphone")
	tapped := r.now()
	r.offset.Add(int64(60 * time.Second))
	if _, err := r.incidents().EscalateIncident(r.as(admin), &pb.EscalateIncidentRequest{Name: "incidents/" + string(in.ID)}); err != nil {
		t.Fatal(err)
	}
	r.offset.Add(int64(30 * time.Second))
	heard := r.now()
	got, err := r.devices().Act(r.as(phone), &pb.ActRequest{
		ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE, AtDevice: timestamppb.New(tapped),
	})
	if err != nil || got.GetOutcome() != pb.ActResponse_OUTCOME_DONE || got.GetHolder() == "" || !got.GetReopen() {
		t.Fatalf("the answer is %v (%v), want it done, with its holder, and the app opened to say so", got, err)
	}
	entries, err := r.store.Timeline(t.Context(), in.ID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := func(want incident.EntryType) int {
		return slices.IndexFunc(entries, func(e incident.Entry) bool { return e.Type == want })
	}
	escalated, acked := at(incident.EntryEscalated), at(incident.EntryAcknowledged)
	if escalated < 0 || acked < escalated {
		t.Fatalf("the history is %+v, want the escalation, then the acknowledgement", entries)
	}
	e := entries[acked]
	if e.At.Before(heard.Add(-time.Millisecond)) || e.At.Sub(e.ClientAt).Round(time.Second) != 90*time.Second {
		t.Errorf("acknowledged at %v, tapped at %v; want the server's time, 90 s after the tap", e.At, e.ClientAt)
	}
	if n, sum := r.queueDelay(); n != 1 || sum < 89 || sum > 95 {
		t.Errorf("push_ack_queue_delay_seconds has %d of %v s, want one of 90", n, sum)
	}
}

// queueDelay reads the histogram of how long taps waited.
func (r *rig) queueDelay() (count uint64, sum float64) {
	r.t.Helper()
	for _, f := range must(r.registry.Gather()) {
		if f.GetName() == "push_ack_queue_delay_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			count, sum = h.GetSampleCount(), h.GetSampleSum()
		}
	}
	return count, sum
}

// A tap on the card of a storm speaks for every incident that the card showed,
// as it was shown: what moved on stays.
func TestActOnAStorm(t *testing.T) {
	r := newRig(t)
	var ins []*incident.Incident
	person := &attention.Person{User: "ben", Storm: attention.Storm{Start: r.now(), Sent: 1}}
	for _, key := range []string{"a", "b", "c"} {
		in := r.fire(key, "disk "+key)
		ins = append(ins, in)
		person.Open = append(person.Open, attention.Item{Incident: in.ID, Version: in.Version, Urgency: incident.High, Method: roster.PushAll, Card: 1})
	}
	if _, err := r.store.Commit(t.Context(), store.Commit{Person: &store.PersonChange{After: person}}); err != nil {
		t.Fatal(err)
	}
	doc, work := store.PersonDoc("ben"), person.CardID(1)
	d := incident.Delivery{
		ID: must(store.DeliveryID(doc, work, "benphone")), Work: work, User: "ben", Device: "benphone", Method: roster.PushAll, Kind: roster.Push, Native: true, Page: true,
		State: incident.DeliveryAttempted, Queued: r.now(), Attempted: r.now(),
	}
	if begun, err := r.store.BeginSend(t.Context(), r.now(), []store.Send{{Doc: doc, Unguarded: true, Delivery: d}}); err != nil || begun[0] != store.BegunGo {
		t.Fatalf("begin the card: %v %v", begun, err)
	}
	// The third is another's by now.
	if _, err := r.incidents().EscalateIncident(r.as(admin), &pb.EscalateIncidentRequest{Name: "incidents/" + string(ins[2].ID)}); err != nil {
		t.Fatal(err)
	}
	got, err := r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE})
	if err != nil || got.GetOutcome() != pb.ActResponse_OUTCOME_DONE {
		t.Fatalf("act: %v (%v)", got, err)
	}
	for i, want := range []incident.Status{incident.Acknowledged, incident.Acknowledged, incident.Triggered} {
		if in := must(r.store.Incident(t.Context(), ins[i].ID)); in.Status != want {
			t.Errorf("incident %d is %v, want %v", i, in.Status, want)
		}
	}
	// When nothing on the card is left, the app opens.
	person.Revision = 1
	empty := &attention.Person{User: "ben", Storm: person.Storm}
	if _, err := r.store.Commit(t.Context(), store.Commit{Person: &store.PersonChange{Before: person, After: empty}}); err != nil {
		t.Fatal(err)
	}
	got, err = r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE})
	if err != nil || got.GetOutcome() != pb.ActResponse_OUTCOME_ALREADY || !got.GetReopen() {
		t.Errorf("of an empty card: %v (%v)", got, err)
	}
}

// The tap on "still on it?" answers it.
func TestActConfirms(t *testing.T) {
	r := newRig(t)
	_, err := pb.NewCatalogServiceClient(r.conn).UpdateService(r.as(admin), &pb.UpdateServiceRequest{Service: &pb.Service{
		Name: "services/payments", AcknowledgeReminder: durationpb.New(time.Hour), AcknowledgeTimeout: durationpb.New(0),
	}})
	if err != nil {
		t.Fatal(err)
	}
	in := r.fire("a", "disk full")
	d := r.deliver(in.ID, "ben", "benphone")
	tap := func() *pb.ActResponse {
		t.Helper()
		got, err := r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	tap()
	r.offset.Add(int64(61 * time.Minute))
	asked, err := r.desk.Do(t.Context(), in.ID, incident.Tick{}, respond.Options{})
	if err != nil || !asked.Reminded {
		t.Fatalf("nobody was asked: %v (%v)", asked, err)
	}
	if got := tap(); got.GetOutcome() != pb.ActResponse_OUTCOME_DONE || !got.GetChanged() {
		t.Errorf("the answer is %v", got)
	}
	if now := must(r.store.Incident(t.Context(), in.ID)); now.Reminded || now.Status != incident.Acknowledged {
		t.Errorf("after it the incident is %v, reminded %t", now.Status, now.Reminded)
	}
	if got := tap(); got.GetOutcome() != pb.ActResponse_OUTCOME_ALREADY {
		t.Errorf("once more: %v", got)
	}
}
