package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

func zip(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise is text that hardly compresses.
func noise(size int) string {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(random.IntN(256))
	}
	return string(b)
}

func request(ctx context.Context, body []byte, encoding string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	return r
}

func TestRead(t *testing.T) {
	t.Parallel()
	const limit = 256 << 10
	plain, full := noise(1000), noise(limit)
	spaces := strings.Repeat(" ", 60<<10)
	for _, tc := range []struct {
		name, encoding string
		body           []byte
		want           string
		reason         string
	}{
		{"plain", "", []byte(plain), plain, ""},
		{"identity", "Identity", []byte(plain), plain, ""},
		{"empty", "", nil, "", ""},
		{"at the limit", "", []byte(full), full, ""},
		{"above the limit", "", []byte(full + "x"), "", ingest.ReasonTooLarge},
		{"gzip", "gzip", zip(t, plain), plain, ""},
		{"x-gzip", " X-GZIP", zip(t, plain), plain, ""},
		{"gzip at the limit", "gzip", zip(t, full), full, ""},
		{"gzip far above the limit", "gzip", zip(t, noise(2*limit)), "", ingest.ReasonTooLarge},
		{"gzip above the limit", "gzip", zip(t, strings.Repeat(noise(4000), limit/4000+1)), "", ingest.ReasonTooLarge},
		{"small and repetitive", "gzip", zip(t, spaces), spaces, ""},
		{"a bomb", "gzip", zip(t, strings.Repeat(" ", 200<<10)), "", ingest.ReasonTooLarge},
		{"no gzip", "gzip", []byte(plain), "", ingest.ReasonBroken},
		{"cut gzip", "gzip", zip(t, plain)[:500], "", ingest.ReasonBroken},
		{"damaged gzip", "gzip", append(zip(t, plain)[:900], 0, 0, 0, 0, 0), "", ingest.ReasonBroken},
		{"another encoding", "br", []byte(plain), "", ingest.ReasonBroken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, known := range []bool{true, false} { // with and without a Content-Length
				r := request(t.Context(), tc.body, tc.encoding)
				if !known {
					r.ContentLength = -1
				}
				got, err := ingest.Read(r, limit)
				if reason := reasonOf(err); reason != tc.reason || string(got) != tc.want {
					t.Errorf("Read = %d bytes, %v, want %d bytes and the reason %q", len(got), err, len(tc.want), tc.reason)
				}
			}
		})
	}
}

func reasonOf(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Reason
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestGzipThroughTheDoor(t *testing.T) {
	t.Parallel()
	b := &backend{}
	wantStatus(t, b.post(t, "/integrations/"+key, string(zip(t, native)), "Content-Encoding", "gzip"), http.StatusAccepted)
	if len(b.events) != 1 || b.events[0].DedupKey != "my/key" {
		t.Errorf("events = %+v, want the one in the body", b.events)
	}
	bomb := string(zip(t, strings.Repeat(" ", event.MaxBody/2)))
	wantStatus(t, b.post(t, "/integrations/"+key, bomb, "Content-Encoding", "gzip"), http.StatusRequestEntityTooLarge)
	wantStatus(t, b.post(t, "/v2/enqueue", bomb, "Content-Encoding", "gzip"), http.StatusRequestEntityTooLarge)
}
