package notify

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/seal"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// envelope is one message to one person before it is addressed: everything
// that is the same for all devices.
type envelope struct {
	work    string // names the deliveries over all tries
	user    roster.User
	method  roster.Method
	urgency incident.Urgency
	page    bool // counts as a page: its receipt is waited for

	doc        store.Doc // whose records the deliveries are
	generation uint32
	unguarded  bool         // goes out whatever has happened to the document
	with       []store.Send // further incidents that this message is the first to show; IDs are filled in
	// still asks, after the last look, whether the person is still asked, where
	// the generation does not tell; nil: it does.
	still func(ctx context.Context) error
	// alive reports whether this process still sees to the message; nil: always.
	alive func() error

	// What a phone shows.
	kind     push.Kind
	incident *incident.Incident // nil: about none in particular
	words    words
	privacy  roster.Privacy // of the words
	sealed   *seal.Text     // for phones that can open it; nil: the words are all there is
	sound    push.Sound
	level    push.Level
	collapse string
	open     int  // pages that the message stands for, itself included
	badge    *int // pages of the person that are open now; nil: not known
	details  map[string]string
	pagedAt  time.Time
	again    bool             // the phones have had a page of it before
	shadow   schedule.Mode    // the person only follows whoever is paged; 0: he is asked himself
	only     func(Phone) bool // nil: every device of the method

	// What a channel carries.
	letter string // "page", "summary", "digest", "notice"
	lines  []string
	refs   []Ref
	reason string

	at, deadline time.Time

	// accepted is told, at most once, as soon as one way has taken the message;
	// failed, at most once, as soon as every way has failed for good or is down;
	// ended, when every way has come to its end. Each may be nil.
	accepted func(ctx context.Context)
	failed   func(ctx context.Context, f failure)
	ended    func(ctx context.Context, r result)
}

// result is how a message ended over all ways.
type result struct {
	accepted  int
	failed    int
	notNeeded int  // refused by the last look
	stopped   bool // this process ends: somebody else has to go on
}

// dispatch is an envelope on its way.
type dispatch struct {
	n *Notifier
	e envelope

	mu      sync.Mutex
	open    int // legs that have not ended
	legs    int
	gone    map[*leg]bool // legs that failed for good (true), or whose provider is down (false)
	told    bool          // that it has failed
	cause   fallbackCause // of the failures so far; a provider that is down outweighs what was refused
	taken   bool
	reason  string
	outcome result
}

// leg is one way of one message: a device, or an address.
type leg struct {
	d        *dispatch
	delivery incident.Delivery
	nonce    string // of its attempts
	phone    Phone
	sends    []store.Send           // the records that begin with the first attempt
	begun    bool                   // we have begun it
	already  bool                   // it had come to its end before
	was      incident.DeliveryState // and this one: whoever saw to a failure may have died before telling
	lost     bool                   // somebody else sees to it now
}

// send brings the message to its end by every way there is. It returns when
// all of them are under way.
func (n *Notifier) send(ctx context.Context, e envelope) {
	d := &dispatch{n: n, e: e, gone: map[*leg]bool{}}
	var legs []*leg
	if e.method.Kind == roster.Push {
		legs = d.phones()
	} else if _, ok := n.o.Channels[e.method.Kind]; ok && e.method.Address != "" {
		legs = d.address()
	}
	d.open, d.legs = len(legs), len(legs)
	if len(legs) == 0 {
		d.nowhere(ctx)
		return
	}
	for _, l := range legs {
		if e.method.Kind == roster.Push {
			n.push(l) //nolint:contextcheck // it outlives the call
		} else {
			n.running.Go(func() { n.carry(n.context(), l) }) //nolint:contextcheck // it outlives the call
		}
	}
}

// nowhere ends a message that has no way to go.
func (d *dispatch) nowhere(ctx context.Context) {
	d.outcome.failed = 1
	d.tell(ctx, failure{reason: noWay(d.e.method), cause: causeNoDevice})
	if d.e.ended != nil {
		d.e.ended(ctx, d.outcome)
	}
}

// tell reports that no way is left.
func (d *dispatch) tell(ctx context.Context, f failure) {
	if d.e.page && isPush(d.e.method) && f.cause != "" {
		d.n.metrics.fallback(f.cause)
	}
	if d.e.failed != nil {
		d.e.failed(ctx, f)
	}
}

