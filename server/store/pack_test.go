package store

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// packed is an archive as it is stored, behind its prefix.
func packed(a *archive) []byte { return packArchive(a, Schema) }

func prefixOf(a *archive) prefix {
	return prefix{
		Revision: a.incident.Revision, Generation: a.incident.Generation, Status: uint8(a.incident.Status), Form: Schema, Encoding: encodingArchive,
	}
}

func TestLivesComeBackFromTheArchive(t *testing.T) {
	t.Parallel()
	for i, a := range corpus(t, 0, 30) {
		got, err := unpackArchive(a.incident.ID, prefixOf(a), packed(a))
		if err != nil {
			t.Fatalf("life %d: %v", i, err)
		}
		a.prefix = got.prefix
		if d := cmp.Diff(a, got, cmp.AllowUnexported(archive{}), cmp.Comparer(time.Time.Equal)); d != "" {
			t.Fatalf("life %d comes back otherwise (-want +got):\n%s", i, d)
		}
	}
}

// What squeezing leaves out must follow from the rest, whatever that is.
func TestSqueezedIsStretchedExactly(t *testing.T) {
	t.Parallel()
	id := NewIncidentID(7, base)
	rapid.Check(t, func(r *rapid.T) {
		var a archive
		for _, v := range []any{&a.incident, &a.timeline, &a.alerts, &a.deliveries} {
			if in, ok := v.(**incident.Incident); ok {
				*in = new(incident.Incident)
				v = *in
			}
			anything(r, reflect.ValueOf(v).Elem())
		}
		for i := range a.deliveries { // no record of a delivery is without its id
			a.deliveries[i].ID = deliveryID([deliverySize]byte(bytes.Repeat([]byte{byte(i)}, deliverySize)))
		}
		if rapid.Bool().Draw(r, "titled") {
			for i := range a.timeline {
				a.timeline[i].Text = a.incident.Text.Title
			}
			for i := range a.alerts {
				a.alerts[i].Summary = a.incident.Text.Title
			}
		}
		if len(a.alerts) > 0 && rapid.Bool().Draw(r, "of one alert") {
			for i := range a.timeline {
				a.timeline[i].Service, a.timeline[i].Key = a.alerts[0].Service, a.alerts[0].Key
			}
		}
		for i := range a.alerts { // no alert is without a service
			if a.alerts[i].Service == "" || rapid.Bool().Draw(r, "home") {
				a.alerts[i].Service = a.incident.Service
			}
		}
		want, m := archiveToProto(&a), archiveToProto(&a)
		squeeze(id, m)
		if err := stretch(id, m); err != nil {
			r.Fatal(err)
		}
		m.DeliveryIds, m.Trace = nil, nil
		if d := cmp.Diff(want, m, protocmp.Transform()); d != "" {
			r.Fatalf("there and back (-want +got):\n%s", d)
		}
	})
}

func TestWhatComesAtRegularIntervalsIsTheSame(t *testing.T) {
	t.Parallel()
	m := &storepb.Archive{Incident: &storepb.Incident{Created: 1_000_000}}
	for i, at := range []int64{1_000_000, 0, 1_060_000, 1_120_000, 1_180_000, 1_120_000} {
		m.Timeline = append(m.Timeline, &storepb.Entry{Seq: int32(i + 1), At: at})
	}
	squeeze("", m)
	if a, b, c := m.GetTimeline()[2], m.GetTimeline()[3], m.GetTimeline()[4]; !proto.Equal(a, b) || !proto.Equal(b, c) {
		t.Errorf("three entries a minute apart: got %v, %v, %v, want the same", a, b, c)
	}
}

