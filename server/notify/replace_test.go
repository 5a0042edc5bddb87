package notify

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

func TestWhatMayBeOnTheScreen(t *testing.T) {
	begun := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		d    incident.Delivery
		want bool
	}{
		{"not begun", incident.Delivery{State: incident.DeliveryQueued}, false},
		{"being sent", incident.Delivery{State: incident.DeliveryAttempted, Attempted: begun}, true},
		{"taken by the push service", incident.Delivery{State: incident.DeliveryAccepted, Attempted: begun}, true},
		{"acknowledged before it began", incident.Delivery{State: incident.DeliveryWithdrawn}, false},
		{"acknowledged after its sender died", incident.Delivery{State: incident.DeliveryWithdrawn, Attempted: begun}, true},
		{"no answer until its deadline", incident.Delivery{State: incident.DeliveryExpired, Attempted: begun}, true},
		{"refused", incident.Delivery{State: incident.DeliveryRejected, Attempted: begun}, false},
		{"not shown, as the phone says", incident.Delivery{State: incident.DeliverySuppressed, Attempted: begun}, false},
	} {
		if got := mayShow(c.d); got != c.want {
			t.Errorf("%s: may show = %t, want %t", c.name, got, c.want)
		}
	}
}
