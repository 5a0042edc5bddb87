package store

import (
	"fmt"

	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// The first packing, in which archives were written until there was another.

// stretchFirst undoes what the first packing had squeezed: instants are distances
// from the creation, or chained in the timeline from the entry before.
func stretchFirst(m *storepb.Archive) error {
	if m.GetIncident() == nil {
		m.Incident = &storepb.Incident{}
	}
	in := m.GetIncident()
	origin := in.GetCreated()
	move := func(at ...*int64) {
		for _, a := range at {
			*a = instant(*a, origin)
		}
	}
	move(&in.Updated, &in.FirstAck, &in.ResolvedAt)
	for _, o := range in.GetOpened() {
		move(&o.From, &o.To)
	}
	for _, a := range in.GetAcks() {
		move(&a.At, &a.ClientAt)
	}
	last := origin
	for i, e := range m.GetTimeline() {
		if e.At = instant(e.GetAt(), last); e.GetAt() != 0 && m.GetChained() {
			last = e.GetAt()
		}
		move(&e.Until, &e.ClientAt)
		e.Seq += int32(i + 1)
	}
	for _, a := range m.GetAlerts() {
		move(&a.First, &a.Last, &a.SourceTime, &a.RepeatsAt)
		if a.GetService() == "" {
			a.Service = in.GetService()
		}
	}
	raw := m.GetDeliveryIds()
	for _, d := range m.GetDeliveries() {
		move(&d.Deadline, &d.Queued, &d.Attempted, &d.Accepted, &d.Received, &d.Displayed, &d.Opened, &d.Acted, &d.Ended)
		if d.GetId() != "" {
			continue
		}
		if len(raw) < deliverySize {
			return fmt.Errorf("archive has %d deliveries and too few ids", len(m.GetDeliveries()))
		}
		d.Id, raw = deliveryID([deliverySize]byte(raw[:deliverySize])), raw[deliverySize:]
	}
	return nil
}

// firstDictionary is that of the first packing, the most common last. It may never
// change: what was written with it is read with it.
const firstDictionary = `Europe/Berlin` + `America/New_York` + `"node":"` + `"pod":"` + `"cluster":"` + `"region":"` + `"env":"production"` +
	`"host":"` + `"value":"` + `"threshold":"` + `"dashboard":"` + `"runbook_url":"https://` + `"runbook":"https://runbooks.` +
	`"description":"` + `"summary":"` + `"namespace":"` + `"instance":"` + `"job":"` + `"severity":"critical"` + `"labels":{` +
	`"alertname":"` + `"annotations":{` + `.example.com/` + `http://` + `https://` + `prometheus` + `alertmanager` + `grafana` +
	`namespace=` + `severity=` + `job=` + `instance=` + `alertname=` + `latency is high on ` + `error rate ` + `High ` + ` is down on ` +
	`disk ` + `memory ` + `production` + `eu-west-1` + `us-east-1` + `iphone` + `pixel` + `web` + `email` + `webhook` +
	"action_token" + "notification" + "cli" + "api" + "app" + "merge" + "delivery" + "events" + "rule" + "timer" +
	"\x12\x04\x08\x01\x1a\x05timer\x32\x03" + "r\x04push" + "*\x04push0\x01" + "\x22\x08\x08\x03\x12\x05" + "\x1a\x06events"
