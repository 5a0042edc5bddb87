package gateway

import (
	"net/http"
	"sync"
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
//
// It has a timer of its own: a deadline of net/http is set and cleared by waking
// the goroutine of the connection, six times for a message.
type patient struct {
	http.ResponseWriter

	control *http.ResponseController
	write   time.Duration
	late    *time.Timer

	mu      sync.Mutex
	writing bool
}

func newPatient(w http.ResponseWriter, control *http.ResponseController, write time.Duration) *patient {
	p := &patient{ResponseWriter: w, control: control, write: write}
	p.late = time.AfterFunc(write, p.end)
	p.late.Stop()
	return p
}

// end ends the call when it is still writing: afterwards the writer may be gone.
func (p *patient) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing {
		_ = p.control.SetWriteDeadline(now().Add(-time.Second)) // HTTP/2 has them
	}
}

func (p *patient) Write(b []byte) (int, error) {
	p.wait(true)
	defer p.wait(false)
	return p.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, which gRPC asks for.
func (p *patient) Flush() {
	p.wait(true)
	defer p.wait(false)
	_ = p.control.Flush() // the next write tells
}

// Unwrap lets a http.ResponseController through.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// wait says that the writer begins to wait for its caller, or has done so.
func (p *patient) wait(writing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing = writing; writing {
		p.late.Reset(p.write)
	} else {
		p.late.Stop()
	}
}

// now is the time of connections, not of the domain.
func now() time.Time { return time.Now() } //nolint:forbidigo // as it says
