package incident_test

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestReceipts(t *testing.T) {
	phone := func(s incident.DeliveryState) incident.Delivery {
		return incident.Delivery{User: "ann", Kind: roster.Push, Native: true, Page: true, Urgency: incident.High, State: s}
	}
	browser := func(s incident.DeliveryState) incident.Delivery { d := phone(s); d.Native = false; return d }
	muted := phone(incident.DeliveryDisplayed)
	muted.Silent = true
	long := func(roster.UserID) time.Time { return time.Time{} }
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
		if got := incident.Receipts(c.in, long)["ann"]; got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestReceiptOfAnEarlierPageDoesNotAnswerForALaterOne(t *testing.T) {
	s := trigger(t, incidenttest.New())
	s.receipts["ann"] = incident.Receipt{Received: true}
	s.until(61 * time.Second) // the second page went out at one minute
	page := func(at time.Duration, state incident.DeliveryState) incident.Delivery {
		return incident.Delivery{User: "ann", Kind: roster.Push, Native: true, Page: true, Urgency: incident.High, State: state, Queued: start.Add(at)}
	}
	got := incident.Receipts([]incident.Delivery{page(0, incident.DeliveryDisplayed), page(time.Minute, incident.DeliveryAccepted)},
		s.in.PagedSince(s.w.Speed.ReceiptWait))["ann"]
	if got.Received {
		t.Error("the phone is silent since the second page, and counts as having received it")
	}
}
