package store

import (
	"encoding/hex"
	"fmt"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// An archive is most of what a busy installation keeps, so its message is made
// small before it is deflated. Instants become distances from those that they
// mostly go by: an entry of the timeline from the one before, so that what happens
// at regular intervals is the same over and over, an end from the last entry,
// what a phone said from the attempt. What is said twice is said once, ids that
// are hexadecimal become bytes, and those that follow from the rest are left out.

// The bits of an entry's field said.
const (
	saidText  = 1
	saidAlert = 2
)

// squeeze makes the message of an archive small; stretch undoes it exactly.
func squeeze(id incident.ID, m *storepb.Archive) {
	in := m.GetIncident()
	relate(m, distance, func(before, _ int64) int64 { return before })
	in.Seq -= int32(len(m.GetTimeline()))
	in.AlertsTotal -= int32(len(m.GetAlerts()))
	for i, e := range m.GetTimeline() {
		e.Seq -= int32(i + 1)
		if e.GetText() != "" && e.GetText() == in.GetText().GetTitle() {
			e.Said |= saidText
			e.Text = ""
		}
		if len(m.GetAlerts()) == 0 || e.GetKey() == "" {
			continue
		}
		if a := m.GetAlerts()[0]; e.GetService() == a.GetService() && e.GetKey() == a.GetKey() {
			e.Said |= saidAlert
			e.Service, e.Key = "", ""
		}
	}
	for _, a := range m.GetAlerts() {
		if a.GetService() == in.GetService() {
			a.Service = ""
		}
		if a.GetSummary() != "" && a.GetSummary() == in.GetText().GetTitle() {
			a.Titled, a.Summary = true, ""
		}
	}
	for _, d := range m.GetDeliveries() {
		raw, _, ok := parseDelivery(d.GetId())
		if !ok || deliveryID([deliverySize]byte(raw)) != d.GetId() {
			continue
		}
		if d.GetId() != derivedID(id, d) {
			m.DeliveryIds, d.Named = append(m.DeliveryIds, raw...), true
		}
		d.Id = ""
	}
	if raw, ok := traceBytes(in.GetTrace()); ok {
		m.Trace, in.Trace = raw, ""
	}
}

func stretch(id incident.ID, m *storepb.Archive) error {
	if m.GetIncident() == nil {
		m.Incident = &storepb.Incident{}
	}
	in := m.GetIncident()
	relate(m, instant, func(_, after int64) int64 { return after })
	in.Seq += int32(len(m.GetTimeline()))
	in.AlertsTotal += int32(len(m.GetAlerts()))
	for _, a := range m.GetAlerts() {
		if a.GetService() == "" {
			a.Service = in.GetService()
		}
		if a.GetTitled() {
			a.Titled, a.Summary = false, in.GetText().GetTitle()
		}
	}
	for i, e := range m.GetTimeline() {
		e.Seq += int32(i + 1)
		if e.GetSaid()&saidText != 0 {
			e.Text = in.GetText().GetTitle()
		}
		if e.GetSaid()&saidAlert != 0 {
			if len(m.GetAlerts()) == 0 {
				return fmt.Errorf("entry %d of an archive is about an alert, of which there is none", e.GetSeq())
			}
			e.Service, e.Key = m.GetAlerts()[0].GetService(), m.GetAlerts()[0].GetKey()
		}
		e.Said = 0
	}
	raw := m.GetDeliveryIds()
	for _, d := range m.GetDeliveries() {
		switch {
		case d.GetNamed() && len(raw) < deliverySize:
			return fmt.Errorf("archive has %d deliveries and too few ids", len(m.GetDeliveries()))
		case d.GetNamed():
			d.Named, d.Id, raw = false, deliveryID([deliverySize]byte(raw[:deliverySize])), raw[deliverySize:]
		case d.GetId() == "":
			d.Id = derivedID(id, d)
		}
	}
	if len(m.GetTrace()) == traceLen {
		in.Trace = traceText(m.GetTrace())
	}
	return nil
}

// derivedID is the id of a delivery as the server makes it: of its work, and of
// its device or of whose method it is. See [DeliveryID].
func derivedID(id incident.ID, d *storepb.Delivery) string {
	way := d.GetDevice()
	if way == "" {
		way = d.GetUser() + "/" + d.GetMethod()
	}
	derived, err := DeliveryID(IncidentDoc(id), d.GetWork(), way)
	if err != nil {
		return ""
	}
	return derived
}

// traceLen is how many bytes a traceparent has: 16 of the trace, 8 of the span, flags.
const traceLen = 25

func traceText(b []byte) string {
	return "00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:24]) + "-" + hex.EncodeToString(b[24:25])
}

// traceBytes undoes traceText; false for what is no traceparent of its form.
func traceBytes(text string) ([]byte, bool) {
	if len(text) != 55 {
		return nil, false
	}
	raw, err := hex.DecodeString(text[3:35] + text[36:52] + text[53:])
	return raw, err == nil && traceText(raw) == text
}

// relate changes every instant of an archive but the creation. f gets an instant
// and the one that it goes by; raw tells which of an instant before and after
// the change is the one that others go by.
func relate(m *storepb.Archive, f func(ms, origin int64) int64, raw func(before, after int64) int64) {
	// move changes an instant and returns it, or its origin if it is not set.
	move := func(at *int64, origin int64) int64 {
		before := *at
		*at = f(before, origin)
		if now := raw(before, *at); now != 0 {
			return now
		}
		return origin
	}
	in := m.GetIncident()
	created := in.GetCreated()
	last := created
	for _, e := range m.GetTimeline() {
		last = move(&e.At, last)
		move(&e.Until, last)
		move(&e.ClientAt, last)
	}
	end := move(&in.ResolvedAt, last)
	move(&in.Updated, end)
	move(&in.FirstAck, created)
	for _, o := range in.GetOpened() {
		move(&o.From, created)
		move(&o.To, end)
	}
	for _, a := range in.GetAcks() {
		move(&a.ClientAt, move(&a.At, created))
	}
	for _, a := range m.GetAlerts() {
		move(&a.SourceTime, move(&a.First, created))
		move(&a.RepeatsAt, move(&a.Last, end))
	}
	queued := created
	for _, d := range m.GetDeliveries() {
		queued = move(&d.Queued, queued)
		move(&d.Deadline, queued)
		now := queued
		for _, at := range []*int64{&d.Attempted, &d.Accepted, &d.Received, &d.Displayed, &d.Opened, &d.Acted} {
			now = move(at, now)
		}
		move(&d.Ended, now)
	}
}

// distance writes an instant as its distance from another: small for small ones
// to either side (zigzag), 0 for "not set".
func distance(ms, origin int64) int64 {
	if ms == 0 {
		return 0
	}
	d := ms - origin
	if d >= 0 {
		d++
	}
	return d<<1 ^ d>>63
}

// instant undoes distance.
func instant(v, origin int64) int64 {
	if v == 0 {
		return 0
	}
	d := int64(uint64(v)>>1) ^ -(v & 1)
	if d > 0 {
		d--
	}
	return d + origin
}
