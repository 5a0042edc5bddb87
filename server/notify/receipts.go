package notify

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Receipt is what a phone says about one delivery.
type Receipt struct {
	Delivery string
	State    incident.DeliveryState // received, displayed, opened or suppressed
	DeviceAt time.Time              // the phone's clock: never used for order
	// Silent: the phone showed it without sound, as its channel, its switch or
	// its focus made it.
	Silent bool
	// Lowered: it arrived with a lower priority than it was sent with: the phone
	// holds pages of the app back.
	Lowered bool
	// Reason is what kept it from being shown; of any other state, what kept it
	// from being shown whole: "decrypt", "locked".
	Reason string
}

// ReceiptStatus is what became of one receipt.
type ReceiptStatus uint8

// The statuses.
const (
	ReceiptRecorded ReceiptStatus = iota + 1 // by this call or an earlier one
	ReceiptUnknown                           // no such delivery
	ReceiptIgnored                           // older than seven days
	ReceiptDenied                            // another device's delivery, or a key that is not for it
	ReceiptInvalid                           // not a state that a phone may report
)

// receiptSkew is by how much the clock that dates work, the store's, may lag
// behind the one of decisions.
const receiptSkew = 2 * time.Second

// MaxReceipts is how many receipts one call may bring.
const MaxReceipts = 100

// Report takes in what a phone says about deliveries. The caller is the phone
// by its credential; or anybody with the receipt key of the one delivery. Each
// receipt is judged on its own, and repeating it is safe.
func (n *Notifier) Report(ctx context.Context, caller auth.Principal, key string, receipts []Receipt) ([]ReceiptStatus, error) {
	if len(receipts) > MaxReceipts {
		return nil, fault.InvalidField("receipts", "at most %d in one call, there are %d", MaxReceipts, len(receipts))
	}
	statuses := make([]ReceiptStatus, len(receipts))
	for i, r := range receipts {
		status, err := n.report(ctx, caller, key, r)
		if err != nil {
			return nil, fmt.Errorf("take the receipt of delivery %s: %w", r.Delivery, err)
		}
		if status != ReceiptRecorded {
			n.metrics.refused.WithLabelValues(refusalName(status)).Inc()
		}
		statuses[i] = status
	}
	return statuses, nil
}

func (n *Notifier) report(ctx context.Context, caller auth.Principal, key string, r Receipt) (ReceiptStatus, error) {
	switch r.State {
	case incident.DeliveryReceived, incident.DeliveryDisplayed, incident.DeliveryOpened, incident.DeliverySuppressed:
	default:
		return ReceiptInvalid, nil // acted is the server's to say
	}
	doc, dv, ok, err := n.o.Ledger.Delivery(ctx, r.Delivery)
	if err != nil {
		return 0, err
	}
	if !ok {
		return n.answered(ctx, caller, r)
	}
	if !n.mayReport(caller, key, dv) {
		n.log.WarnContext(ctx, "receipt denied", slog.String("delivery", r.Delivery), slog.String("caller", caller.String()))
		return ReceiptDenied, nil
	}
	now := n.now()
	done, err := n.o.Ledger.Receipt(ctx, store.Receipt{
		Delivery: r.Delivery, Device: dv.Device, State: r.State, At: now,
		// A card that was sent to be silent is not mute for being so.
		Silent: r.Silent && dv.Audible, Reason: clip(Scrub(r.Reason)),
	})
	isNew := done.Verdict == store.ReceiptApplied
	if err != nil || !isNew && done.Verdict != store.ReceiptKnown {
		return receiptStatus(done.Verdict), err
	}
	if isNew {
		n.heard(dv, r.State, now)
		n.lives(ctx, done.Delivery, r, now)
		if err := n.others(ctx, dv, r, now); err != nil {
			return 0, err
		}
	}
	// An iPhone says at once that it has the page, and in a second receipt of that state that it cannot open it.
	if r.Reason == unopened {
		if err := n.couldNotOpen(ctx, doc, dv); err != nil { // the receipt counts all the same
			n.log.WarnContext(ctx, "page not sent again in its minimal form", slog.String("delivery", dv.ID), slog.Any("error", err))
		}
	}
	if isNew && r.State == incident.DeliverySuppressed && incident.Hides(r.Reason) { // otherwise what is newer is on the screen
		return ReceiptRecorded, n.suppressed(ctx, doc, dv, r.Reason)
	}
	return ReceiptRecorded, nil
}

func (n *Notifier) apply(ctx context.Context, r store.Receipt) error {
	_, err := n.o.Ledger.Receipt(ctx, r)
	return err
}

