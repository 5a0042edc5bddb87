package gateway

import (
	"net/http"
	"time"
)

// Patience is how long a slow caller is waited for. Zero fields have the defaults.
type Patience struct {
	Header time.Duration // for the head of a request, and for TLS: 10 s
	Body   time.Duration // for the rest of it: 20 s
	Answer time.Duration // to read the request and write the answer; streams have none: 60 s
	Write  time.Duration // for the caller of a stream to take one message: 30 s
	Silent time.Duration // until a connection of HTTP/2 that says nothing is asked whether it lives: 30 s
}

func (p Patience) withDefaults() Patience {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&p.Header, 10*time.Second)
	set(&p.Body, 20*time.Second)
	set(&p.Answer, 60*time.Second)
	set(&p.Write, 30*time.Second)
	set(&p.Silent, 30*time.Second)
	return p
}

// patient is a writer whose caller may take so long for each message of a gRPC
// call, however long the call lasts: who grants no window would keep the call,
// and what it holds, for ever.
type patient struct {
	http.ResponseWriter

	control *http.ResponseController
	write   time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	p.begin()
	defer p.end()
	return p.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, which gRPC asks for.
func (p patient) Flush() {
	p.begin()
	defer p.end()
	_ = p.control.Flush() // the next write tells
}

// Unwrap lets a http.ResponseController through.
func (p patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p patient) begin() { _ = p.control.SetWriteDeadline(now().Add(p.write)) } // HTTP/2 has them
func (p patient) end()   { _ = p.control.SetWriteDeadline(time.Time{}) }

// now is the time of connections, not of the domain.
func now() time.Time { return time.Now() } //nolint:forbidigo // as it says
