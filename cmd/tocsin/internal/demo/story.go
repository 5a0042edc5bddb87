package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// story is one night in the shop, played without a person. Its steps run in
// order, and each leaves here what the next ones need.
type story struct {
	*stage
	program string
	hooks   hooks

	incident string // resource name
	fired    time.Time
	silent   time.Time             // when Ann's phone counted as silent
	first    pushtest.Notification // Ann's first page
	due      time.Time             // when the server said that it would escalate
	before   view                  // what was known at the kill
	redis    string                // process id of the Redis that survived it
	killed   int                   // mark in the journal
	paged    pushtest.Notification // Bo's page
	acked    time.Time             // when the server answered Bo's tap
	ackMark  int                   // mark in the journal
	bell     time.Time             // when the alert was mended
	closed   bool
}

// steps is the story in the order in which it has to happen.
func (s *story) steps() []step {
	return []step{
		{"tocsin serve starts, with a private Redis", "the server answers /healthz", startPatience, s.serve},
		{"the shop is applied from YAML, and its phones enrol by one-time link", "two devices with credentials, and /readyz says yes", startPatience, s.employAll},
		{"an alert fires, and an incident opens", "the timeline says triggered, and that it is Ann's turn", 10 * time.Second, s.trigger},
		{"Ann's iPhone rings", "one request at APNs, and an audible page on Ann's iPhone", 10 * time.Second, s.ring},
		{"her phone says nothing, and that is noticed", "the timeline says that no phone confirmed the push", s.pace.Receipt + 10*time.Second, s.silence},
		{"the page is sent again, louder", "a page with the critical sound on Ann's iPhone, in place of the first", 10 * time.Second, s.louder},
		{"e-mail, planned for later, goes out now", "a message in Ann's mailbox", 10 * time.Second, s.email},
		{"the server is killed, with no time to say goodbye", "the process is gone, and its Redis runs on", 10 * time.Second, s.crash},
		{"it is started again, and nothing is lost", "the same Redis, the same timeline, the same deliveries", startPatience, s.recover},
		{"nobody has answered: Bo is next", "one request at FCM, an audible page on Bo's Android, and none on Ann's iPhone", s.pace.Level + 20*time.Second, s.escalate},
		{"Bo's phone says that it rang", "the delivery is displayed, and was heard", 10 * time.Second, s.receipt},
		{"Bo acknowledges on the lock screen", "the answer says that the incident is his", 15 * time.Second, s.acknowledge},
		{"every card is replaced", "a silent card \"acknowledged by Bo\" on both phones, and no page left on either", 10 * time.Second, s.replaced},
		{"silence", fmt.Sprintf("no push and no e-mail for %s", s.pace.Quiet), s.pace.Quiet + 5*time.Second, s.quiet},
		{"the alert is over, and so is the incident", "the timeline says resolved by the monitor", 15 * time.Second, s.resolve},
		{"the cards say so, silently", "a silent card \"resolved\" on both phones", 10 * time.Second, s.closing},
		{"everything ends in order", "the server drains, and no process of the demo is left", 2 * stopPatience, s.end},
	}
}

func (s *story) serve(ctx context.Context) (seen, error) {
	if err := s.server.start(ctx); err != nil {
		return seen{}, err
	}
	return seen{
		took: time.Since(s.server.began), since: "its start",
		notes: []note{{atServer, fmt.Sprintf("pid %d at %s, all of it in %s", s.server.process.pid(), s.server.url, s.dir)}},
	}, nil
}

func (s *story) employAll(ctx context.Context) (seen, error) {
	began := time.Now()
	var err error
	if s.hooks, err = s.employ(ctx); err != nil {
		return seen{}, err
	}
	if err := s.handOut(ctx); err != nil {
		return seen{}, err
	}
	if err := s.server.ready(ctx); err != nil {
		return seen{}, fmt.Errorf("the server is not ready: %w", err)
	}
	took := time.Since(began)
	if err := s.listen(ctx, s.hooks); err != nil {
		return seen{}, err
	}
	return seen{took: took, since: "the first call", notes: []note{
		{atServer, "services checkout and search; Ann is asked first, then Bo, and Cy when nobody else is left"},
		{atPhone, "Ann's iPhone and Bo's Android have a credential each"},
		{atMonitor, s.monitor.name()},
	}}, nil
}

