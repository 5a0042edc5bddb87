//go:build !schemanext

package store

import "google.golang.org/protobuf/proto"

// Schema is the newest form that this version reads and writes. A newer one is
// refused, never rewritten.
const Schema = 1

// recast turns what the codec makes into the form that is written. There is one
// form so far.
func recast(proto.Message, form) {}

// restore turns what was read in a form into what the codec understands.
func restore(proto.Message, form) {}

// packing is that in which archives of this form are written. Another one that
// older versions do not know needs a new form.
func (form) packing() packing { return secondPacking }

// dictionaries are those of all packings that this version reads.
func dictionaries() map[packing]string {
	return map[packing]string{firstPacking: firstDictionary, secondPacking: secondDictionary}
}
