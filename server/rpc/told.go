package rpc

import (
	"iter"
	"slices"
	"time"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto" // registers the codec, too
	"google.golang.org/grpc/mem"
	protobuf "google.golang.org/protobuf/proto"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// told is a change as everybody hears of it who has all up to its reading.
type told struct {
	incident *incident.Incident // nil when it is gone
	types    []pb.TimelineEntry_Type
	message  any // for SendMsg
}

// tell makes the messages of a reading that begins at the cursor.
func tell(shape shaper, from *store.Cursor, changes []changed) []told {
	at, all := *from, make([]told, 0, len(changes))
	for c, types := range behind(&at, changes) {
		t := told{incident: c.incident, types: types}
		if c.incident != nil {
			t.message = encodedOnce(watchMessage(shape, &at, c, types))
		}
		all = append(all, t)
	}
	return all
}

// behind yields the changes that lie behind the cursor, and moves it along.
// Changes of one incident in one reading have the same final state: the last of
// them is yielded where the first one lies, with what happened in all. A cursor
// never passes what was not told: whoever breaks off and comes back with it may
// hear of something twice, and of everything.
func behind(at *store.Cursor, changes []changed) iter.Seq2[changed, []pb.TimelineEntry_Type] {
	return func(yield func(changed, []pb.TimelineEntry_Type) bool) {
		final := map[incident.ID]changed{}
		types := map[incident.ID][]pb.TimelineEntry_Type{}
		for _, c := range changes {
			if !before(at[c.Partition], c.At) {
				continue
			}
			final[c.Incident] = c
			for _, t := range c.Types {
				if e, ok := entryTypes[t]; ok && !slices.Contains(types[c.Incident], e) {
					types[c.Incident] = append(types[c.Incident], e)
				}
			}
		}
		for _, c := range changes {
			if !before(at[c.Partition], c.At) {
				continue
			}
			at[c.Partition] = c.At
			last, untold := final[c.Incident]
			delete(final, c.Incident)
			if untold && !yield(last, types[c.Incident]) {
				return
			}
		}
	}
}

func watchMessage(shape shaper, at *store.Cursor, c changed, types []pb.TimelineEntry_Type) *pb.WatchIncidentsResponse {
	return &pb.WatchIncidentsResponse{
		Kind: pb.WatchIncidentsResponse_KIND_CHANGE, Incident: shape.incident(c.incident), Changes: types,
		Cursor: at.String(), EventTime: stamp(time.UnixMilli(c.At.MS)),
	}
}

// encoded is a message that goes to many: each stream compresses and frames it,
// none encodes it again.
type encoded []byte

// encodedOnce returns what to send instead of m. A message that cannot be encoded
// stays what it is: the stream that sends it says so.
func encodedOnce(m protobuf.Message) any {
	b, err := protobuf.Marshal(m)
	if err != nil {
		return m
	}
	return encoded(b)
}

// codec is gRPC's own for protobuf, and takes what is encoded.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(e)}, nil // read by all, freed by the collector
	}
	return c.CodecV2.Marshal(v)
}