// trigger puts Ann's phone into a drawer first: it will ring, and its app will
// not be able to say so.
func (s *story) trigger(ctx context.Context) (seen, error) {
	s.ann.setMood(moodMute)
	if err := s.fire(ctx, shopAlerts[0]); err != nil {
		return seen{}, err
	}
	s.fired = s.stage.fired
	opened, err := s.await(ctx, entryOf("", tocsinv1.TimelineEntry_TYPE_TRIGGERED))
	if err != nil {
		return seen{}, err
	}
	s.incident = opened.incident
	assigned, err := s.await(ctx, entryOf(s.incident, tocsinv1.TimelineEntry_TYPE_ASSIGNED))
	if err != nil {
		return seen{}, err
	}
	if !slices.Contains(assigned.entry.GetUsers(), ann.name()) {
		return seen{}, fmt.Errorf("it is the turn of %v", assigned.entry.GetUsers())
	}
	return seen{took: opened.at.Sub(s.fired), since: "firing", notes: []note{
		{atMonitor, shopAlerts[0].name + ": " + shopAlerts[0].summary}, {atTimeline, opened.text}, {atTimeline, assigned.text},
	}}, nil
}

func (s *story) ring(ctx context.Context) (seen, error) {
	page, err := s.await(ctx, pushOf(ann, "page"))
	if err != nil {
		return seen{}, err
	}
	s.first = *page.push
	request, err := s.await(ctx, func(g sighting) bool { return g.where == atAPNs && g.request.Header["apns-id"] == s.first.DeliveryID })
	if err != nil {
		return seen{}, err
	}
	notified, err := s.await(ctx, entryOf(s.incident, tocsinv1.TimelineEntry_TYPE_NOTIFIED))
	if err != nil {
		return seen{}, err
	}
	if !s.first.Audible() {
		return seen{}, fmt.Errorf("it made no sound: %s", page.text)
	}
	if n := len(s.journal.find(0, pushOf(ann, "page"))); n != 1 {
		return seen{}, fmt.Errorf("it rang %d times", n)
	}
	return seen{took: page.at.Sub(s.fired), since: "firing", notes: []note{
		{atAPNs, request.text}, {atPhone, page.text}, {atTimeline, notified.text},
	}}, nil
}

func (s *story) silence(ctx context.Context) (seen, error) {
	noticed, err := s.await(ctx, func(g sighting) bool {
		return g.entry != nil && g.incident == s.incident && g.entry.GetCause() == tocsinv1.TimelineEntry_CAUSE_NO_RECEIPT
	})
	if err != nil {
		return seen{}, err
	}
	s.silent = noticed.at
	return seen{took: noticed.at.Sub(s.first.At), since: "the page", notes: []note{
		{atPhone, "no receipt from Ann's iPhone"}, {atTimeline, noticed.text},
	}}, nil
}

func (s *story) louder(ctx context.Context) (seen, error) {
	page, err := s.await(ctx, func(g sighting) bool {
		return pushOf(ann, "page")(g) && g.push.DeliveryID != s.first.DeliveryID
	})
	if err != nil {
		return seen{}, err
	}
	if !page.push.Critical || !page.push.Audible() || !page.push.Replaced {
		return seen{}, fmt.Errorf("it came, but as %s", page.text)
	}
	return seen{took: page.at.Sub(s.silent), since: "that", notes: []note{{atPhone, page.text}}}, nil
}

func (s *story) email(ctx context.Context) (seen, error) {
	mail, err := s.await(ctx, func(g sighting) bool { return g.where == atMail && g.who == ann })
	if err != nil {
		return seen{}, err
	}
	return seen{took: mail.at.Sub(s.silent), since: "that", notes: []note{{atMail, fmt.Sprintf("to Ann: %q", mail.text)}}}, nil
}

// crash waits until what has been sent is on record, so that the kill falls
// between two steps: what must not be done twice has been done.
func (s *story) crash(ctx context.Context) (seen, error) {
	err := s.until(ctx, "every delivery of Ann's to be on record as accepted", func() bool {
		v := s.watch.view(s.incident)
		return len(v.deliveries) >= 3 && !slices.ContainsFunc(v.deliveries, func(d *tocsinv1.Delivery) bool { return d.GetAcceptTime() == nil })
	})
	if err != nil {
		return seen{}, err
	}
	s.before = s.watch.view(s.incident)
	if at := s.before.incident.GetEscalation().GetNextEscalationTime(); at == nil {
		return seen{}, errors.New("the server does not say when it would escalate")
	} else { //nolint:revive // the early return reads best first
		s.due = at.AsTime()
	}
	if s.redis, err = redisPID(ctx, s.dir); err != nil {
		return seen{}, err
	}
	began := time.Now()
	s.killed = s.journal.mark()
	s.kill()
	took := time.Since(began)
	still, err := redisPID(ctx, s.dir)
	if err != nil || still != s.redis {
		return seen{}, fmt.Errorf("redis did not survive: it was pid %s, now %q: %w", s.redis, still, err)
	}
	return seen{took: took, since: "SIGKILL", notes: []note{
		{atServer, fmt.Sprintf("gone, %s before the escalation was due", seconds(s.due.Sub(began)))},
		{atServer, "Redis, pid " + s.redis + ", runs on by itself"},
	}}, nil
}

