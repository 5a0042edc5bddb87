package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// archive is an archived incident with all that was beside it. It is the same
// key in another encoding, so that whoever acts on it late finds it: a commit
// unpacks it, and a late receipt rewrites it.
type archive struct {
	incident   *incident.Incident
	timeline   []incident.Entry
	alerts     []incident.Alert
	deliveries []incident.Delivery
	prefix     prefix
}

func packArchive(a *archive, f form) []byte {
	return f.pack(a.incident.ID, archiveToProto(a))
}

func archiveToProto(a *archive) *storepb.Archive {
	return &storepb.Archive{
		Incident: incidentToProto(a.incident), Timeline: each(a.timeline, entryToProto),
		Alerts: each(a.alerts, alertToProto), Deliveries: each(a.deliveries, deliveryToProto),
	}
}

func unpackArchive(id incident.ID, pre prefix, body []byte) (*archive, error) {
	m, err := pre.Form.unpack(id, body)
	if err != nil {
		return nil, err
	}
	return &archive{
		incident: incidentFromProto(id, pre, m.GetIncident()), prefix: pre,
		timeline: each(m.GetTimeline(), entryFromProto), alerts: each(m.GetAlerts(), alertFromProto),
		deliveries: each(m.GetDeliveries(), deliveryFromProto),
	}, nil
}

// Record is an incident with everything beside it.
type Record struct {
	Incident   *incident.Incident
	Timeline   []incident.Entry
	Alerts     []incident.Alert
	Deliveries []incident.Delivery
	Archived   bool
}

// Record returns an incident with everything beside it, archived or not.
func (s *Store) Record(ctx context.Context, id incident.ID) (Record, error) {
	in, a, err := s.load(ctx, id)
	if err != nil {
		return Record{}, err
	}
	if a != nil {
		return Record{Incident: in, Timeline: a.timeline, Alerts: a.alerts, Deliveries: a.deliveries, Archived: true}, nil
	}
	r := Record{Incident: in}
	if r.Timeline, err = s.Timeline(ctx, id, 1, 0); err != nil {
		return Record{}, err
	}
	if r.Alerts, err = s.Alerts(ctx, id); err != nil {
		return Record{}, err
	}
	if r.Deliveries, err = s.Deliveries(ctx, IncidentDoc(id)); err != nil {
		return Record{}, err
	}
	sortRecord(&r)
	return r, nil
}

// sortRecord puts alerts and deliveries in an order that does not depend on Redis.
func sortRecord(r *Record) {
	slices.SortFunc(r.Alerts, func(a, b incident.Alert) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Key, b.Key))
	})
	slices.SortFunc(r.Deliveries, func(a, b incident.Delivery) int {
		return cmp.Or(a.Queued.Compare(b.Queued), cmp.Compare(a.ID, b.ID))
	})
}

// ErrNotClosed is what archiving an open incident gets.
var ErrNotClosed = fault.New(fault.Precondition, "NOT_CLOSED", "only a resolved incident is archived")

// Archive packs a resolved incident into one value: timeline, alerts and
// deliveries inside, their own keys gone. It writes the facts row that analytics
// read; zone tells where a person lives. Archiving twice changes nothing.
func (s *Store) Archive(ctx context.Context, id incident.ID, zone func(roster.UserID) string) error {
	for range 8 {
		r, err := s.Record(ctx, id)
		if err != nil {
			return failed(err, "archive incident %s", id)
		}
		if r.Archived {
			return nil
		}
		if r.Incident.Open() {
			return failed(ErrNotClosed, "archive incident %s", id)
		}
		done, err := s.pack(ctx, r, zone)
		if done || err != nil {
			return failed(err, "archive incident %s", id)
		}
	}
	return failed(ErrRevisionMoved, "archive incident %s", id)
}

// pack replaces what was read by its archive; false when it has changed since.
func (s *Store) pack(ctx context.Context, r Record, zone func(roster.UserID) string) (bool, error) {
	in, plan := r.Incident, newPlan()
	d := IncidentDoc(in.ID)
	p, err := d.Partition()
	if err != nil {
		return false, err
	}
	a := &archive{incident: in, timeline: r.Timeline, alerts: r.Alerts, deliveries: r.Deliveries}
	plan.guard(ErrRevisionMoved, "doc", docKey(p, d), revisionText(in.Revision), "")
	// Records beside the document change without its revision: they are guarded themselves.
	if ok, err := s.guardAlerts(ctx, plan, p, r); !ok || err != nil {
		return false, err
	}
	if ok, err := s.guardDeliveries(ctx, plan, p, r); !ok || err != nil {
		return false, err
	}
	pre := prefix{
		Revision: in.Revision + 1, Generation: in.Generation, Status: uint8(in.Status),
		Form: s.form(), Encoding: encodingArchive, Nonce: plan.nonce,
	}
	plan.write("SET", docKey(p, d), seal(pre, packArchive(a, pre.Form)))
	for _, key := range []string{timelineKey(p, in.ID), alertsKey(p, in.ID), deliveriesKey(p, d)} {
		plan.write("DEL", key)
	}
	row, day := factsOf(r, zone), factsDay(in.Created)
	plan.write("HSET", factsKey(p, day), string(in.ID), pre.Form.record(row.proto()))
	plan.write("EXPIRE", factsKey(p, day), int(factsKept.Seconds()))
	return s.plain(ctx, plan, Wake{Partition: p})
}

