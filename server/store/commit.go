package store

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// Commit is one decision to be made durable, and what it was decided on. All of
// it is in one partition: that of the document or, without one, Partition.
//
// Indexes (open incidents by time, service and person, timers, the closed
// stream) are derived from the document before and after.
type Commit struct {
	// Before is the incident as it was read, nil for a new one: the commit is
	// refused when it has changed since. After is the incident as it shall be,
	// nil when only records beside it change.
	Before, After *incident.Incident
	Person        *PersonChange // instead of an incident
	Partition     Partition     // read only when neither is there

	Alerts   []incident.Alert // records to write
	Seen     AlertsSeen       // as Alerts were stored when they were read: a guard, not with Inbox; nil: whatever is there is written over
	Drop     []incident.Alert // records to delete: alerts that moved away
	Timeline []incident.Entry // to append
	Coalesce *incident.Entry  // to put in the place of the last one
	Work     []incident.Work  // to be done outside
	Feed     bool             // tell those who watch

	Inbox   []string   // entries that this decision takes: a guard, and gone with it
	Done    []string   // work that is done with it; no guard
	Keys    []KeyGuard // dedup keys: a guard, and changed with it
	Request *Request   // makes a repeated request safe
	// Ahead reads in the same trip, where that can be, what those were told whom
	// the work pages. It is for a decision that is alone: for many at once, each
	// person is better read once.
	Ahead bool
}

// PersonChange is a change of one person's document. Before is nil for a new one.
type PersonChange struct{ Before, After *attention.Person }

// KeyGuard says where a dedup key leads (nowhere: "") and where it shall lead.
type KeyGuard struct {
	Service  catalog.ServiceID
	Key      string
	Was, Now incident.ID
}

// Request keeps the answer to a request id for 24 hours. The id should name its
// caller as well: two callers may choose the same one.
type Request struct {
	ID     string
	Answer []byte
}

// requestKept is how long an answer is kept.
const requestKept = 24 * time.Hour

// Committed is a commit that was made.
type Committed struct {
	Revision uint64     // of the document now
	Writer   string     // names the commit that made it
	Work     []WorkItem // the work written, with its ids; absent when Repeated
	// Repeated: an earlier try of this very commit had already made it. Its work
	// is in the stream.
	Repeated bool
	Short    bool // no replica confirmed it in time (durability "replicated")
}

// Stamp tells the incident which revision it is now.
func (c Committed) Stamp(in *incident.Incident) { in.Revision, in.Writer = c.Revision, c.Writer }

// Result is the outcome of one of several commits.
type Result struct {
	Committed

	Err error
}

// Commit makes one decision durable, or nothing of it. A fault of kind Conflict
// (ErrRevisionMoved, ErrKeyMoved, ErrInboxGone, ErrRequestAnswered) asks to read
// and decide again.
func (s *Store) Commit(ctx context.Context, c Commit) (Committed, error) {
	r := s.CommitAll(ctx, []Commit{c})[0]
	return r.Committed, r.Err
}

// CommitAll makes several decisions durable in as few trips as possible, each on
// its own. The order of those about one document is kept only in that the later
// one's guard decides. Commits that take inbox entries away travel apart from all
// others, which have a reserve: they go together, or not in one call.
func (s *Store) CommitAll(ctx context.Context, cs []Commit) []Result {
	if len(cs) == 0 {
		return nil
	}
	defer s.around("commit")()
	results := make([]Result, len(cs))
	drafts := make([]*draft, len(cs))
	var calls []*call
	var which []int
	for i := range cs {
		d, err := s.draft(&cs[i])
		if err != nil {
			results[i].Err = err
			continue
		}
		drafts[i] = d
		call := d.plan.call(d.wake)
		call.reads = s.ahead(d)
		calls, which = append(calls, call), append(which, i)
	}
	lanes := s.commits
	if len(cs[0].Inbox) > 0 {
		lanes = s.decided
	}
	for k, o := range lanes.do(ctx, calls...) {
		i := which[k]
		results[i] = s.settle(ctx, drafts[i], o)
	}
	return results
}

