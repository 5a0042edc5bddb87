package incident

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Receipts tells of every person what the devices have said about the pages
// since an instant, from the delivery records: a phone that answered the first
// page and has been silent since does not answer for the second.
//
// Only a native phone speaks for a person who has one, and a page that the
// phone showed without sound did not wake him. Somebody counts as
// refused when every push to him has failed for good.
func Receipts(deliveries []Delivery, since func(roster.UserID) time.Time) map[roster.UserID]Receipt {
	type tally struct{ phones, pushes, refused, phoneReceipts, receipts int }
	tallies := map[roster.UserID]*tally{}
	for _, d := range deliveries {
		if !d.Page || d.Kind != roster.Push || d.Queued.Before(since(d.User)) {
			continue
		}
		t := tallies[d.User]
		if t == nil {
			t = &tally{}
			tallies[d.User] = t
		}
		t.pushes++
		got := d.State >= DeliveryReceived && !(d.Silent && d.Urgency == High)
		switch {
		case d.State.Refused():
			t.refused++
		case got && d.Native:
			t.phoneReceipts++
		case got:
			t.receipts++
		}
		if d.Native {
			t.phones++
		}
	}
	all := make(map[roster.UserID]Receipt, len(tallies))
	for u, t := range tallies {
		all[u] = Receipt{
			Received: t.phoneReceipts > 0 || (t.phones == 0 && t.receipts > 0),
			Refused:  t.pushes > 0 && t.refused == t.pushes,
		}
	}
	return all
}

// Refused reports whether the delivery has failed for good.
func (s DeliveryState) Refused() bool { return s == DeliveryRejected || s == DeliverySuppressed }

// Hides reports whether a phone that suppresses a page for the reason, in its
// own word, would suppress any page. One that is stale or too late is hidden for
// its own sake: what is newer is on the screen.
func Hides(reason string) bool { return reason != "stale" && reason != "expired" }

// PagedSince returns when the page went out whose receipt the assignee's
// ReceiptBy waits for. The records carry the clock of the store, so a little
// before it counts too.
func (in *Incident) PagedSince(wait time.Duration) func(roster.UserID) time.Time {
	const skew = 2 * time.Second
	return func(u roster.UserID) time.Time {
		if a := in.Asked(u); a != nil && !a.ReceiptBy.IsZero() {
			return a.ReceiptBy.Add(-wait - min(skew, wait/2))
		}
		return time.Time{}
	}
}