func (s *story) recover(ctx context.Context) (seen, error) {
	began := time.Now()
	if err := s.revive(ctx); err != nil {
		return seen{}, err
	}
	took := time.Since(began)
	if pid, err := redisPID(ctx, s.dir); err != nil || pid != s.redis {
		return seen{}, fmt.Errorf("the Redis that survived was not taken over: it was pid %s, now %q: %w", s.redis, pid, err)
	}
	after, err := readAll(ctx, s.incidents, s.incident)
	if err != nil {
		return seen{}, err
	}
	if err := s.before.survivedIn(after); err != nil {
		return seen{}, err
	}
	return seen{took: took, since: "its start", notes: []note{
		{atServer, fmt.Sprintf("serves again, pid %d, on the same Redis", s.server.process.pid())},
		{atTimeline, fmt.Sprintf("all %d entries and %d deliveries are there", len(s.before.entries), len(s.before.deliveries))},
	}}, nil
}

func (s *story) escalate(ctx context.Context) (seen, error) {
	page, err := s.await(ctx, pushOf(bo, "page"))
	if err != nil {
		return seen{}, err
	}
	s.paged = *page.push
	request, err := s.await(ctx, func(g sighting) bool { return g.where == atFCM })
	if err != nil {
		return seen{}, err
	}
	escalated, err := s.await(ctx, entryOf(s.incident, tocsinv1.TimelineEntry_TYPE_ESCALATED))
	if err != nil {
		return seen{}, err
	}
	if !s.paged.Audible() {
		return seen{}, fmt.Errorf("it made no sound: %s", page.text)
	}
	if again := s.journal.find(s.killed, pushOf(ann, "page")); len(again) > 0 {
		return seen{}, fmt.Errorf("the restart paged Ann again: %s", again[0].text)
	}
	if n := len(s.journal.find(0, pushOf(bo, "page"))); n != 1 {
		return seen{}, fmt.Errorf("it rang %d times", n)
	}
	return seen{took: page.at.Sub(s.due), since: "when it was due", notes: []note{
		{atTimeline, escalated.text}, {atFCM, request.text}, {atPhone, page.text},
	}}, nil
}

func (s *story) receipt(ctx context.Context) (seen, error) {
	var d *tocsinv1.Delivery
	err := s.until(ctx, "the receipt of Bo's phone to be on record", func() bool {
		d = s.watch.view(s.incident).delivery(s.paged.DeliveryID)
		return d.GetDisplayTime() != nil
	})
	if err != nil {
		return seen{}, fmt.Errorf("%w; it is %s", err, deliveryWay(d))
	}
	if d.GetAudible() != tocsinv1.Delivery_AUDIBLE_YES {
		return seen{}, fmt.Errorf("whether it was heard is %s", d.GetAudible())
	}
	return seen{took: d.GetDisplayTime().AsTime().Sub(d.GetAcceptTime().AsTime()), since: "FCM took it", notes: []note{
		{atTimeline, "delivery to Bo's Android: " + deliveryWay(d)},
	}}, nil
}

func (s *story) acknowledge(ctx context.Context) (seen, error) {
	began := time.Now()
	answer, err := s.bo.act(ctx, pushtest.Acknowledge)
	if err != nil {
		return seen{}, err
	}
	s.acked, s.ackMark = time.Now(), s.journal.mark()
	if answer.Outcome != tocsinv1.ActResponse_OUTCOME_DONE.String() || !answer.HolderIsCaller || answer.State != tocsinv1.Incident_STATE_ACKNOWLEDGED.String() {
		return seen{}, fmt.Errorf("the answer was %+v", answer)
	}
	entry, err := s.await(ctx, entryOf(s.incident, tocsinv1.TimelineEntry_TYPE_ACKNOWLEDGED))
	if err != nil {
		return seen{}, err
	}
	return seen{took: s.acked.Sub(began), since: "the tap", notes: []note{
		{atPhone, fmt.Sprintf("Bo's Android: #%d is %s's", answer.Number, answer.Holder)}, {atTimeline, entry.text},
	}}, nil
}