// draft is a commit on its way.
type draft struct {
	c         *Commit
	form      form
	partition Partition
	doc       Doc
	plan      *plan
	wake      Wake
	revision  uint64
	writer    string // of that revision
	work      []incident.Work
	unpack    *archive           // the document was archived: all of it is written again
	left      *incident.Incident // as it is read behind a commit that pages; nil for others
	people    []roster.UserID    // who is read ahead
}

// settle turns the outcome of a call into the result of its commit.
func (s *Store) settle(ctx context.Context, d *draft, o outcome) Result {
	if o.err != nil {
		return Result{Err: failed(o.err, "commit %s", d.doc)}
	}
	v, err := d.plan.read(o.reply)
	if err != nil {
		return Result{Err: failed(err, "commit %s", d.doc)}
	}
	done := Committed{Revision: d.revision, Writer: d.writer, Short: o.short}
	switch v.code {
	case codeCommitted:
		people := d.told(o.read)
		for i, w := range d.work {
			item := WorkItem{ID: v.ids[i], Partition: d.partition, Work: w}
			if w.Kind == incident.WorkPage && w.Incident == d.doc.Incident {
				item.Incident, item.Person = d.left, people[w.User]
			}
			done.Work = append(done.Work, item)
		}
	case codeRepeated:
		done.Repeated = true
	case codeArchived:
		return s.commitArchived(ctx, d)
	default:
		if v.guard == nil {
			return Result{Err: fault.New(fault.Internal, "COMMIT_REPLY", "the commit script answered something else")}
		}
		return Result{Err: failed(v.guard, "commit %s", d.doc)}
	}
	if o.short {
		s.o.Log.WarnContext(ctx, "commit not confirmed by a replica", slog.String("document", d.doc.String()))
	}
	return Result{Committed: done}
}

// ahead returns the keys of what is read behind the commit: what those have been
// told whom it pages.
func (s *Store) ahead(d *draft) []string {
	if !d.c.Ahead || s.kind == "cluster" { // there, they may be another master's
		return nil
	}
	var keys []string
	for _, w := range d.work {
		if w.Kind == incident.WorkPage && !slices.Contains(d.people, w.User) {
			d.people = append(d.people, w.User)
			keys = append(keys, personKey(PartitionOf(string(w.User)), w.User))
		}
	}
	return keys
}

// told returns what was read ahead. What is damaged is left to who has to read it.
func (d *draft) told(read []any) map[roster.UserID]*attention.Person {
	if len(read) == 0 || len(read) != len(d.people) {
		return nil
	}
	people := make(map[roster.UserID]*attention.Person, len(read))
	for i, id := range d.people {
		raw, there := read[i].(string)
		if p, err := decodePerson(id, []byte(raw), there); err == nil {
			people[id] = p
		}
	}
	return people
}

// draft writes down the guards and writes of a commit.
func (s *Store) draft(c *Commit) (*draft, error) {
	p := newPlan()
	d := &draft{c: c, form: s.form(), partition: c.Partition, plan: p, writer: p.nonce}
	switch {
	case c.Person != nil && c.Person.After == nil:
		return nil, fault.New(fault.Internal, "COMMIT_SHAPE", "a change of a person has to say what follows")
	case c.Person != nil:
		d.doc = PersonDoc(c.Person.After.User)
	case c.After != nil:
		d.doc = IncidentDoc(c.After.ID)
	case c.Before != nil:
		d.doc = IncidentDoc(c.Before.ID)
	}
	if d.doc != (Doc{}) {
		p, err := d.doc.Partition()
		if err != nil {
			return nil, err
		}
		d.partition = p
	}
	d.wake.Partition = d.partition
	if err := d.build(); err != nil {
		return nil, err
	}
	return d, nil
}

