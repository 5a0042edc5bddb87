package notify

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// errInFlight says that somebody else is sending this very delivery, or died
// doing so a moment ago: it is asked again until it is clear.
var errInFlight = errors.New("notify: the delivery is being sent by somebody else")

// errTooLate says that the deadline passed while others were being sent.
var errTooLate = errors.New("too late")

// receiptPath is where a phone reports receipts; it knows the server.
const receiptPath = "/v1/push/receipts"

// push hands a leg to the sender of pushes, which owns retries and breakers.
func (n *Notifier) push(l *leg) {
	e, ctx := &l.d.e, n.context()
	n.running.Add(1) // until the sender says how it ended
	n.o.Push.Submit(push.Delivery{
		Message: n.message(l), Device: l.phone.Push, Begin: l.begin,
		// A page stays with a provider that is out: it may be back before the
		// deadline. The person is reached another way meanwhile. So does the card
		// that makes a phone quiet: nothing else would take the page off it.
		Persist: e.page || e.kind == push.KindClear,
		Progress: func(p push.Progress) {
			if p.Down {
				n.running.Go(func() { l.down(ctx, "the push service is out") })
			}
		},
	}, func(r push.Result) {
		n.running.Go(func() {
			defer n.running.Done()
			n.pushed(ctx, l, r)
		})
	})
}

// message is what the phone of the leg shows.
func (n *Notifier) message(l *leg) push.Message {
	e := &l.d.e
	m := push.Message{
		Kind: e.kind, DeliveryID: l.delivery.ID, Title: e.words.Title, Subtitle: e.words.Subtitle, Body: e.words.Body,
		Redacted: e.words.Redacted, Badge: e.badge, Details: e.details, OpenPages: e.open, CollapseID: e.collapse,
		Sound: e.sound, Level: e.level, At: e.at, Deadline: e.deadline, PagedAt: e.pagedAt, Again: e.again,
		HighUrgency: e.urgency == incident.High && e.page, Shadow: shadowName(e.shadow),
	}
	if in := e.incident; in != nil {
		m.IncidentID, m.IncidentNumber, m.Revision = string(in.ID), in.Number, int64(in.Revision) //nolint:gosec // counts commits
		m.ThreadID = thread(in.Service, e.privacy)
		if e.privacy == roster.PrivacyFull || e.privacy == roster.PrivacyTitle {
			m.Severity = in.Severity.String()
		}
	}
	if e.kind.Loud() {
		m.ReceiptPath, m.ReceiptKey = receiptPath, n.receiptKey(l)
		// The action token goes only where nobody but the phone reads it, or where
		// the phone has nothing else to act by.
		if !l.phone.Native() || !l.phone.Credential {
			m.ActionToken = n.actionToken(l)
		}
		n.seal(l, &m)
	}
	return m
}

// receiptKey is what the phone proves itself with before its first unlock.
func (n *Notifier) receiptKey(l *leg) string {
	key, err := n.o.Signer.ReceiptKey(l.binding(), l.d.e.at)
	if err != nil {
		n.log.Error("page without a receipt key", slog.String("delivery", l.delivery.ID), slog.Any("error", err))
	}
	return key
}

// actionToken acknowledges the one incident that the page is about; a page of
// several has none.
func (n *Notifier) actionToken(l *leg) string {
	e, b := &l.d.e, l.binding()
	if e.kind != push.KindPage || e.incident == nil || len(e.with) > 0 || e.shadow == schedule.Observe {
		return ""
	}
	b.Incident = e.incident.ID
	token, err := n.o.Signer.Action(b, e.at, e.deadline)
	if err != nil {
		n.log.Error("page without an action token", slog.String("delivery", l.delivery.ID), slog.Any("error", err))
	}
	return token
}

func (l *leg) binding() auth.Binding {
	return auth.Binding{Delivery: l.delivery.ID, User: l.d.e.user.ID, Device: l.phone.ID, Epoch: l.phone.Epoch}
}

// pushed takes in how a push ended.
func (n *Notifier) pushed(ctx context.Context, l *leg, r push.Result) {
	if r.Address != push.AddressKeep { // before the end, which may ask for the next way
		n.fate(ctx, l.phone, r)
	}
	for _, t := range r.Tries {
		if t.Class != push.Accepted {
			l.delivery.Tries = l.delivery.Tries.With(t.At, tried(t))
		}
	}
	why := clip(r.Outcome.Reason)
	switch r.End {
	case push.EndAccepted:
		l.end(ctx, incident.DeliveryAccepted, why, r.Outcome.ProviderID)
		if r.Address == push.AddressKeep && unconfirmed(l.phone) {
			n.fate(ctx, l.phone, r)
		}
	case push.EndRejected:
		l.end(ctx, incident.DeliveryRejected, orElse(why, "the push service refused it"), "")
	case push.EndProviderDown:
		l.down(ctx, orElse(why, "the push service is out"))
		l.end(ctx, incident.DeliveryRejected, orElse(why, "the push service is out"), "")
	case push.EndExpired:
		l.end(ctx, incident.DeliveryExpired, orElse(why, "too late"), "")
	case push.EndSuperseded:
		l.end(ctx, incident.DeliveryWithdrawn, "a newer card took its place", "")
	case push.EndNotNeeded:
		l.end(ctx, incident.DeliveryWithdrawn, "not needed any more", "")
	case push.EndStopped:
		l.end(ctx, 0, "", "")
	}
}

