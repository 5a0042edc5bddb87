package rpc

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// The refusals of an action all ask the app to open: there the person can be
// asked for what is missing.
func reopen(f *fault.Error) *fault.Error { return f.With("reopen", "true") }

func badActionToken() error {
	return reopen(fault.New(fault.Unauthenticated, "ACTION_TOKEN", "the action token is not valid any more; open the app"))
}

// deed is an action whose doer is proven.
type deed struct {
	*pb.ActRequest

	doc      store.Doc
	delivery incident.Delivery
	by       incident.Actor
	request  string
	others   []attention.Item // that the card showed beside the one of doc
}

func (s *devices) Act(ctx context.Context, req *pb.ActRequest) (*pb.ActResponse, error) {
	answer, err := s.tap(ctx, req)
	s.metrics.acted(req, answer, err, s.c.Now())
	return answer, err
}

// tap carries out what the person tapped on the notification.
func (s *devices) tap(ctx context.Context, req *pb.ActRequest) (*pb.ActResponse, error) {
	d, err := s.prove(ctx, req)
	if err != nil {
		return nil, err
	}
	if notify.IsTest(d.delivery) {
		return s.heardTest(ctx, d.delivery.ID)
	}
	left, err := s.shown(ctx, d)
	if err != nil {
		return nil, err
	}
	if !left {
		return &pb.ActResponse{
			Outcome: pb.ActResponse_OUTCOME_ALREADY, State: pb.Incident_STATE_ACKNOWLEDGED, Reopen: true, ServerTime: stamp(s.c.Now()),
		}, nil
	}
	answer, err := s.act(ctx, d)
	if err != nil {
		return nil, err
	}
	s.markActed(ctx, d.delivery.ID, "")
	return answer, nil
}

// shown finds the incidents of the card that was tapped. A card about several
// may be recorded with none of them. It returns false when the card shows
// nothing any more that needs the person.
func (s *devices) shown(ctx context.Context, d *deed) (bool, error) {
	if d.doc.Incident != "" && !strings.Contains(d.delivery.Work, "#") {
		return true, nil
	}
	items, err := s.c.Notifier.Listed(ctx, d.delivery.ID)
	if err != nil {
		return false, err
	}
	if d.doc.Incident == "" {
		if len(items) == 0 {
			return false, nil
		}
		d.doc = store.IncidentDoc(items[0].Incident)
	}
	d.others = slices.DeleteFunc(items, func(i attention.Item) bool { return i.Incident == d.doc.Incident })
	return true, nil
}

// prove finds out who acts: by the action token that the page carried, or by
// the device's credential, and for more than an acknowledgement by the key
// that works on an unlocked phone alone.
func (s *devices) prove(ctx context.Context, req *pb.ActRequest) (*deed, error) {
	c := callOf(ctx)
	token := req.GetActionToken()
	if token == "" && c.principal.Kind != auth.KindDevice {
		return nil, reopen(fault.New(fault.Unauthenticated, "CREDENTIAL_MISSING", "an action needs the device's credential or the page's action token"))
	}
	var parsed auth.ActionToken
	if token != "" {
		var err error
		if parsed, err = auth.ParseAction(token); err != nil || parsed.Delivery != strings.ToLower(req.GetDeliveryId()) {
			return nil, badActionToken()
		}
	}
	doc, dv, ok, err := s.c.Store.Delivery(ctx, strings.ToLower(req.GetDeliveryId()))
	if err != nil {
		return nil, err
	}
	device, known := s.c.Directory.Snapshot().GetDevice(dv.Device)
	d := &deed{ActRequest: req, doc: doc, delivery: dv}
	if token != "" {
		if !ok || !known || device.State == roster.DeviceRevoked {
			return nil, badActionToken()
		}
		return d, s.proveToken(c, d, parsed, device)
	}
	switch {
	case !ok:
		return nil, fault.New(fault.NotFound, "DELIVERY_NOT_FOUND", "there is no such delivery, or it is over 8 days old", "delivery", req.GetDeliveryId())
	case dv.Device != c.principal.Device:
		return nil, reopen(fault.New(fault.Denied, "NOT_THIS_DEVICE", "the page went to another device; open the app"))
	case req.GetVerb() != pb.ActRequest_VERB_ACKNOWLEDGE && !unlocked(device, req):
		return nil, unlockRequired()
	}
	d.by = c.actor("notification")
	d.request = c.request(req.GetActionId())
	return d, nil
}

