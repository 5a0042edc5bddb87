package incident_test

import (
	"testing"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestReceipts(t *testing.T) {
	phone := func(s incident.DeliveryState) incident.Delivery {
		return incident.Delivery{User: "ann", Kind: roster.Push, Native: true, Page: true, Urgency: incident.High, State: s}
	}
	browser := func(s incident.DeliveryState) incident.Delivery { d := phone(s); d.Native = false; return d }
	muted := phone(incident.DeliveryDisplayed)
	muted.Silent = true
	card := phone(incident.DeliveryReceived)
	card.Page = false
	for name, c := range map[string]struct {
		in   []incident.Delivery
		want incident.Receipt
	}{
		"accepted is no receipt":          {[]incident.Delivery{phone(incident.DeliveryAccepted)}, incident.Receipt{}},
		"one phone of two":                {[]incident.Delivery{phone(incident.DeliveryAccepted), phone(incident.DeliveryReceived)}, incident.Receipt{Received: true}},
		"a browser beside a phone":        {[]incident.Delivery{phone(incident.DeliveryAccepted), browser(incident.DeliveryDisplayed)}, incident.Receipt{}},
		"a browser alone":                 {[]incident.Delivery{browser(incident.DeliveryDisplayed)}, incident.Receipt{Received: true}},
		"shown without sound":             {[]incident.Delivery{muted}, incident.Receipt{}},
		"every device refused":            {[]incident.Delivery{phone(incident.DeliveryRejected), phone(incident.DeliverySuppressed)}, incident.Receipt{Refused: true}},
		"one refused, one still on way":   {[]incident.Delivery{phone(incident.DeliveryRejected), phone(incident.DeliveryAttempted)}, incident.Receipt{}},
		"a replacement card was received": {[]incident.Delivery{phone(incident.DeliveryAccepted), card}, incident.Receipt{}},
	} {
		if got := incident.Receipts(c.in)["ann"]; got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