func receiptStatus(v store.ReceiptVerdict) ReceiptStatus {
	switch v {
	case store.ReceiptApplied, store.ReceiptKnown:
		return ReceiptRecorded
	case store.ReceiptUnknown:
		return ReceiptUnknown
	case store.ReceiptDenied:
		return ReceiptDenied
	case store.ReceiptLate:
		return ReceiptIgnored
	}
	return ReceiptInvalid
}

func refusalName(s ReceiptStatus) string {
	names := [...]string{"", "recorded", "unknown", "ignored", "denied", "invalid"}
	return names[s]
}

// mayReport reports whether the caller is the delivery's device, or holds the
// key that was in the page. A device that was revoked since may not.
func (n *Notifier) mayReport(caller auth.Principal, key string, dv incident.Delivery) bool {
	if dv.Device == "" {
		return false
	}
	if key == "" {
		return caller.Kind == auth.KindDevice && caller.Device == dv.Device
	}
	phone, ok := n.o.Directory.Phone(dv.Device)
	if !ok || phone.State == roster.DeviceRevoked {
		return false
	}
	b := auth.Binding{Delivery: dv.ID, User: dv.User, Device: dv.Device, Epoch: phone.Epoch}
	return n.o.Signer.VerifyReceipt(key, b, n.now()) == nil
}

// heard observes how long the phone took.
func (n *Notifier) heard(dv incident.Delivery, state incident.DeliveryState, now time.Time) {
	var platform roster.Platform
	if p, ok := n.o.Directory.Phone(dv.Device); ok {
		platform = p.Platform
	}
	n.metrics.reached(dv.Kind, platform, state)
	first := dv.Received.IsZero() && dv.Displayed.IsZero() && dv.Opened.IsZero()
	if from := dv.Accepted; first && !from.IsZero() && state != incident.DeliverySuppressed {
		n.metrics.receipts.WithLabelValues(providerOf(platform)).Observe(max(now.Sub(from), 0).Seconds())
	}
}

// others applies the receipt of a storm card to every incident that the card
// showed: the phone that has the card has them all.
func (n *Notifier) others(ctx context.Context, dv incident.Delivery, r Receipt, now time.Time) error {
	if !strings.Contains(dv.Work, "#") {
		return nil
	}
	p, err := n.o.Ledger.Person(ctx, dv.User)
	if err != nil {
		return err
	}
	number, ok := p.UpdateNumber(dv.Work)
	if !ok {
		return nil // a storm that has passed
	}
	for _, item := range p.CardItems(number) {
		id, err := store.DeliveryID(store.IncidentDoc(item.Incident), p.CardID(item.Card), string(dv.Device))
		if err != nil || id == dv.ID {
			continue
		}
		err = n.apply(ctx, store.Receipt{
			Delivery: id, Device: dv.Device, State: r.State, At: now, Silent: r.Silent && dv.Audible, Reason: clip(Scrub(r.Reason)),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// suppressed takes in that a phone will not show the page. When it was the last
// device that might, the next way of reaching the person runs now.
func (n *Notifier) suppressed(ctx context.Context, doc store.Doc, dv incident.Delivery, why string) error {
	if doc.Incident == "" || !dv.Page {
		return nil
	}
	all, err := n.o.Ledger.Deliveries(ctx, doc)
	if err != nil {
		return err
	}
	left := slices.ContainsFunc(all, func(d incident.Delivery) bool {
		return d.Work == dv.Work && d.User == dv.User && !d.State.Refused()
	})
	if left {
		return nil
	}
	in, err := n.o.Ledger.Incident(ctx, doc.Incident)
	if err != nil {
		return err
	}
	// A page from before the present assignment says nothing about its ways.
	if a := in.Asked(dv.User); needs(in, dv.User) && !dv.Queued.Before(a.Since.Add(-receiptSkew)) {
		n.metrics.fallback(causeRejected)
		n.undelivered(ctx, in.ID, incident.Undelivered{
			User: dv.User, Method: dv.Method, Generation: in.Generation, Reason: "every device says that it does not show pages: " + clip(Scrub(why)),
		})
	}
	return nil
}

// Acted records that somebody acted from the card of a delivery. The caller has
// proven who he is and carried out the action.
func (n *Notifier) Acted(ctx context.Context, delivery string) error {
	err := n.apply(ctx, store.Receipt{Delivery: delivery, State: incident.DeliveryActed, At: n.now()})
	if err != nil {
		return fmt.Errorf("record the action on delivery %s: %w", delivery, err)
	}
	return nil
}
