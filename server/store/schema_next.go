//go:build schemanext

package store

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// Schema of the build that stands in for the next version where upgrades are
// tested. Its form moves the number of an incident into a field that no other
// build knows, and packs archives with a dictionary that no other build has.
const Schema = 2

// movedNumber is where the second form has the number of an incident.
const movedNumber protowire.Number = 1000

func recast(m proto.Message, f form) {
	if in := incidentIn(m); in != nil && f >= 2 {
		b := protowire.AppendTag(nil, movedNumber, protowire.VarintType)
		in.ProtoReflect().SetUnknown(protowire.AppendVarint(b, uint64(in.GetNumber())))
		in.Number = 0
	}
}

func restore(m proto.Message, f form) {
	in := incidentIn(m)
	if in == nil || f < 2 {
		return
	}
	for b := in.ProtoReflect().GetUnknown(); len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if number == movedNumber {
			v, _ := protowire.ConsumeVarint(b[n:])
			in.Number = int64(v)
		}
		b = b[n+size:]
	}
	in.ProtoReflect().SetUnknown(nil)
}

const thirdPacking packing = 3

func (f form) packing() packing {
	if f >= 2 {
		return thirdPacking
	}
	return secondPacking
}

func dictionaries() map[packing]string {
	return map[packing]string{
		firstPacking: firstDictionary, secondPacking: secondDictionary, thirdPacking: "the dictionary of the next version",
	}
}

// incidentIn returns the incident of a document, nil of what has none.
func incidentIn(m proto.Message) *storepb.Incident {
	switch m := m.(type) {
	case *storepb.Incident:
		return m
	case *storepb.Archive:
		return m.GetIncident()
	}
	return nil
}