func unlockRequired() error {
	return reopen(fault.New(fault.Denied, "UNLOCK_REQUIRED", "from a locked phone one can acknowledge and no more; open the app"))
}

func (s *devices) proveToken(c *call, d *deed, token auth.ActionToken, device *directory.Device) error {
	b := auth.Binding{Delivery: d.delivery.ID, Incident: d.doc.Incident, User: d.delivery.User, Device: device.ID, Epoch: device.Epoch}
	if err := s.c.Signer.VerifyAction(token, b, auth.VerbAck, s.c.Now()); err != nil {
		return badActionToken()
	}
	u, ok := s.c.Directory.Snapshot().GetUser(d.delivery.User)
	switch {
	case !ok || u.Inactive:
		return badActionToken()
	case d.GetVerb() != pb.ActRequest_VERB_ACKNOWLEDGE:
		return unlockRequired()
	case d.GetNote() != "":
		return fault.InvalidField("note", "an action token carries no words; leave it out")
	}
	c.principal = auth.Principal{Kind: auth.KindDevice, User: u.ID, Name: u.Name, Role: max(u.Role, roster.Responder), Device: device.ID, Epoch: device.Epoch}
	d.by = c.actor("action_token")
	d.request = c.request(d.GetActionId())
	return nil
}

// unlocked reports whether the action is signed by the key that the phone uses
// only while it is unlocked: ECDSA over the SHA-256 of the action id.
func unlocked(d *directory.Device, req *pb.ActRequest) bool {
	if d == nil || len(d.UnlockKey) == 0 || len(req.GetUnlockSignature()) == 0 {
		return false
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), d.UnlockKey)
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(req.GetActionId()))
	return ecdsa.VerifyASN1(key, sum[:], req.GetUnlockSignature())
}

// act carries the deed out. The commit keeps the answer for the action id.
func (s *devices) act(ctx context.Context, d *deed) (*pb.ActResponse, error) {
	id := d.doc.Incident
	p, err := store.PartitionOfIncident(id)
	if err != nil {
		return nil, err
	}
	before := &pb.ActResponse{}
	if ok, err := s.answered(ctx, p, d.request, before); ok || err != nil {
		return before, err
	}
	if err := s.noteOf(ctx, d); err != nil {
		return nil, err
	}
	// Before the commit that keeps the answer: a retry after a crash does all of it.
	s.others(ctx, d)
	was, err := s.c.Store.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	var given *pb.ActResponse
	var failed error
	o := respond.Options{Request: d.request, Answer: func(before, in *incident.Incident) []byte {
		was = before // somebody may have been faster since it was read
		given = s.outcome(d, before, in)
		var b []byte
		b, failed = encode(given)
		return b
	}}
	_, err = s.c.Desk.Do(ctx, id, s.command(d, was), o)
	if errors.Is(err, store.ErrRequestAnswered) {
		if ok, err := s.answered(ctx, p, d.request, before); ok || err != nil {
			return before, err
		}
	}
	if fault.KindOf(err) == fault.Precondition && err != nil {
		if in, again := s.c.Store.Incident(ctx, id); again == nil && !in.Open() { // resolved already: no error for a tap
			given, err = s.outcome(d, was, in), nil
		}
	}
	if fault.KindOf(err) == fault.Denied && len(d.others) > 0 { // follows this one of the card as a shadow; the others are his
		given, err = s.outcome(d, was, was), nil
	}
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if given.GetChanged() {
		s.audit(ctx, incidentName(id), strings.ToLower(strings.TrimPrefix(d.GetVerb().String(), "VERB_")), d.by.Via)
	}
	return given, nil
}

// command is what the tap means. A second tap does not skip a level: it names
// the one that was seen.
func (s *devices) command(d *deed, was *incident.Incident) incident.Command {
	switch d.GetVerb() {
	case pb.ActRequest_VERB_RESOLVE:
		return incident.Resolve{By: d.by}
	case pb.ActRequest_VERB_ESCALATE:
		level := was.Level
		return incident.Escalate{By: d.by, Expected: &level}
	default:
		if was.AckedBy(d.delivery.User) && was.Reminded { // the card asked: still on it?
			return incident.Confirm{By: d.by}
		}
		return incident.Acknowledge{By: d.by, ClientAt: clientTime(d.GetAtDevice().AsTime(), d.GetAtDevice() != nil)}
	}
}