// guardAlerts adds that the alerts are as they were read, in whatever form they
// are stored; false when one has just changed.
func (s *Store) guardAlerts(ctx context.Context, plan *plan, p Partition, r Record) (bool, error) {
	fields := each(r.Alerts, func(a incident.Alert) string { return alertField(a.Service, a.Key) })
	return s.guardFields(ctx, plan, alertsKey(p, r.Incident.ID), fields, func(i int, raw string) (bool, error) {
		now, err := decodeAlert(fields[i], raw, r.Incident.Text.Title)
		return now == r.Alerts[i], err
	})
}

// guardDeliveries is guardAlerts for the records of deliveries, and none has come
// to them.
func (s *Store) guardDeliveries(ctx context.Context, plan *plan, p Partition, r Record) (bool, error) {
	key := deliveriesKey(p, IncidentDoc(r.Incident.ID))
	plan.guard(ErrRevisionMoved, "fields", key, len(r.Deliveries), "")
	var fields []string
	var read []incident.Delivery
	for _, dv := range r.Deliveries {
		if raw, _, ok := parseDelivery(dv.ID); ok { // else what no version has written: nobody changes it
			fields, read = append(fields, string(raw)), append(read, dv)
		}
	}
	return s.guardFields(ctx, plan, key, fields, func(i int, raw string) (bool, error) {
		now, err := openDelivery(read[i].ID, []byte(raw))
		return now == read[i], err
	})
}

// guardFields adds that fields of a hash are what is stored there, if that is what
// was read; false when one has changed since, or somebody has just archived all.
func (s *Store) guardFields(ctx context.Context, plan *plan, key string, fields []string, same func(i int, raw string) (bool, error)) (bool, error) {
	if len(fields) == 0 {
		return true, nil
	}
	stored, err := s.rdb.HMGet(ctx, key, fields...).Result()
	if err != nil {
		return false, failed(err, "read the records of %s", key)
	}
	for i, field := range fields {
		raw, there := stored[i].(string)
		if !there {
			return false, nil
		}
		if ok, err := same(i, raw); !ok || err != nil {
			return false, err
		}
		plan.guard(ErrRevisionMoved, "field", key, field, raw)
	}
	return true, nil
}

// plain carries out a plan that is no decision: true when it was committed,
// false when a guard missed.
func (s *Store) plain(ctx context.Context, plan *plan, wake Wake) (bool, error) {
	o := s.commits.do(ctx, plan.call(wake))[0]
	if o.err != nil {
		return false, o.err
	}
	v, err := plan.read(o.reply)
	return v.code == codeCommitted || v.code == codeRepeated, err
}

// commitArchived carries out a commit on an archived incident: all of it is
// written as it was, and the decision on top, in one step.
func (s *Store) commitArchived(ctx context.Context, d *draft) Result {
	_, a, err := s.load(ctx, d.doc.Incident)
	if err != nil {
		return Result{Err: failed(err, "commit %s", d.doc)}
	}
	if a == nil || a.prefix.Revision != d.c.Before.Revision {
		return Result{Err: failed(ErrRevisionMoved, "commit %s", d.doc)}
	}
	p := newPlan()
	again := &draft{c: d.c, form: d.form, partition: d.partition, doc: d.doc, plan: p, writer: p.nonce, unpack: a}
	again.wake.Partition = d.partition
	if err := again.build(); err != nil {
		return Result{Err: err}
	}
	return s.settle(ctx, again, s.commits.do(ctx, again.plan.call(again.wake))[0])
}

// mergeArchived changes a delivery inside an archive, or adds it. done is false when the
// incident is there and is not archived.
func (s *Store) mergeArchived(
	ctx context.Context, id incident.ID, delivery string, change func(old incident.Delivery, found bool) (incident.Delivery, bool),
) (done bool, dv incident.Delivery, changed bool, err error) {
	for range 8 {
		_, a, err := s.load(ctx, id)
		if fault.KindOf(err) == fault.NotFound {
			_, _ = change(dv, false) // nothing is put beside what is gone
			return true, dv, false, nil
		}
		if a == nil || err != nil {
			return err != nil, dv, false, err
		}
		i := slices.IndexFunc(a.deliveries, func(x incident.Delivery) bool { return x.ID == delivery })
		found := i >= 0
		if !found {
			i, a.deliveries = len(a.deliveries), append(a.deliveries, dv)
		}
		old := a.deliveries[i]
		now, changed := change(old, found)
		if !changed {
			return true, old, false, nil
		}
		a.deliveries[i] = now
		if ok, err := s.repack(ctx, id, a); ok || err != nil {
			return true, now, true, err
		}
	}
	return true, dv, false, ErrRevisionMoved
}

// repack writes a changed archive; false when somebody else was faster.
func (s *Store) repack(ctx context.Context, id incident.ID, a *archive) (bool, error) {
	p, err := PartitionOfIncident(id)
	if err != nil {
		return false, err
	}
	plan := newPlan()
	plan.guard(ErrRevisionMoved, "doc", incidentKey(p, id), revisionText(a.prefix.Revision), string(encodingArchive))
	pre := a.prefix
	pre.Revision, pre.Form, pre.Nonce = pre.Revision+1, s.form(), plan.nonce
	plan.write("SET", incidentKey(p, id), seal(pre, packArchive(a, pre.Form)))
	return s.plain(ctx, plan, Wake{Partition: p})
}

// factsDay is the day of a facts row: that of the creation, so that an incident
// that is archived again replaces its row.
func factsDay(created time.Time) string { return created.UTC().Format("20060102") }
