package store

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"

	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// An archive is most of what a busy installation keeps, so its body is made
// small before it is deflated: instants become distances from the creation, in
// the timeline from the entry before, so that what happens at regular intervals
// is the same over and over; sequence numbers become distances from where they
// stand, ids of deliveries bytes, and what most archives have in common is in a
// dictionary.

// squeeze makes the message of an archive small; stretch undoes it exactly.
func squeeze(m *storepb.Archive) {
	m.Chained = true
	shift(m, distance, func(raw, _ int64) int64 { return raw })
	for i, e := range m.GetTimeline() {
		e.Seq -= int32(i + 1)
	}
	for _, a := range m.GetAlerts() {
		if a.GetService() == m.GetIncident().GetService() {
			a.Service = ""
		}
	}
	for _, d := range m.GetDeliveries() {
		if raw, _, ok := parseDelivery(d.GetId()); ok && deliveryID(string(raw)) == d.GetId() {
			m.DeliveryIds, d.Id = append(m.DeliveryIds, raw...), ""
		}
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

func stretch(m *storepb.Archive) error {
	shift(m, instant, func(_, raw int64) int64 { return raw })
	for i, e := range m.GetTimeline() {
		e.Seq += int32(i + 1)
	}
	for _, a := range m.GetAlerts() {
		if a.GetService() == "" {
			a.Service = m.GetIncident().GetService()
		}
	}
	raw := m.GetDeliveryIds()
	for _, d := range m.GetDeliveries() {
		if d.GetId() != "" {
			continue
		}
		if len(raw) < 16 {
			return fmt.Errorf("archive has %d deliveries and too few ids", len(m.GetDeliveries()))
		}
		d.Id, raw = deliveryID(string(raw[:16])), raw[16:]
	}
	return nil
}

// shift changes every instant of an archive but the creation, by which it goes,
// or by the entry before: raw tells which of an instant before and after the
// change is the one that others go by.
func shift(m *storepb.Archive, f func(ms, origin int64) int64, raw func(before, after int64) int64) {
	in := m.GetIncident()
	if in == nil {
		in = &storepb.Incident{}
	}
	origin := in.GetCreated()
	move := func(at ...*int64) {
		for _, a := range at {
			*a = f(*a, origin)
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
	for _, e := range m.GetTimeline() {
		before := e.GetAt()
		e.At = f(before, last)
		if at := raw(before, e.GetAt()); at != 0 && m.GetChained() {
			last = at
		}
		move(&e.Until, &e.ClientAt)
	}
	for _, a := range m.GetAlerts() {
		move(&a.First, &a.Last, &a.SourceTime, &a.RepeatsAt)
	}
	for _, d := range m.GetDeliveries() {
		move(&d.Deadline, &d.Queued, &d.Attempted, &d.Accepted, &d.Received, &d.Displayed, &d.Opened, &d.Acted, &d.Ended)
	}
}

// dictionary is what archives have in common, the most common last. It may never
// change: what was written with it is read with it.
const dictionary = `Europe/Berlin` + `America/New_York` + `"node":"` + `"pod":"` + `"cluster":"` + `"region":"` + `"env":"production"` +
	`"host":"` + `"value":"` + `"threshold":"` + `"dashboard":"` + `"runbook_url":"https://` + `"runbook":"https://runbooks.` +
	`"description":"` + `"summary":"` + `"namespace":"` + `"instance":"` + `"job":"` + `"severity":"critical"` + `"labels":{` +
	`"alertname":"` + `"annotations":{` + `.example.com/` + `http://` + `https://` + `prometheus` + `alertmanager` + `grafana` +
	`namespace=` + `severity=` + `job=` + `instance=` + `alertname=` + `latency is high on ` + `error rate ` + `High ` + ` is down on ` +
	`disk ` + `memory ` + `production` + `eu-west-1` + `us-east-1` + `iphone` + `pixel` + `web` + `email` + `webhook` +
	"action_token" + "notification" + "cli" + "api" + "app" + "merge" + "delivery" + "events" + "rule" + "timer" +
	"\x12\x04\x08\x01\x1a\x05timer\x32\x03" + "r\x04push" + "*\x04push0\x01" + "\x22\x08\x08\x03\x12\x05" + "\x1a\x06events"

// deflaters are kept: a fresh one allocates more than a megabyte.
//
//nolint:gochecknoglobals // pool
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriterDict(io.Discard, flate.BestCompression, []byte(dictionary)) // fails for unknown levels only
	return w
}}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w, _ := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out) // keeps the dictionary
	_, _ = w.Write(b)
	_ = w.Close() // a bytes.Buffer takes all
	return out.Bytes()
}

func inflate(b []byte, most int64) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(bytes.NewReader(b), []byte(dictionary)), most+1))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	if int64(len(out)) > most {
		return nil, fmt.Errorf("inflate: more than %d bytes", most)
	}
	return out, nil
}
