package store

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A document is stored as a prefix of fixed width and a body:
//
//	revision(10) generation(6) status(1) schema(2) encoding(1) nonce(8) body
//
// All of the prefix is ASCII. Scripts read the revision and the nonce to guard a
// commit, and the generation to let a page go; they never look into a body. The
// prefix is the same in every schema: it says which one the body is in.
const (
	prefixLen  = 28
	nonceLen   = 8
	maxCounter = 1_000_000 // generations wrap in the prefix at six digits
)

// encoding says how a body is written.
type encoding byte

const (
	encodingPlain   encoding = 'P' // protobuf
	encodingArchive encoding = 'Z' // deflated protobuf of everything that belonged to the document
)

// prefix is the fixed part of a document.
type prefix struct {
	Revision   uint64
	Generation uint32
	Status     uint8
	Form       form
	Encoding   encoding
	Nonce      string
}

// newNonce returns eight characters that no other write has.
func newNonce() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func revisionText(r uint64) string {
	if r == 0 {
		return ""
	}
	return fmt.Sprintf("%010d", r)
}

func generationText(g uint32) string { return fmt.Sprintf("%06d", g%maxCounter) }

// seal puts the prefix before a body.
func seal(p prefix, body []byte) []byte {
	b := make([]byte, 0, prefixLen+len(body))
	b = fmt.Appendf(b, "%010d%06d%d%02d%c", p.Revision, p.Generation%maxCounter, p.Status%10, p.Form, p.Encoding)
	b = append(b, p.Nonce...)
	return append(b, body...)
}

// open parts a stored document into its prefix and its body.
func open(raw []byte) (prefix, []byte, error) {
	if len(raw) < prefixLen {
		return prefix{}, nil, fmt.Errorf("document of %d bytes has no prefix of %d", len(raw), prefixLen)
	}
	revision, err1 := strconv.ParseUint(string(raw[:10]), 10, 64)
	generation, err2 := strconv.ParseUint(string(raw[10:16]), 10, 32)
	status, err3 := strconv.ParseUint(string(raw[16:17]), 10, 8)
	schema, err4 := strconv.ParseUint(string(raw[17:19]), 10, 8)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return prefix{}, nil, fmt.Errorf("read the prefix of a document: %w", err)
		}
	}
	if schema > Schema {
		return prefix{}, nil, unreadable(schema)
	}
	return prefix{
		Revision: revision, Generation: uint32(generation), Status: uint8(status), Form: form(schema),
		Encoding: encoding(raw[19]), Nonce: string(raw[20:prefixLen]),
	}, raw[prefixLen:], nil
}

// marshal writes a message the same way every time, so that stored bytes can be
// compared. Text that is no UTF-8 is mended rather than refused: nothing may
// keep a page from being stored.
func marshal(m proto.Message) []byte {
	o := proto.MarshalOptions{Deterministic: true}
	b, err := o.Marshal(m)
	if err != nil {
		mend(m.ProtoReflect())
		b, _ = o.Marshal(m) // invalid UTF-8 is all that Marshal refuses in proto3
	}
	return b
}

// mend replaces invalid UTF-8 in all strings of a message.
func mend(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList():
			l := v.List()
			for i := range l.Len() {
				if f.Kind() == protoreflect.StringKind {
					l.Set(i, protoreflect.ValueOfString(strings.ToValidUTF8(l.Get(i).String(), "\uFFFD")))
				} else if f.Kind() == protoreflect.MessageKind {
					mend(l.Get(i).Message())
				}
			}
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(strings.ToValidUTF8(v.String(), "\uFFFD")))
		case f.Kind() == protoreflect.MessageKind:
			mend(v.Message())
		}
		return true
	})
}