// build is everything that the plan has to hold. Work comes first among the
// writes, so that the first ids that come back are its.
func (d *draft) build() error {
	c := d.c
	if c.Seen != nil && len(c.Inbox) > 0 {
		return fault.New(fault.Internal, "COMMIT_SHAPE", "a commit that takes inbox entries is alone in counting alerts up, and has seen none")
	}
	if c.Person != nil {
		if err := d.person(c.Person); err != nil {
			return err
		}
	} else if err := d.incidentGuard(); err != nil {
		return err
	}
	d.requests()
	d.workItems()
	if c.Person == nil && d.doc != (Doc{}) {
		d.incident()
		d.records()
		d.feed()
	}
	return nil
}

// incidentGuard refuses the commit when the document has moved.
func (d *draft) incidentGuard() error {
	c := d.c
	if d.doc == (Doc{}) {
		return nil
	}
	key, packed := docKey(d.partition, d.doc), ""
	if d.unpack != nil {
		packed = string(encodingArchive)
	}
	if c.Before == nil {
		d.revision = 1
		d.plan.guard(ErrRevisionMoved, "doc", key, "", packed)
		return nil
	}
	if c.After != nil && c.Before.ID != c.After.ID {
		return fault.New(fault.Internal, "COMMIT_SHAPE", "a commit is about one incident")
	}
	if c.After == nil && d.unpack == nil {
		d.revision, d.writer = c.Before.Revision, c.Before.Writer
	} else {
		d.revision = c.Before.Revision + 1
	}
	d.plan.guard(ErrRevisionMoved, "doc", key, madeBy(c.Before.Revision, c.Before.Writer), packed)
	return nil
}

// requests are the guards beside the document, and what becomes of them.
func (d *draft) requests() {
	c, p := d.c, d.plan
	if r := c.Request; r != nil {
		key := requestKey(d.partition, r.ID)
		p.guard(ErrRequestAnswered, "absent", key, "", "")
		p.write("SET", key, r.Answer, "EX", int(requestKept.Seconds()))
	}
	for _, k := range c.Keys {
		key := keysKey(d.partition, k.Service)
		p.guard(ErrKeyMoved, "field", key, k.Key, string(k.Was))
		switch k.Now {
		case k.Was:
		case "":
			p.write("HDEL", key, k.Key)
		default:
			p.write("HSET", key, k.Key, string(k.Now))
		}
	}
	if c.Coalesce != nil {
		p.guard(ErrTimelineGone, "exists", timelineKey(d.partition, d.doc.Incident), "", "")
	}
	if n := len(c.Inbox); n > 0 { // the last of the guards
		for _, id := range c.Inbox[:n-1] {
			p.guard(ErrInboxGone, "entry", inboxKey(d.partition), id, "")
		}
		p.guard(ErrInboxGone, "take", inboxKey(d.partition), c.Inbox[n-1], "")
	}
	for _, a := range c.Alerts {
		field := alertField(a.Service, a.Key)
		if was, ok := c.Seen[field]; ok {
			p.guardOnce(ErrAlertMoved, "field", alertsKey(d.partition, d.doc.Incident), field, was)
		}
	}
}

// workItems writes the work and takes away what is done.
func (d *draft) workItems() {
	p := d.plan
	for _, w := range d.c.Work {
		if w.Revision == 0 {
			w.Revision = d.revision
		}
		if w.Incident == "" {
			w.Incident = d.doc.Incident
		}
		d.work = append(d.work, w)
		p.write("XADD", workKey(d.partition), "*", "w", d.form.record(workToProto(w)))
		d.wake.Kinds |= WakeWork
	}
	if n := len(d.c.Inbox); n > 1 { // the last one was taken by its guard
		p.writeMany("XDEL", inboxKey(d.partition), anys(d.c.Inbox[:n-1]))
	}
	if len(d.c.Done) > 0 {
		p.writeMany("XDEL", workKey(d.partition), anys(d.c.Done))
		p.writeMany("HDEL", triesKey(d.partition), anys(d.c.Done))
	}
}

