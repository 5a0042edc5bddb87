package notify

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// beatLife is how long a heartbeat is tried.
const beatLife = 10 * time.Minute

// Heartbeat asks the app on a phone to say that it is alive, unless somebody
// else has asked since the word was read. Nothing is shown, and nothing follows
// from no answer. What the push service says of the address is taken in as of
// any push. It returns when it is known who asks.
func (n *Notifier) Heartbeat(ctx context.Context, device roster.DeviceID, seen roster.Word) (bool, error) {
	phone, ok := n.o.Directory.Phone(device)
	if !ok || !phone.Native() || !phone.Pageable() || phone.Push.Token == "" {
		return false, nil
	}
	now, id := n.now(), uuid.NewString()
	mine, err := n.o.Ledger.ClaimDevice(ctx, device, roster.WordAsked, seen.Asked, map[string]any{
		roster.WordAsked: now, roster.WordQuestion: id,
	})
	if err != nil || !mine {
		return false, err
	}
	n.running.Add(1) // until the sender says how it ended
	n.o.Push.Submit(push.Delivery{Device: phone.Push, Message: push.Message{
		Kind: push.KindHeartbeat, DeliveryID: id, ReceiptPath: receiptPath, CollapseID: "heartbeat", At: now, Deadline: now.Add(beatLife),
	}}, func(r push.Result) { //nolint:contextcheck // it outlives the call
		n.running.Go(func() {
			defer n.running.Done()
			if r.Address != push.AddressKeep || (r.End == push.EndAccepted && unconfirmed(phone)) {
				n.fate(n.context(), phone, r)
			}
		})
	})
	return true, nil
}

// answered takes in a receipt that is about no delivery: it may be the answer to
// a heartbeat, which leaves no record but the last word of its device.
func (n *Notifier) answered(ctx context.Context, caller auth.Principal, r Receipt) (ReceiptStatus, error) {
	if caller.Kind != auth.KindDevice {
		return ReceiptUnknown, nil
	}
	words, err := n.o.Ledger.Devices(ctx, caller.Device)
	if err != nil {
		return 0, err
	}
	if question := words[caller.Device].Question; question == "" || question != r.Delivery {
		return ReceiptUnknown, nil
	}
	err = n.o.Ledger.TouchDevice(ctx, caller.Device, map[string]any{roster.WordHeartbeat: n.now()})
	return ReceiptRecorded, err
}

// lives keeps what a receipt of a page or a test, dv since it came, says about its
// phone. When it cannot be written, the page is none the worse.
func (n *Notifier) lives(ctx context.Context, dv incident.Delivery, r Receipt, now time.Time) {
	set := map[string]any{}
	switch {
	case !dv.Page:
		return
	case r.State == incident.DeliverySuppressed && incident.Hides(r.Reason):
		set[roster.WordMuted], set[roster.WordMutedBy] = now, orElse(clip(Scrub(r.Reason)), "no reason given")
	case r.State == incident.DeliverySuppressed || dv.State == incident.DeliverySuppressed: // the app runs, which does not say that pages are shown
		set[roster.WordSeen] = now
	default:
		set[roster.WordReceipt] = now
	}
	if r.Lowered {
		set[roster.WordLowered] = now
	}
	if err := n.o.Ledger.TouchDevice(ctx, dv.Device, set); err != nil {
		n.log.WarnContext(ctx, "sign of life not kept", slog.String("device", string(dv.Device)), slog.Any("error", err))
	}
}

// tested keeps that a visible test was sent, or how it ended.
func (n *Notifier) tested(ctx context.Context, device roster.DeviceID, set map[string]any) {
	if err := n.o.Ledger.TouchDevice(ctx, device, set); err != nil {
		n.log.WarnContext(ctx, "test of a device not kept", slog.String("device", string(device)), slog.Any("error", err))
	}
}

var _ Ledger = (*store.Store)(nil)
