package notify

import (
	"testing"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestPageWords holds what a lock screen says of an alert as Alertmanager
// names it: its group key is for machines.
func TestPageWords(t *testing.T) {
	t.Parallel()
	in := &incident.Incident{Number: 7, Severity: event.Critical, Text: incident.Text{
		Title: "5xx above 20 %", Source: "checkout-1:9102", Component: "checkout",
		Group: `{}/{service="checkout"}:{alertname="ErrorsHigh"}`, Class: "ErrorsHigh",
	}}
	for level, want := range map[roster.Privacy]words{
		roster.PrivacyFull:    {Title: "Critical: Checkout", Subtitle: "5xx above 20 %", Body: "#7 · checkout-1:9102 · checkout · your phone did not answer · page 2"},
		roster.PrivacyTitle:   {Title: "Critical: Checkout", Subtitle: "5xx above 20 %", Body: "#7 · your phone did not answer · page 2", Redacted: true},
		roster.PrivacyMinimal: {Title: "Page", Body: "1 incident needs you (#7)", Redacted: true},
	} {
		if got := pageWords(in, "Checkout", incident.Work{Reason: incident.PageNoReceipt, Number: 2}, level); got != want {
			t.Errorf("level %d: got %+v, want %+v", level, got, want)
		}
	}
}