// noteOf writes what the person typed along.
func (s *devices) noteOf(ctx context.Context, d *deed) error {
	if d.GetNote() == "" {
		return nil
	}
	_, err := s.c.Desk.Do(ctx, d.doc.Incident, incident.AddNote{By: d.by, Text: d.GetNote()}, respond.Options{Request: d.request + "/note"})
	if errors.Is(err, store.ErrRequestAnswered) {
		return nil
	}
	return err
}

// outcome says what became of the tap, and no more than an action token may learn.
func (s *devices) outcome(d *deed, was, in *incident.Incident) *pb.ActResponse {
	user, sh := d.delivery.User, s.shape()
	a := &pb.ActResponse{
		State: states[in.Status], Number: in.Number, ServerTime: stamp(s.c.Now()), Outcome: pb.ActResponse_OUTCOME_DONE,
		Changed: in.Version != was.Version,
	}
	switch {
	case was.Status == incident.Resolved:
		a.Outcome = pb.ActResponse_OUTCOME_RESOLVED
	case was.Reminded && was.AckedBy(user) && !in.Reminded: // "still on it?" is answered
		a.Changed = true
	case d.GetVerb() == pb.ActRequest_VERB_ACKNOWLEDGE && (was.Status == incident.Acknowledged || tookFirst(in, user)):
		a.Outcome = pb.ActResponse_OUTCOME_ALREADY
	case d.GetVerb() == pb.ActRequest_VERB_ESCALATE && !a.GetChanged():
		a.Outcome = pb.ActResponse_OUTCOME_ALREADY
	}
	if in.Status != incident.Resolved {
		switch {
		case len(in.Acks) > 0:
			first := in.Acks[0].By
			a.Holder = sh.actor(first).GetDisplayName()
			u, ok := first.User()
			a.HolderIsCaller = ok && u == user
		case len(in.Assignees) > 0:
			a.Holder, a.HolderIsCaller = sh.display(in.Assignees[0].User), in.Assignees[0].User == user
		}
	}
	// The page had moved on: the screen should say who holds it.
	a.Reopen = was.Status == incident.Triggered && was.Assigned(user) == nil
	return a
}

// tookFirst reports whether somebody else has taken the incident before the person.
func tookFirst(in *incident.Incident, user roster.UserID) bool {
	if len(in.Acks) == 0 {
		return false
	}
	u, ok := in.Acks[0].By.User()
	return !ok || u != user
}

// others acknowledges the rest of what a storm card showed: the card names
// several incidents, and a tap on it speaks for all of those as they were shown.
func (s *devices) others(ctx context.Context, d *deed) {
	if d.GetVerb() != pb.ActRequest_VERB_ACKNOWLEDGE || d.by.Via == "action_token" {
		return // an action token is good for its one incident
	}
	for _, item := range d.others {
		_, err := s.c.Desk.Do(ctx, item.Incident, incident.Acknowledge{By: d.by}, respond.Options{Etag: item.Version})
		// One that moved on stays as it is, and so does one that he only observes.
		if err != nil && !errors.Is(err, respond.ErrStale) && fault.KindOf(err) != fault.Denied {
			s.c.Log.WarnContext(ctx, "incident of a storm card not acknowledged", slog.String("incident", string(item.Incident)), slog.Any("err", err))
		}
	}
}

// markActed records that somebody acted from the card of a delivery.
func (s *Server) markActed(ctx context.Context, delivery string, _ roster.DeviceID) {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	if err := s.c.Notifier.Acted(after, delivery); err != nil {
		s.c.Log.WarnContext(ctx, "action not recorded on its delivery", slog.String("delivery", delivery), slog.Any("err", err))
	}
}

// receiptStatuses are the answers about single receipts.
var receiptStatuses = map[notify.ReceiptStatus]pb.ReportReceiptsResponse_Result_Status{ //nolint:gochecknoglobals // look-up table
	notify.ReceiptRecorded: pb.ReportReceiptsResponse_Result_STATUS_RECORDED, notify.ReceiptUnknown: pb.ReportReceiptsResponse_Result_STATUS_UNKNOWN,
	notify.ReceiptIgnored: pb.ReportReceiptsResponse_Result_STATUS_IGNORED, notify.ReceiptDenied: pb.ReportReceiptsResponse_Result_STATUS_DENIED,
	notify.ReceiptInvalid: pb.ReportReceiptsResponse_Result_STATUS_INVALID,
}

// receiptRate is how often a device may report in a second.
const receiptRate = 10

