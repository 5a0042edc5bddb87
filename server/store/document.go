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

// NewNonce returns eight characters that nobody else has: they tell what one write,
// or one sender, wrote from what others did.
func NewNonce() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func revisionText(r uint64) string {
	if r == 0 {
		return ""
	}
	var b [10]byte
	return string(appendPadded(b[:0], r, len(b)))
}

// madeBy is what a guard compares of a document that a decision was made on: its
// revision and, where it is known, the commit that made it. After a failover two
// histories of one document have the same revisions, and what was decided on the
// one must not be written on the other.
func madeBy(revision uint64, writer string) string { return revisionText(revision) + writer }

func generationText(g uint32) string {
	var b [6]byte
	return string(appendPadded(b[:0], uint64(g%maxCounter), len(b)))
}

// appendPadded appends a number with zeros before it, to so many digits.
func appendPadded(b []byte, v uint64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendUint(digits[:0], v, 10)
	for range width - len(text) {
		b = append(b, '0')
	}
	return append(b, text...)
}

// seal puts the prefix before a body.
func seal(p prefix, body []byte) []byte {
	b := make([]byte, 0, prefixLen+len(body))
	b = appendPadded(b, p.Revision, 10)
	b = appendPadded(b, uint64(p.Generation%maxCounter), 6)
	b = appendPadded(b, uint64(p.Status%10), 1)
	b = append(appendPadded(b, uint64(p.Form), 2), byte(p.Encoding))
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
func marshal(m proto.Message) []byte { return appendMessage(nil, m) }

// appendMessage is marshal behind what b has.
func appendMessage(b []byte, m proto.Message) []byte {
	o := proto.MarshalOptions{Deterministic: true}
	all, err := o.MarshalAppend(b, m)
	if err != nil {
		mend(m.ProtoReflect())
		all, _ = o.MarshalAppend(b, m) // invalid UTF-8 is all that Marshal refuses in proto3
	}
	return all
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