// incident writes the document and moves it in the indexes.
func (d *draft) incident() {
	before, after := d.c.Before, d.c.After
	if after == nil {
		if d.unpack == nil {
			return
		}
		after = before
	}
	pre := prefix{
		Revision: d.revision, Generation: after.Generation, Status: uint8(after.Status),
		Form: d.form, Encoding: encodingPlain, Nonce: d.plan.nonce,
	}
	m := incidentToProto(after)
	if slices.ContainsFunc(d.work, func(w incident.Work) bool { return w.Kind == incident.WorkPage }) {
		d.left = incidentFromProto(after.ID, pre, m)
	}
	d.plan.write("SET", docKey(d.partition, d.doc), seal(pre, d.form.body(m)))
	d.prove()
	var was time.Time
	if before != nil {
		was = before.Due()
	}
	d.timer(was, after.Due(), after.Updated)
	d.indexes(before, after)
}

// indexes keeps the lists of open incidents and the closed stream.
func (d *draft) indexes(before, after *incident.Incident) {
	p, id, score := d.plan, string(after.ID), ms(after.Created)
	wasOpen, isOpen := before != nil && before.Open(), after.Open()
	if wasOpen != isOpen {
		for _, key := range []string{openKey(d.partition), serviceKey(d.partition, after.Service)} {
			if isOpen {
				p.write("ZADD", key, score, id)
			} else {
				p.write("ZREM", key, id)
			}
		}
	}
	var old, now []roster.UserID
	if wasOpen {
		old = assigned(before)
	}
	if isOpen {
		now = assigned(after)
	}
	for _, u := range old {
		if !slices.Contains(now, u) {
			p.write("ZREM", assigneeKey(d.partition, u), id)
		}
	}
	for _, u := range now {
		if !slices.Contains(old, u) {
			p.write("ZADD", assigneeKey(d.partition, u), score, id)
		}
	}
	switch {
	case !isOpen && (wasOpen || before == nil):
		p.write("XADD", closedKey(d.partition), "*", "i", id, "n", after.Reopens)
	case !isOpen && d.unpack != nil: // it was archived, and has to be again; it is listed already
		p.write("XADD", closedKey(d.partition), "*", "i", id, "n", -1)
	}
}

func assigned(in *incident.Incident) []roster.UserID {
	us := make([]roster.UserID, 0, len(in.Assignees))
	for i := range in.Assignees {
		us = append(us, in.Assignees[i].User)
	}
	slices.Sort(us)
	return slices.Compact(us)
}

// timer keeps the one timer of the document. One that is overdue is armed again
// as it is, because it may have been put off or set aside.
func (d *draft) timer(was, due, now time.Time) {
	if ms(was) == ms(due) && (due.IsZero() || due.After(now)) {
		return
	}
	if due.IsZero() {
		d.plan.write("ZREM", timersKey(d.partition), d.doc.member())
		return
	}
	d.plan.write("ZADD", timersKey(d.partition), ms(due), d.doc.member())
	d.wake.Kinds |= WakeTimer
	d.wake.Due = due
}

// records are the alerts and the timeline; those of an archive come first.
func (d *draft) records() {
	c, p, id := d.c, d.plan, d.doc.Incident
	alerts, entries := c.Alerts, c.Timeline
	if d.unpack != nil {
		alerts = append(slices.Clone(d.unpack.alerts), c.Alerts...)
		old := slices.Clone(d.unpack.timeline)
		if c.Coalesce != nil && len(old) > 0 {
			old[len(old)-1] = *c.Coalesce
		}
		entries = slices.Concat(old, c.Timeline)
		for _, dv := range d.unpack.deliveries {
			if raw, _, ok := parseDelivery(dv.ID); ok {
				p.write("HSET", deliveriesKey(d.partition, d.doc), raw, sealDelivery(dv, d.form, ""))
			}
		}
	} else if c.Coalesce != nil {
		p.write("LSET", timelineKey(d.partition, id), -1, d.form.record(entryToProto(*c.Coalesce)))
	}
	p.writeMany("RPUSH", timelineKey(d.partition, id), each(entries, func(e incident.Entry) any {
		return d.form.record(entryToProto(e))
	}))
	for _, a := range alerts {
		p.write("HSET", alertsKey(d.partition, id), alertField(a.Service, a.Key), d.form.record(alertRecord(a, d.title())))
	}
	for _, a := range c.Drop {
		p.write("HDEL", alertsKey(d.partition, id), alertField(a.Service, a.Key))
	}
}