func (s *devices) ReportReceipts(ctx context.Context, req *pb.ReportReceiptsRequest) (*pb.ReportReceiptsResponse, error) {
	c, key := callOf(ctx), req.GetReceiptKey()
	if key == "" && c.principal.Kind != auth.KindDevice {
		return nil, fault.New(fault.Unauthenticated, "CREDENTIAL_MISSING", "receipts need the device's credential or the page's receipt key")
	}
	if c.principal.Kind == auth.KindDevice { // others are many behind one address
		if err := s.receipts.take(c, s.c.Now()); err != nil {
			return nil, err
		}
	}
	answer := &pb.ReportReceiptsResponse{ServerTime: stamp(s.c.Now())}
	var good []notify.Receipt
	var at []int
	for i, r := range req.GetReceipts() {
		result := &pb.ReportReceiptsResponse_Result{DeliveryId: r.GetDeliveryId()}
		answer.Results = append(answer.Results, result)
		if err := validate(s.rules, r); err != nil {
			result.Status, result.Message = pb.ReportReceiptsResponse_Result_STATUS_INVALID, err.Error()
			continue
		}
		good, at = append(good, receiptOf(r)), append(at, i)
	}
	statuses, err := s.c.Notifier.Report(ctx, c.principal, key, good)
	if err != nil {
		return nil, err
	}
	denied := 0
	for k, status := range statuses {
		answer.Results[at[k]].Status = receiptStatuses[status]
		if status == notify.ReceiptDenied {
			denied++
		}
	}
	if key != "" && denied > 0 && denied == len(statuses) {
		return nil, fault.New(fault.Unauthenticated, "RECEIPT_KEY", "the receipt key is not valid for this delivery")
	}
	return answer, nil
}

func receiptOf(r *pb.Receipt) notify.Receipt {
	return notify.Receipt{
		Delivery: strings.ToLower(r.GetDeliveryId()), State: receiptStates[r.GetState()], DeviceAt: instant(r.GetDeviceAt()),
		Silent: r.GetAudible() == pb.Delivery_AUDIBLE_NO, Reason: r.GetReason(),
		Lowered: r.GetPrio() != "" && r.GetOrigPrio() != "" && r.GetPrio() != r.GetOrigPrio(),
	}
}

// testVerdicts are the verdicts on tests.
var testVerdicts = map[notify.TestVerdict]pb.TestPush_Verdict{ //nolint:gochecknoglobals // look-up table
	notify.TestPassed: pb.TestPush_VERDICT_PASSED, notify.TestRejected: pb.TestPush_VERDICT_REJECTED,
	notify.TestNoReceipt: pb.TestPush_VERDICT_NO_RECEIPT, notify.TestSuppressed: pb.TestPush_VERDICT_SUPPRESSED,
	notify.TestNotHeard: pb.TestPush_VERDICT_NOT_HEARD,
}

// testMessage returns a test with the states that it has reached, in order of time.
func testMessage(t notify.Test) *pb.TestPush {
	dv := t.Delivery
	asked := cmp.Or(dv.Queued, dv.Attempted)
	m := &pb.TestPush{
		Name: "testPushes/" + t.ID, Device: deviceName(dv.Device), DeliveryId: dv.ID, State: deliveryStates[dv.State],
		Verdict: testVerdicts[t.Verdict], Code: dv.Reason, Advice: t.Advice, CreateTime: stamp(asked),
	}
	for _, step := range []struct {
		state pb.Delivery_State
		at    time.Time
	}{
		{pb.Delivery_STATE_QUEUED, dv.Queued},
		{pb.Delivery_STATE_ATTEMPTED, dv.Attempted},
		{pb.Delivery_STATE_ACCEPTED, dv.Accepted},
		{pb.Delivery_STATE_RECEIVED, dv.Received},
		{pb.Delivery_STATE_DISPLAYED, dv.Displayed},
		{pb.Delivery_STATE_OPENED, dv.Opened},
		{pb.Delivery_STATE_ACTED, dv.Acted},
	} {
		if !step.at.IsZero() {
			m.Steps = append(m.Steps, &pb.TestPush_Step{State: step.state, StepTime: stamp(step.at), After: span(step.at.Sub(asked))})
		}
	}
	if dv.State.Refused() && !dv.Ended.IsZero() {
		m.Steps = append(m.Steps, &pb.TestPush_Step{State: deliveryStates[dv.State], StepTime: stamp(dv.Ended), After: span(dv.Ended.Sub(asked))})
	}
	return m
}