// What follows from an archive takes no room in it.
func TestDerivedIsLeftOut(t *testing.T) {
	t.Parallel()
	in := opened("shop", base)
	in.Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	send := sendTo(t, in.ID, 1, "iphone")
	m := archiveToProto(&archive{incident: in, deliveries: []incident.Delivery{send.Delivery, {ID: "07000000-0000-8000-8000-000000000001", Work: "w-1"}}})
	squeeze(in.ID, m)
	if len(m.GetDeliveryIds()) != 16 || m.GetDeliveries()[0].GetNamed() || !m.GetDeliveries()[1].GetNamed() {
		t.Errorf("two deliveries, of which one has the id that its work and device make: %d bytes of ids, named %v and %v",
			len(m.GetDeliveryIds()), m.GetDeliveries()[0].GetNamed(), m.GetDeliveries()[1].GetNamed())
	}
	if len(m.GetTrace()) != traceLen || m.GetIncident().GetTrace() != "" {
		t.Errorf("the trace: got %x and %q, want %d bytes instead of the text", m.GetTrace(), m.GetIncident().GetTrace(), traceLen)
	}
}

// An archive of November 2026, from before packings had numbers.
func TestFirstPackingIsReadAsEver(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/archive1.hex")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	in, a, err := decodeIncident("00101m8jpe7q77mfrqc12", raw)
	if err != nil {
		t.Fatal(err)
	}
	created, ended := time.UnixMilli(1_795_923_844_839).UTC(), time.UnixMilli(1_795_923_848_694).UTC()
	if in.Number != 256 || in.Text.Title != "Error rate of checkout above 5% for 10 minutes on web-5" || !in.Created.Equal(created) || !in.ResolvedAt.Equal(ended) {
		t.Errorf("the incident: got %+v", in)
	}
	want := []time.Time{created, created}
	for i := 3; i <= 10; i++ {
		want = append(want, created.Add(time.Duration(i)*time.Second))
	}
	want = append(want, ended, ended)
	var got []time.Time
	for i, e := range a.timeline {
		got = append(got, e.At)
		if e.Seq != i+1 {
			t.Errorf("entry %d has number %d", i+1, e.Seq)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the instants of its timeline (-want +got):\n%s", d)
	}
	if len(a.alerts) != 1 || a.alerts[0].Service != "service-5" || !a.alerts[0].Last.Equal(ended) {
		t.Errorf("the alerts: got %+v", a.alerts)
	}
	if len(a.deliveries) != 2 || a.deliveries[1].ID != "01f595e4-fef1-85d3-a698-ead157ea8cf1" || !a.deliveries[1].Accepted.Equal(created) {
		t.Errorf("the deliveries: got %+v", a.deliveries)
	}
}

// Whatever is in Redis: it is an archive or an error, and what was read can be
// written again.
func FuzzUnpack(f *testing.F) {
	for _, a := range corpus(f, 0, 3) {
		f.Add(packed(a))
	}
	for p := range deflaters { // the message itself, which no mutation of deflated bytes reaches
		f.Add([]byte{byte(p)<<3 | packingMark})
	}
	id := NewIncidentID(7, base)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, body := range [][]byte{raw, deflaters[secondPacking].deflate([]byte{byte(secondPacking)<<3 | packingMark}, raw), deflaters[firstPacking].deflate(nil, raw)} {
			a, err := unpackArchive(id, prefix{Form: Schema}, body)
			if err != nil {
				continue
			}
			if _, err := unpackArchive(id, prefix{Form: Schema}, packed(a)); err != nil {
				t.Errorf("what was read cannot be read again: %v", err)
			}
		}
	})
}

func BenchmarkArchive(b *testing.B) {
	lives := corpus(b, 0, 64)
	texts, size := make([][]byte, len(lives)), 0
	for i, a := range lives {
		texts[i] = packed(a)
		size += len(texts[i])
	}
	b.Run("pack", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			packed(lives[i%len(lives)])
		}
		b.ReportMetric(float64(size)/float64(len(lives)), "bytes/archive")
	})
	b.Run("unpack", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			a := lives[i%len(lives)]
			if _, err := unpackArchive(a.incident.ID, prefixOf(a), texts[i%len(lives)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