func (s *story) replaced(ctx context.Context) (seen, error) {
	return s.cards(ctx, 0, s.acked, "the answer", func(n pushtest.Notification) bool { return strings.Contains(n.Title, "by Bo") })
}

func (s *story) closing(ctx context.Context) (seen, error) {
	return s.cards(ctx, s.ackMark, s.bell, "the alert's end", func(n pushtest.Notification) bool { return strings.Contains(n.Title, "resolved") })
}

// cards waits until both phones show a silent card that says so, and no page.
func (s *story) cards(ctx context.Context, mark int, since time.Time, name string, says func(pushtest.Notification) bool) (seen, error) {
	result := seen{since: name}
	for _, p := range []*phone{s.ann, s.bo} {
		card, err := s.journal.await(ctx, mark, func(g sighting) bool { return pushOf(p.owner, "clear")(g) && says(*g.push) })
		if err != nil {
			return seen{}, fmt.Errorf("on %s: %w", p.name, err)
		}
		if page, ok := p.card(); ok {
			return seen{}, fmt.Errorf("%s still shows %s", p.name, describePush(page))
		}
		if card.push.Audible() || !card.push.Visible {
			return seen{}, fmt.Errorf("%s got it as %s", p.name, card.text)
		}
		result.took = max(result.took, card.at.Sub(since))
		result.notes = append(result.notes, note{atPhone, p.name + ": " + card.text})
	}
	return result, nil
}

func (s *story) quiet(ctx context.Context) (seen, error) {
	from := s.journal.mark()
	rest(ctx, s.pace.Quiet)
	loud := s.journal.find(from, func(g sighting) bool { return g.where == atAPNs || g.where == atFCM || g.where == atMail })
	loud = append(loud, s.journal.find(s.ackMark, func(g sighting) bool { return g.push != nil && g.push.Kind == "page" })...)
	if len(loud) > 0 {
		return seen{}, fmt.Errorf("%s got %s", loud[0].where, loud[0].text)
	}
	return seen{took: s.pace.Quiet, since: "the last card", notes: []note{
		{atAPNs, "no request"}, {atFCM, "no request"}, {atMail, "no message"},
	}}, nil
}

func (s *story) resolve(ctx context.Context) (seen, error) {
	var err error
	if s.bell, err = s.mend(ctx); err != nil {
		return seen{}, err
	}
	entry, err := s.await(ctx, entryOf(s.incident, tocsinv1.TimelineEntry_TYPE_RESOLVED))
	if err != nil {
		return seen{}, err
	}
	if err := s.until(ctx, "the incident to be resolved", func() bool {
		return s.watch.view(s.incident).incident.GetState() == tocsinv1.Incident_STATE_RESOLVED
	}); err != nil {
		return seen{}, err
	}
	return seen{took: entry.at.Sub(s.bell), since: "the alert's end", notes: []note{{atTimeline, entry.text}}}, nil
}

func (s *story) end(context.Context) (seen, error) {
	began := time.Now()
	s.closed = true
	if err := s.close(); err != nil {
		return seen{}, err
	}
	if left := redisSockets(s.dir); len(left) > 0 {
		return seen{}, fmt.Errorf("%s is still there", left[0])
	}
	return seen{took: time.Since(began), since: "SIGTERM", notes: []note{{atServer, "drained and stopped, with its Redis and Alertmanager"}}}, nil
}

// await waits for something from the beginning of the story on.
func (s *story) await(ctx context.Context, match func(sighting) bool) (sighting, error) {
	return s.journal.await(ctx, 0, match)
}

// until asks again and again, of what the watch knows.
func (s *story) until(ctx context.Context, what string, ok func() bool) error {
	for !ok() {
		if ctx.Err() != nil {
			return fmt.Errorf("waited for %s: %w", what, context.Cause(ctx))
		}
		rest(ctx, 20*time.Millisecond)
	}
	return nil
}

// entryOf matches a timeline entry; "" is any incident.
func entryOf(incident string, t tocsinv1.TimelineEntry_Type) func(sighting) bool {
	return func(g sighting) bool {
		return g.entry.GetType() == t && (incident == "" || g.incident == incident)
	}
}

// pushOf matches what arrives on somebody's phone.
func pushOf(who person, kind string) func(sighting) bool {
	return func(g sighting) bool { return g.push != nil && g.who == who && g.push.Kind == kind }
}