// unconfirmed reports whether nothing was ever accepted for the phone's address,
// so that it is not known for sure which of Apple's two worlds it belongs to.
func unconfirmed(p Phone) bool { return p.Platform == roster.IOS && !p.Push.EnvironmentConfirmed }

// fate has the directory know what the push service thinks of a phone's address.
func (n *Notifier) fate(ctx context.Context, p Phone, r push.Result) {
	f := Fate{
		Device: p.ID, Token: p.Push.Token, Address: r.Address, Environment: r.Environment, Accepted: r.End == push.EndAccepted,
		Reason: r.Outcome.Reason, At: n.now(),
	}
	if err := n.o.Directory.Fate(ctx, f); err != nil {
		n.log.WarnContext(ctx, "fate of a device not recorded", slog.String("device", string(p.ID)), slog.Any("error", err))
	}
}

// tried is the push service's word about an attempt that failed.
func tried(t push.Try) string {
	why := clip(t.Reason)
	if why == "" {
		why = t.Class.String()
	}
	if t.Status != 0 {
		why = strconv.Itoa(t.Status) + " " + why
	}
	return why
}

// carry brings a leg to its end over a channel, with our own tries.
func (n *Notifier) carry(ctx context.Context, l *leg) {
	e := &l.d.e
	for number := 1; ; number++ {
		if !n.now().Before(e.deadline) {
			l.end(ctx, incident.DeliveryExpired, orElse(l.delivery.Reason, "too late"), "")
			return
		}
		answer, err := n.attempt(ctx, l, number)
		refused, final := errors.AsType[*RefusedError](err)
		switch {
		case err == nil:
			l.end(ctx, incident.DeliveryAccepted, "", answer.ID)
			return
		case errors.Is(err, push.ErrNotNeeded):
			l.end(ctx, incident.DeliveryWithdrawn, "not needed any more", "")
			return
		case final:
			l.delivery.Tries = l.delivery.Tries.With(n.now(), reason(err))
			if refused.Address {
				n.bounced(ctx, l, refused.Reason)
			}
			l.end(ctx, incident.DeliveryRejected, reason(err), "")
			return
		case ctx.Err() != nil:
			l.end(ctx, 0, "", "")
			return
		}
		l.delivery.Reason = reason(err)
		if !errors.Is(err, errInFlight) {
			l.delivery.Tries = l.delivery.Tries.With(n.now(), reason(err))
		}
		pause := n.backoff(number)
		if errors.Is(err, errInFlight) || fault.KindOf(err) == fault.Unavailable {
			pause = time.Second
		}
		if !wait(ctx, pause) {
			l.end(ctx, 0, "", "")
			return
		}
	}
}

// attempt is one try over a channel, within the channel's own lane.
func (n *Notifier) attempt(ctx context.Context, l *leg, number int) (Answer, error) {
	kind := l.delivery.Kind
	select {
	case n.lanes[kind] <- struct{}{}:
		defer func() { <-n.lanes[kind] }()
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	if !n.now().Before(l.d.e.deadline) { // the lane was full for long
		return Answer{}, errTooLate
	}
	if err := l.begin(ctx, number); err != nil {
		return Answer{}, err
	}
	e := &l.d.e
	m := Message{
		ID: l.delivery.ID, To: e.method.Address, Secret: e.method.Secret, User: e.user, Kind: e.letter,
		Subject: e.words.Title, Lines: e.lines, Thread: e.collapse, Incidents: e.refs, Shadow: shadowName(e.shadow),
		Reason: e.reason, At: e.at, Deadline: e.deadline,
	}
	if e.words.Subtitle != "" {
		m.Subject += ": " + e.words.Subtitle
	}
	if e.incident != nil {
		m.Link = n.o.Link(e.incident.ID)
	}
	return n.o.Channels[kind].Send(ctx, m)
}

func (n *Notifier) bounced(ctx context.Context, l *leg, why string) {
	n.log.WarnContext(ctx, "an address does not take messages any more",
		slog.String("user", string(l.delivery.User)), slog.String("method", string(l.delivery.Method)), slog.String("attempts", strconv.Itoa(l.delivery.Attempts)))
	if err := n.o.Directory.Bounced(ctx, l.delivery.User, l.delivery.Method, clip(why)); err != nil {
		n.log.WarnContext(ctx, "bounce not recorded", slog.String("user", string(l.delivery.User)), slog.Any("error", err))
	}
}

// wait waits, and reports false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// isPush reports whether the method reaches phones.
func isPush(m roster.Method) bool { return m.Kind == roster.Push }
