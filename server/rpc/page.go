package rpc

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"iter"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// A page token is a place in a list, bound to the caller's filters: with
// others it would show a page of something else.

const tokenVersion = 1

// listRequest is what all requests for a page have.
type listRequest interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// pageSize returns how many to answer with: the default for 0, at most most.
func pageSize(req listRequest, usual, most int) int {
	n := int(req.GetPageSize())
	if n == 0 {
		n = usual
	}
	return min(n, most)
}

// filterHash is over everything in a request but its page.
func filterHash(req listRequest) uint32 {
	bare := proto.Clone(req)
	m := bare.ProtoReflect()
	for _, name := range []protoreflect.Name{"page_size", "page_token"} {
		if f := m.Descriptor().Fields().ByName(name); f != nil {
			m.Clear(f)
		}
	}
	h := fnv.New32a()
	b, err := encode(bare)
	if err != nil { // a message that came over the wire
		return 0
	}
	_, _ = h.Write([]byte(m.Descriptor().FullName())) // never fails
	_, _ = h.Write(b)
	return h.Sum32()
}

// token returns the text of a place; the empty place is the end of the list.
func token(req listRequest, place string) string {
	if place == "" {
		return ""
	}
	b := binary.BigEndian.AppendUint32([]byte{tokenVersion}, filterHash(req))
	return base64.RawURLEncoding.EncodeToString(append(b, place...))
}

// place reads the token of a request; empty is the beginning.
func place(req listRequest) (string, error) {
	text := req.GetPageToken()
	if text == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	switch {
	case err != nil, len(b) < 6, b[0] != tokenVersion:
		return "", fault.InvalidField("page_token", "is not a token of this list; start again without one")
	case binary.BigEndian.Uint32(b[1:5]) != filterHash(req):
		return "", fault.InvalidField("page_token", "belongs to a list with other filters; start again without one")
	}
	return string(b[5:]), nil
}

// byNamePage returns the page of a list of records in the order of their
// names. The place is the last name.
func byNamePage[R directory.Record](req listRequest, usual, most int, seq iter.Seq[R], keep func(R) bool) (page []R, next string, err error) {
	at, err := place(req)
	if err != nil {
		return nil, "", err
	}
	after := func(r R) bool { return at == "" || directory.KeyOf(r).ID > at }
	page, more := directory.Page(seq, directory.ByName[R], after, keep, pageSize(req, usual, most))
	if more {
		next = token(req, directory.KeyOf(page[len(page)-1]).ID)
	}
	return page, next, nil
}

// byAgePage returns the page of a list of records, oldest first. The place is
// the creation and the name of the last.
func byAgePage[R directory.Record](
	req listRequest, usual, most int, seq iter.Seq[R], created func(R) int64, keep func(R) bool,
) (page []R, next string, err error) {
	at, err := place(req)
	if err != nil {
		return nil, "", err
	}
	position := func(r R) string {
		return string(binary.BigEndian.AppendUint64(nil, uint64(created(r)))) + directory.KeyOf(r).ID //nolint:gosec // after 1970
	}
	after := func(r R) bool { return at == "" || strings.Compare(position(r), at) > 0 }
	page, more := directory.Page(seq, directory.ByAge[R], after, keep, pageSize(req, usual, most))
	if more {
		next = token(req, position(page[len(page)-1]))
	}
	return page, next, nil
}

// slicePage returns a page of what is in memory as a whole, in its order;
// the place is the key of the last. keys rise.
func slicePage[A any](req listRequest, usual, most int, all []A, key func(A) string) (page []A, next string, err error) {
	at, err := place(req)
	if err != nil {
		return nil, "", err
	}
	n := pageSize(req, usual, most)
	for _, a := range all {
		if at != "" && key(a) <= at {
			continue
		}
		if len(page) == n {
			return page, token(req, key(page[n-1])), nil
		}
		page = append(page, a)
	}
	return page, "", nil
}