// feed tells those who watch: the incident, its revision and version, and what happened.
func (d *draft) feed() {
	if !d.c.Feed {
		return
	}
	in := d.c.After
	if in == nil {
		in = d.c.Before
	}
	types := make([]incident.EntryType, 0, len(d.c.Timeline))
	for _, e := range d.c.Timeline {
		types = append(types, e.Type)
	}
	e := FeedEntry{Incident: in.ID, Revision: d.revision, Version: in.Version, Types: types}
	d.plan.write("XADD", feedKey(d.partition), "*", "f", e.encode())
	d.wake.Kinds |= WakeFeed
}

// person writes the document of a person.
func (d *draft) person(c *PersonChange) error {
	key, was := docKey(d.partition, d.doc), time.Time{}
	d.revision = 1
	if c.Before != nil {
		if c.Before.User != c.After.User {
			return fault.New(fault.Internal, "COMMIT_SHAPE", "a commit is about one person")
		}
		d.revision, was = c.Before.Revision+1, c.Before.Due()
		d.plan.guard(ErrRevisionMoved, "doc", key, madeBy(c.Before.Revision, c.Before.Writer), "")
	} else {
		d.plan.guard(ErrRevisionMoved, "doc", key, "", "")
	}
	pre := prefix{Revision: d.revision, Form: d.form, Encoding: encodingPlain, Nonce: d.plan.nonce}
	d.plan.write("SET", key, seal(pre, d.form.body(personToProto(c.After))))
	d.prove()
	d.timer(was, c.After.Due(), c.After.Updated)
	return nil
}

// prove says how a failover's survivors show whether the commit is among them.
func (d *draft) prove() {
	d.plan.proof = &proof{key: docKey(d.partition, d.doc), revision: d.revision, nonce: d.plan.nonce, what: d.doc.String()}
	if r := d.c.Request; r != nil {
		d.plan.proof.request, d.plan.proof.told = requestKey(d.partition, r.ID), true
	}
	for _, e := range d.c.Timeline {
		if e.Actor.Kind == incident.ActorUser {
			d.plan.proof.told = true
		}
	}
}

// alertField names an alert among those of its incident.
func alertField(s catalog.ServiceID, key string) string { return string(s) + "\x00" + key }

// title is that of the incident, which never changes.
func (d *draft) title() string {
	if d.c.After != nil {
		return d.c.After.Text.Title
	}
	return d.c.Before.Text.Title
}

// alertRecord leaves out what the field's name says, and a summary that is the
// incident's title, as it mostly is: a record of up to 64 bytes takes half the
// memory of a longer one.
func alertRecord(a incident.Alert, title string) *storepb.Alert {
	m := alertToProto(a)
	m.Service, m.Key = "", ""
	if a.Summary != "" && a.Summary == title {
		m.Titled, m.Summary = true, ""
	}
	return m
}

func anys[A any](as []A) []any {
	list := make([]any, len(as))
	for i, a := range as {
		list[i] = a
	}
	return list
}

// Answer returns what a request id was answered before, if it was.
func (s *Store) Answer(ctx context.Context, p Partition, requestID string) ([]byte, bool, error) {
	b, err := s.rdb.Get(ctx, requestKey(p, requestID)).Bytes()
	if isNil(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, failed(err, "look up request %s", requestID)
	}
	return b, true, nil
}

// Unlink forgets a dedup key if it still leads to the incident: its alert ended
// in another partition.
func (s *Store) Unlink(ctx context.Context, service catalog.ServiceID, key string, in incident.ID) error {
	_, err := s.Commit(ctx, Commit{
		Partition: PartitionOf(string(service)), Keys: []KeyGuard{{Service: service, Key: key, Was: in}},
	})
	if fault.KindOf(err) == fault.Conflict {
		return nil // it leads elsewhere by now
	}
	return err
}
