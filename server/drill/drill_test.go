package drill

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func after(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }

func running(devices ...Device) Drill {
	return Drill{ID: "d", User: "ann", Begun: noon, Deadline: after(300), State: Running, Devices: devices}
}

func TestSeen(t *testing.T) {
	for name, tc := range map[string]struct {
		delivery incident.Delivery
		want     Device
	}{
		"queued":    {incident.Delivery{State: incident.DeliveryQueued}, Device{}},
		"sent":      {incident.Delivery{State: incident.DeliveryAccepted, Accepted: after(1)}, Device{Outcome: Sent, Sent: after(1)}},
		"received":  {incident.Delivery{State: incident.DeliveryReceived, Accepted: after(1), Received: after(2)}, Device{Outcome: Received, Sent: after(1), Received: after(2)}},
		"displayed": {incident.Delivery{State: incident.DeliveryDisplayed, Accepted: after(1), Displayed: after(3)}, Device{Outcome: Displayed, Sent: after(1), Displayed: after(3)}},
		"opened":    {incident.Delivery{State: incident.DeliveryOpened, Accepted: after(1), Opened: after(4)}, Device{Outcome: Displayed, Sent: after(1), Displayed: after(4)}},
		"heard":     {incident.Delivery{State: incident.DeliveryActed, Accepted: after(1), Acted: after(9)}, Device{Outcome: OnDevice, Sent: after(1), Heard: after(9)}},
		"refused":   {incident.Delivery{State: incident.DeliveryRejected, Reason: "Unregistered"}, Device{Outcome: Refused, Reason: "Unregistered"}},
		"not shown": {incident.Delivery{State: incident.DeliverySuppressed, Accepted: after(1), Reason: "permission"}, Device{Outcome: Suppressed, Sent: after(1), Reason: "permission"}},
		"not heard": {incident.Delivery{State: incident.DeliveryReceived, Received: after(2), Reason: NotHeardReason}, Device{Outcome: NotHeard, Received: after(2)}},
	} {
		if diff := cmp.Diff(tc.want, Device{}.Seen(tc.delivery)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestJudge(t *testing.T) {
	heard := Device{Outcome: OnDevice, Sent: after(1), Received: after(2), Heard: after(40)}
	for name, tc := range map[string]struct {
		d       Drill
		now     time.Time
		settled bool
		state   State
		took    time.Duration
		reason  string
	}{
		"heard on the only device":     {running(heard), after(41), true, Heard, 40 * time.Second, ""},
		"on one of two, the other out": {running(heard, Device{Outcome: Received, Received: after(3)}), after(41), false, Heard, 40 * time.Second, ""},
		"the sooner of two":            {running(heard, Device{Outcome: OnDevice, Heard: after(20)}), after(41), true, Heard, 20 * time.Second, ""},
		"too late":                     {running(Device{Outcome: OnDevice, Received: after(2), Heard: after(301)}), after(302), true, Missed, 0, "It was heard on none of the devices."},
		"no device":                    {running(), after(0), true, Missed, 0, "There is no device that is paged."},
		"refused":                      {running(Device{Outcome: Refused}), after(2), true, Missed, 0, "No push service took it."},
		"silence":                      {running(Device{Outcome: Sent, Sent: after(1)}), after(300), true, Missed, 0, "No device confirmed it."},
		"shown, and nothing":           {running(Device{Outcome: Displayed, Displayed: after(1)}), after(300), true, Missed, 0, "It was heard on none of the devices."},
		"still running":                {running(Device{Outcome: Sent, Sent: after(1)}), after(299), false, Missed, 0, "No device confirmed it."},
	} {
		if got := tc.d.Settled(tc.now); got != tc.settled {
			t.Errorf("%s: settled %t, want %t", name, got, tc.settled)
		}
		got := tc.d.Judge(tc.now)
		if took, _ := got.Response(); got.State != tc.state || took != tc.took || got.Reason != tc.reason || !got.Over() {
			t.Errorf("%s: %v after %s because %q, want %v after %s because %q", name, got.State, took, got.Reason, tc.state, tc.took, tc.reason)
		}
	}
}

func TestSummarize(t *testing.T) {
	of := func(s int) Drill { return running(Device{Outcome: OnDevice, Heard: after(s)}).Judge(after(s)) }
	all := []Drill{of(10), of(30), of(50), of(90), running().Judge(noon), running().End(Skipped, "", noon), running().End(Cancelled, "", noon), {State: PutOff}}
	if got, want := Summarize(all), (Summary{Heard: 4, Missed: 1, Skipped: 2, Median: 40 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	all[1].User, all[2].User = "bo", "bo"
	if got := ByPerson(all[:4]); len(got) != 2 || len(got[0]) != 2 || got[1][0].User != "bo" || got[0][0].Devices[0].Heard != after(10) {
		t.Errorf("by person: %+v", got)
	}
}

// What is stored is read by the versions after this one.
func TestStoredForm(t *testing.T) {
	d := Drill{
		ID: "0a", Plan: "core", Team: "web", User: "ann", By: "bo", Begun: noon, Deadline: after(300), Ended: after(60), State: Heard, Reason: "r", Again: after(1), Twice: true,
		Devices: []Device{{ID: "d1", Name: "iPhone", Delivery: "x", Outcome: OnDevice, Sent: after(1), Received: after(2), Displayed: after(3), Heard: after(40), Reason: "c"}},
	}
	const want = `{"id":"0a","plan":"core","team":"web","user":"ann","by":"bo","begun":"2026-11-30T12:00:00Z","deadline":"2026-11-30T12:05:00Z","ended":"2026-11-30T12:01:00Z",` +
		`"state":2,"reason":"r","again":"2026-11-30T12:00:01Z","twice":true,"devices":[{"id":"d1","name":"iPhone","delivery":"x","outcome":4,"sent":"2026-11-30T12:00:01Z",` +
		`"received":"2026-11-30T12:00:02Z","displayed":"2026-11-30T12:00:03Z","heard":"2026-11-30T12:00:40Z","reason":"c"}]}`
	text, err := json.Marshal(d)
	if err != nil || string(text) != want {
		t.Errorf("stored as %s (%v)", text, err)
	}
	var back Drill
	if err := json.Unmarshal(text, &back); err != nil || !cmp.Equal(back, d) {
		t.Errorf("read as %+v (%v)", back, err)
	}
}
