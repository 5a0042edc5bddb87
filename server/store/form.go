package store

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// form is a schema as the codec uses it: how something is written, and how it
// has to be read.
//
// Of a document the form stands in its prefix. A record that stands alone (an
// alert, an entry of a timeline or a stream) says its own from the second form
// on, by a zero byte and the number before it: no protobuf begins so, and what
// the first version wrote has nothing there.
type form uint8

// ErrNewerSchema is what reading something gets that a newer version of tocsin
// has written. It stays as it is, for an instance that can read it; the call
// succeeds there.
var ErrNewerSchema = fault.New(fault.Unavailable, "NEWER_SCHEMA",
	"it was written by a newer version of tocsin, whose instances can read it").After(retryAfter)

// leap is how far ahead of ours the schema of a version may be that runs beside
// this one. What says more is damaged, and one damaged byte must not make every
// instance give up its partitions.
const leap = 8

// unreadable is the error about what is in a later form than this version reads.
func unreadable(schema uint64) error {
	if schema > Schema+leap {
		return fmt.Errorf("it says that its schema is %d, which no version writes: it is damaged", schema)
	}
	return ErrNewerSchema.With("schema", strconv.FormatUint(schema, 10))
}

// body writes a message whose form is told beside it. The message is used up.
func (f form) body(m proto.Message) []byte {
	recast(m, f)
	return marshal(m)
}

// record writes a message that stands alone.
func (f form) record(m proto.Message) []byte { return f.appendRecord(nil, m) }

// appendRecord is record behind what b has.
func (f form) appendRecord(b []byte, m proto.Message) []byte {
	recast(m, f)
	return appendMessage(f.stamp(b), m)
}

// stamped makes a record of a body.
func (f form) stamped(body []byte) []byte { return append(f.stamp(nil), body...) }

// stamp appends what a record says of its form: the first one says nothing.
func (f form) stamp(b []byte) []byte {
	if f == 1 {
		return b
	}
	return append(b, 0, byte(f))
}

// read reads a message that is in this form.
func (f form) read(raw []byte, m proto.Message) error {
	if f > Schema {
		return unreadable(uint64(f))
	}
	if err := proto.Unmarshal(raw, m); err != nil {
		return err
	}
	restore(m, f)
	return nil
}

// readRecord reads a message that stands alone.
func readRecord[B string | []byte](raw B, m proto.Message) error {
	f, body := formOf([]byte(raw))
	return f.read(body, m)
}

// formOf parts a record into its form and its body.
func formOf(record []byte) (form, []byte) {
	if len(record) > 1 && record[0] == 0 && record[1] > 1 {
		return form(record[1]), record[2:]
	}
	return 1, record
}
