//go:build schemanext

package store

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// written is what is stored of a service's things, by the form of each.
func written(t *testing.T, s *Store, in *incident.Incident) map[string]form {
	t.Helper()
	p, forms := PartitionOf(string(in.Service)), map[string]form{}
	raw, err := s.rdb.Get(t.Context(), incidentKey(p, in.ID)).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	pre, _, err := open(raw)
	if err != nil {
		t.Fatal(err)
	}
	forms["document"] = pre.Form
	for _, a := range s.rdb.HVals(t.Context(), alertsKey(p, in.ID)).Val() {
		forms["alert"], _ = formOf([]byte(a))
	}
	for _, d := range s.rdb.HVals(t.Context(), deliveriesKey(p, IncidentDoc(in.ID))).Val() {
		forms["delivery"], _ = formOf([]byte(d)[deliveryPrefix:])
	}
	for name, of := range map[string]struct{ key, field string }{"event": {inboxKey(p), "e"}, "work": {workKey(p), "w"}, "change": {configLogKey, "b"}} {
		for _, x := range s.rdb.XRevRangeN(t.Context(), of.key, "+", "-", 1).Val() {
			forms[name], _ = formOf([]byte(x.Values[of.field].(string)))
		}
	}
	for _, e := range s.rdb.LRange(t.Context(), timelineKey(p, in.ID), -1, -1).Val() {
		forms["entry"], _ = formOf([]byte(e))
	}
	return forms
}

// allKinds writes something of each kind about an incident.
func allKinds(t *testing.T, s *Store, in *incident.Incident, key string) *incident.Incident {
	t.Helper()
	c := begin(in, key)
	if in.Revision > 0 {
		c.Before, c.Keys = in, nil
	}
	in, done := mustCommit(t, s, c)
	entry := InboxEntry{Service: in.Service, Key: key, Event: event.Event{Action: event.Trigger, Summary: "again"}}
	if err := s.Append(t.Context(), []InboxEntry{entry}); err != nil {
		t.Fatal(err)
	}
	d := IncidentDoc(in.ID)
	id, err := DeliveryID(d, done.Work[0].Key(), "phone")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RecordDelivery(t.Context(), d, incident.Delivery{ID: id, User: "ann", State: incident.DeliveryAccepted, Queued: base}); err != nil {
		t.Fatal(err)
	}
	change := ConfigChange{Kind: "service", ID: string(in.Service) + key, Payload: []byte("x")}
	if _, err := s.ConfigApply(t.Context(), base, []ConfigChange{change}); err != nil {
		t.Fatal(err)
	}
	return in
}

// packingAt is the packing of an archive, as it is stored.
func packingAt(t *testing.T, s *Store, in *incident.Incident) packing {
	t.Helper()
	raw, err := s.rdb.Get(t.Context(), incidentKey(PartitionOf(string(in.Service)), in.ID)).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	pre, body, err := open(raw)
	if err != nil || pre.Encoding != encodingArchive {
		t.Fatalf("incident %s is no archive: %+v (%v)", in.ID, pre, err)
	}
	return packing(body[0] >> 3)
}

// TestUpgrade: beside an older instance everything is written as that reads it;
// when it has gone, everything that is written is in the new form, and what was
// there is read, changed and archived as ever.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	beat := func(now time.Time) {
		t.Helper()
		if _, err := s.Heartbeat(t.Context(), now, Member{Version: "next"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.beating(t, base, "old", 1, 0)
	beat(base.Add(time.Second))
	in := allKinds(t, s, opened(freshService(t), base), "k")
	for kind, f := range written(t, s, in) {
		if f != 1 {
			t.Errorf("beside an older instance, %s is in form %d", kind, f)
		}
	}
	early := resolve(t, s, allKinds(t, s, opened(freshService(t), base), "k"), base.Add(time.Minute))
	if err := s.Archive(t.Context(), early.ID, zoneOf); err != nil {
		t.Fatal(err)
	}
	if p := packingAt(t, s, early); p != secondPacking {
		t.Errorf("beside an older instance, an archive is in packing %d, want %d", p, secondPacking)
	}
	beat(base.Add(time.Minute)) // the older one is gone
	if got, err := s.Record(t.Context(), early.ID); err != nil || !got.Archived || got.Incident.Number != 4711 {
		t.Errorf("the older archive: got %+v (%v)", got, err)
	}
	old, err := s.Record(t.Context(), in.ID)
	if err != nil || old.Incident.Number != 4711 {
		t.Fatalf("the older document: got %+v (%v)", old.Incident, err)
	}
	half := resolve(t, s, old.Incident, base.Add(time.Minute))
	if f := written(t, s, half); f["document"] != 2 || f["alert"] != 1 {
		t.Errorf("after a change of the document alone: %v", f)
	}
	if err := s.Archive(t.Context(), in.ID, zoneOf); err != nil {
		t.Fatalf("archive with records of the older form beside it: %v", err)
	}
	if p := packingAt(t, s, in); p != thirdPacking {
		t.Errorf("after it has gone, an archive is in packing %d, want %d", p, thirdPacking)
	}
	packed, err := s.Record(t.Context(), in.ID)
	if err != nil || !packed.Archived || packed.Incident.Number != 4711 || len(packed.Alerts) != 1 || len(packed.Deliveries) != 1 {
		t.Errorf("the archive: got %+v (%v)", packed, err)
	}
	fresh := allKinds(t, s, opened(freshService(t), base), "k")
	if f := written(t, s, fresh); len(f) != 7 {
		t.Errorf("only %v were written", f)
	}
	for kind, f := range written(t, s, fresh) {
		if f != 2 {
			t.Errorf("after it has gone, %s is in form %d", kind, f)
		}
	}
	if got, err := s.Incident(t.Context(), fresh.ID); err != nil || got.Number != 4711 {
		t.Errorf("the new document: got %+v (%v)", got, err)
	}
	if records, _ := loaded(t, s); len(records) != 3 {
		t.Errorf("%d configuration records of both forms, want 3", len(records))
	}
}

// TestOlderBuildWouldMisread shows that the second form is a real one: to a
// version that does not know it, the document has lost its number.
func TestOlderBuildWouldMisread(t *testing.T) {
	t.Parallel()
	raw := form(2).body(incidentToProto(opened("svc", base)))
	var m storepb.Incident
	if err := proto.Unmarshal(raw, &m); err != nil || m.GetNumber() != 0 {
		t.Fatalf("the number is %d (%v), want that it is elsewhere", m.GetNumber(), err)
	}
	if err := form(2).read(raw, &m); err != nil || m.GetNumber() != 4711 || len(m.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("read as what it is: %d (%v)", m.GetNumber(), err)
	}
}
