package store

import (
	"bytes"
	"compress/flate"
	_ "embed"
	"fmt"
	"io"
	"sync"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// packing is how archives are made small: how their message is squeezed, and
// the dictionary that it is deflated with. An archive names its own in its first
// byte and is read by that for ever. Which one is written follows from the form
// (see [form.packing]): an instance that reads no later form never meets a
// packing that it does not know.
type packing byte

const (
	firstPacking  packing = 1 // named by nothing, as it was the only one: read, never written
	secondPacking packing = 2
)

// maxArchive bounds what an archive may inflate to.
const maxArchive = 64 << 20

// The last three bits of a byte that names a packing: no deflated text begins
// with a last block of the type that is reserved.
const packingMark = 7

// secondDictionary is what archives have in common. It may never change: what
// was written with it is read with it. TestMakeDictionary says how it was made.
//
//go:embed archive2.dict
var secondDictionary string

// pack writes the message of an archive. The message is used up.
func (f form) pack(id incident.ID, m *storepb.Archive) []byte {
	p := f.packing()
	squeeze(id, m)
	return deflaters[p].deflate([]byte{byte(p)<<3 | packingMark}, f.body(m))
}

// unpack reads the message of an archive.
func (f form) unpack(id incident.ID, packed []byte) (*storepb.Archive, error) {
	p := firstPacking
	if len(packed) > 0 && packed[0]&packingMark == packingMark {
		p, packed = packing(packed[0]>>3), packed[1:]
	}
	d := deflaters[p]
	if d == nil {
		return nil, fmt.Errorf("it says that its packing is %d, which no version writes in schema %d: it is damaged", p, f)
	}
	raw, err := d.inflate(packed, maxArchive)
	if err != nil {
		return nil, err
	}
	var m storepb.Archive
	if err := f.read(raw, &m); err != nil {
		return nil, err
	}
	if p == firstPacking {
		return &m, stretchFirst(&m)
	}
	return &m, stretch(id, &m)
}

// deflater deflates and inflates with one dictionary. What it works with is
// kept: a fresh writer allocates more than a megabyte, a reader 40 KB.
type deflater struct {
	dictionary       []byte
	writers, readers sync.Pool
}

// inflater is what flate gives to read with.
type inflater interface {
	io.Reader
	flate.Resetter
}

// deflaters of all packings that this version reads.
//
//nolint:gochecknoglobals // look-up table, and pools
var deflaters = newDeflaters()

func newDeflaters() map[packing]*deflater {
	all := map[packing]*deflater{}
	for p, dictionary := range dictionaries() {
		all[p] = &deflater{dictionary: []byte(dictionary)}
	}
	return all
}

// deflate appends the deflated bytes.
func (d *deflater) deflate(to, b []byte) []byte {
	out := bytes.NewBuffer(to)
	w, ok := d.writers.Get().(*flate.Writer)
	if ok {
		w.Reset(out) // keeps the dictionary
	} else {
		w, _ = flate.NewWriterDict(out, flate.BestCompression, d.dictionary) // fails for unknown levels only
	}
	defer d.writers.Put(w)
	_, _ = w.Write(b)
	_ = w.Close() // a bytes.Buffer takes all
	return out.Bytes()
}

// inflate undoes deflate. What would have more bytes than most is an error.
func (d *deflater) inflate(b []byte, most int64) ([]byte, error) {
	r, ok := d.readers.Get().(inflater)
	if ok {
		_ = r.Reset(bytes.NewReader(b), d.dictionary) // never fails
	} else {
		r, _ = flate.NewReaderDict(bytes.NewReader(b), d.dictionary).(inflater) // as flate promises
	}
	defer d.readers.Put(r)
	out, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	if int64(len(out)) > most {
		return nil, fmt.Errorf("inflate: more than %d bytes", most)
	}
	return out, nil
}
