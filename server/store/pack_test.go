package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// atRegularIntervals is a timeline whose second entry has no instant.
func atRegularIntervals() *storepb.Archive {
	m := &storepb.Archive{Incident: &storepb.Incident{Created: 1_000_000}}
	for i, at := range []int64{1_000_000, 0, 1_060_000, 1_120_000, 1_180_000, 1_120_000} {
		m.Timeline = append(m.Timeline, &storepb.Entry{Seq: int32(i + 1), At: at}) //nolint:gosec // six of them
	}
	return m
}

func TestWhatComesAtRegularIntervalsIsTheSame(t *testing.T) {
	t.Parallel()
	m := atRegularIntervals()
	squeeze(m)
	if a, b, c := m.GetTimeline()[2], m.GetTimeline()[3], m.GetTimeline()[4]; !proto.Equal(a, b) || !proto.Equal(b, c) {
		t.Errorf("three entries a minute apart: got %v, %v, %v, want the same", a, b, c)
	}
	if err := stretch(m); err != nil {
		t.Fatal(err)
	}
	m.Chained = false
	if diff := cmp.Diff(atRegularIntervals(), m, protocmp.Transform()); diff != "" {
		t.Errorf("there and back (-want +got):\n%s", diff)
	}
}

// Archives from before instants went by the entry before them are read as ever.
func TestArchiveThatIsNotChained(t *testing.T) {
	t.Parallel()
	m := atRegularIntervals()
	for i, e := range m.GetTimeline() {
		e.At, e.Seq = distance(e.GetAt(), m.GetIncident().GetCreated()), e.GetSeq()-int32(i+1) //nolint:gosec // six of them
	}
	if err := stretch(m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(atRegularIntervals(), m, protocmp.Transform()); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}
