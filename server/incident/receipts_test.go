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

// A push service whose phones have fallen silent is not waited for as long; a
// phone behind another one is.
func TestSilentServiceIsNotWaitedFor(t *testing.T) {
	phone := func(p roster.Platform, s roster.DeviceState) roster.Device {
		return roster.Device{ID: roster.DeviceID(rune('a' + p)), User: "ann", Platform: p, State: s}
	}
	for name, c := range map[string]struct {
		phones []roster.Device
		want   string
	}{
		"an iPhone":                   {[]roster.Device{phone(roster.IOS, roster.DeviceActive)}, "mail@5s"},
		"a Pixel":                     {[]roster.Device{phone(roster.Android, roster.DeviceActive)}, "mail@20s"},
		"both":                        {[]roster.Device{phone(roster.IOS, roster.DeviceActive), phone(roster.Android, roster.DeviceActive)}, "mail@20s"},
		"an iPhone and a dead Pixel":  {[]roster.Device{phone(roster.IOS, roster.DeviceActive), phone(roster.Android, roster.DeviceDead)}, "mail@5s"},
		"an iPhone beside a browser":  {[]roster.Device{phone(roster.IOS, roster.DeviceActive), phone(roster.Web, roster.DeviceActive)}, "mail@5s"},
		"a browser alone is not iOS":  {[]roster.Device{phone(roster.Web, roster.DeviceActive)}, "mail@20s"},
		"an iPhone that is not known": {[]roster.Device{phone(roster.IOS, roster.DeviceUnverified)}, "mail@5s"},
	} {
		w := incidenttest.New()
		w.Quiet = map[roster.Platform]bool{roster.IOS: true}
		w.Phones["ann"] = c.phones
		s := trigger(t, w)
		s.until(30 * time.Second)
		if got := s.pages("ann"); len(got) < 2 || got[1] != c.want {
			t.Errorf("%s: pages %v, want the second to be %s", name, got, c.want)
		}
	}
}