func noWay(m roster.Method) string {
	if m.Kind == roster.Push {
		return "there is no device that can be paged"
	}
	return "the method is not configured"
}

// phones returns a leg for every device that is to get the message.
func (d *dispatch) phones() []*leg {
	e := &d.e
	var legs []*leg
	for _, p := range d.n.o.Directory.Phones(e.user.ID) {
		if !p.Pageable() || (e.method.Device != "" && e.method.Device != p.ID) || (e.only != nil && !e.only(p)) {
			continue
		}
		l, err := d.leg(string(p.ID))
		if err != nil {
			d.n.log.Error("delivery not named", slog.String("document", e.doc.String()), slog.Any("error", err))
			continue
		}
		l.phone = p
		l.delivery.Device, l.delivery.Native, l.delivery.Epoch = p.ID, p.Native(), p.Epoch
		l.delivery.Audible = e.sound != push.SoundNone
		legs = append(legs, l)
	}
	return legs
}

// address returns the one leg of a method that is no push.
func (d *dispatch) address() []*leg {
	l, err := d.leg(addressWay(d.e.user.ID, d.e.method.ID))
	if err != nil {
		d.n.log.Error("delivery not named", slog.String("document", d.e.doc.String()), slog.Any("error", err))
		return nil
	}
	l.delivery.Audible = d.e.letter == "page"
	return []*leg{l}
}

func (d *dispatch) leg(way string) (*leg, error) {
	e := &d.e
	id, err := store.DeliveryID(e.doc, e.work, way)
	if err != nil {
		return nil, err
	}
	return &leg{d: d, nonce: store.NewNonce(), delivery: incident.Delivery{
		ID: id, Work: e.work, User: e.user.ID, Method: e.method.ID, Kind: e.method.Kind, Page: e.page,
		Urgency: e.urgency, Deadline: e.deadline, Queued: e.at,
	}}, nil
}

// begin is the last look before an attempt: it records the attempt, or says
// that nobody needs the message any more. A storm card begins the records of
// all the incidents that it shows first.
func (l *leg) begin(ctx context.Context, number int) error {
	e, now := &l.d.e, l.d.n.now()
	if e.alive != nil && e.alive() != nil {
		l.lost = true
		return push.ErrNotNeeded
	}
	dv := l.delivery
	dv.State, dv.Attempted, dv.Attempts = incident.DeliveryAttempted, now, number
	lead := store.Send{Doc: e.doc, Generation: e.generation, Unguarded: e.unguarded, Delivery: dv, Nonce: l.nonce}
	begun, err := l.d.n.lastLook(ctx, lead)
	if err != nil {
		return err
	}
	switch begun {
	case store.BegunGo:
	case store.BegunStale:
		return push.ErrNotNeeded
	case store.BegunInFlight:
		return errInFlight
	case store.BegunEnded:
		_, was, found, err := l.d.n.o.Ledger.Delivery(ctx, dv.ID)
		if err != nil {
			return err
		}
		if l.already = true; found {
			l.was, l.delivery.Reason = was.State, was.Reason
		}
		return push.ErrNotNeeded
	}
	if e.still != nil {
		if err := e.still(ctx); err != nil {
			l.begun = true // recorded as ours
			return err
		}
	}
	if !l.begun && len(e.with) > 0 {
		l.beginWith(ctx, dv, now)
	}
	l.begun = true
	l.delivery.Attempted, l.delivery.Attempts = now, number
	return nil
}

// beginWith records that the message stands for further incidents too. One
// that has moved on meanwhile gets no record; the card that shows it is a
// moment old.
func (l *leg) beginWith(ctx context.Context, dv incident.Delivery, now time.Time) {
	sends := slices.Clone(l.d.e.with)
	for i := range sends {
		id, err := store.DeliveryID(sends[i].Doc, l.d.e.work, l.way())
		if err != nil {
			l.d.n.log.ErrorContext(ctx, "delivery not named", slog.String("document", sends[i].Doc.String()), slog.Any("error", err))
			return
		}
		sends[i].Delivery = dv
		sends[i].Delivery.ID, sends[i].Nonce = id, l.nonce
	}
	begun, errs := l.d.n.o.Ledger.BeginSend(ctx, now, sends)
	if err := errors.Join(errs...); err != nil {
		l.d.n.log.WarnContext(ctx, "not every delivery of a card recorded", slog.Int("count", len(sends)), slog.Any("error", err))
	}
	for i, b := range begun {
		if b == store.BegunGo {
			l.sends = append(l.sends, sends[i])
		}
	}
}

