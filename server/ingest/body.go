package ingest

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

const (
	maxRatio   = 20       // decoded bytes for each compressed one
	ratioFloor = 64 << 10 // what decodes to less is no bomb, whatever its ratio: alerts of one rule compress very well
)

// Read returns the body of r, decoded, at most limit bytes of it. The error is
// an Invalid fault: ReasonTooLarge above the limit, or when more than 20 bytes
// come out of each compressed one; ReasonBroken when it ends early, is not the
// gzip that it claims to be, or is encoded in another way.
func Read(r *http.Request, limit int) ([]byte, error) {
	// What does not compress grows a little under gzip, and is no larger for it.
	most := int64(limit) + int64(limit)>>4
	if r.ContentLength > most {
		return nil, tooLarge()
	}
	raw := &io.LimitedReader{R: r.Body, N: most + 1}
	var body []byte
	var err error
	switch encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
		body, err = readAll(raw, min(max(r.ContentLength, 0), ratioFloor)) // not more on the word of a stranger
	case "gzip", "x-gzip":
		body, err = gunzip(raw, limit)
	default:
		return nil, fault.New(fault.Invalid, ReasonBroken, "the content encoding must be gzip or none", "encoding", encoding)
	}
	if len(body) > limit || raw.N == 0 {
		return nil, tooLarge()
	}
	if err != nil {
		if _, ok := errors.AsType[*fault.Error](err); ok {
			return nil, err
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tooLarge()
		}
		return nil, fault.New(fault.Invalid, ReasonBroken, "the body could not be read to its end").Because(err)
	}
	return body, nil
}

func tooLarge() error {
	return fault.New(fault.Invalid, ReasonTooLarge, "the body is too large")
}

// readAll is io.ReadAll with room for size bytes from the start.
func readAll(r io.Reader, size int64) ([]byte, error) {
	body := make([]byte, 0, size+1) // one more, so that the end is seen without growing
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// counter counts what went in, for the ratio.
type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func gunzip(raw io.Reader, limit int) ([]byte, error) {
	in := &counter{r: raw}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	var body []byte
	chunk := make([]byte, 16<<10)
	for {
		n, err := z.Read(chunk)
		body = append(body, chunk[:n]...)
		if len(body) > limit || (len(body) > ratioFloor && len(body) > maxRatio*in.n) {
			return nil, tooLarge()
		}
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