func (l *leg) way() string {
	if l.delivery.Device != "" {
		return string(l.delivery.Device)
	}
	return addressWay(l.delivery.User, l.delivery.Method)
}

// addressWay names an address among the ways of a message; ids of methods are
// a person's own.
func addressWay(u roster.UserID, m roster.MethodID) string { return string(u) + "/" + string(m) }

// down notes that the provider is out: another way has to be found now, while
// this one is still tried.
func (l *leg) down(ctx context.Context, reason string) {
	l.d.fail(ctx, l, reason, false, causeBreaker)
}

// failure is that no way of a message is left.
type failure struct {
	reason  string
	passing bool // a provider is down, and may be back
	cause   fallbackCause
}

// fail notes that a leg has failed, for now or for good. With the last of them
// the message has no way left.
func (d *dispatch) fail(ctx context.Context, l *leg, reason string, forGood bool, cause fallbackCause) {
	d.mu.Lock()
	if cause == causeBreaker || (cause != "" && d.cause == "") {
		d.cause = cause
	}
	if was, known := d.gone[l]; !known || was {
		d.gone[l] = forGood // once it may be back, its end says nothing else
	}
	if d.reason == "" || reason != "" {
		d.reason = reason
	}
	tell := !d.told && len(d.gone) == d.legs
	d.told = d.told || tell
	f := failure{reason: d.reason, cause: d.cause, passing: slices.Contains(slices.Collect(maps.Values(d.gone)), false)}
	d.mu.Unlock()
	if tell {
		d.tell(ctx, f)
	}
}

// end records how a leg ended, and with the last one ends the message.
func (l *leg) end(ctx context.Context, state incident.DeliveryState, reason, provider string) {
	d, n := l.d, l.d.n
	if l.lost {
		state = 0
	}
	if state != 0 && !l.already {
		l.record(ctx, state, reason, provider)
	}
	if l.was.Refused() || l.was == incident.DeliveryExpired {
		state, reason = l.was, l.delivery.Reason
	}
	failed := state.Refused() || state == incident.DeliveryExpired
	if failed {
		cause := causeRejected
		if state == incident.DeliveryExpired { // too late for any way, not a reason for another
			cause = ""
		}
		d.fail(ctx, l, reason, state.Refused(), cause)
	}
	d.mu.Lock()
	switch {
	case failed:
		d.outcome.failed++
	case state == incident.DeliveryAccepted || l.already:
		d.outcome.accepted++
	case state == incident.DeliveryWithdrawn:
		d.outcome.notNeeded++
	default:
		d.outcome.stopped = true
	}
	d.open--
	last, outcome := d.open == 0, d.outcome
	taken := d.outcome.accepted == 1 && !d.taken
	d.taken = d.taken || taken
	d.mu.Unlock()
	if taken && d.e.accepted != nil {
		d.e.accepted(ctx)
	}
	if last && d.e.ended != nil {
		d.e.ended(ctx, outcome)
	}
	if state != 0 {
		n.metrics.reached(l.delivery.Kind, l.phone.Platform, state)
	}
}

// record writes what became of the leg, for every incident it stands for.
func (l *leg) record(ctx context.Context, state incident.DeliveryState, reason, provider string) {
	n, now := l.d.n, l.d.n.now()
	dv := l.delivery
	dv.State, dv.Reason, dv.Provider = state, reason, provider
	if state == incident.DeliveryAccepted {
		dv.Accepted = now
		n.metrics.accepted(dv.Kind, now.Sub(l.d.e.at))
		n.expect(l, now)
	} else {
		dv.Ended = now
	}
	write := func(doc store.Doc, dv incident.Delivery) {
		record := func() error { return n.o.Ledger.RecordDelivery(ctx, doc, dv) }
		if l.begun {
			record = func() error { return n.recordEnd(ctx, store.Send{Doc: doc, Delivery: dv}) }
		}
		if err := record(); err != nil && ctx.Err() == nil {
			// The state is lost, not the page: what is not recorded is sent again.
			n.log.WarnContext(ctx, "delivery not recorded", slog.String("delivery", dv.ID), slog.Any("error", err))
		}
	}
	write(l.d.e.doc, dv)
	for _, s := range l.sends {
		dv.ID = s.Delivery.ID
		write(s.Doc, dv)
	}
}
