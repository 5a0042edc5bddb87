package pushtest

import (
	"maps"
	"net/http"
	"sync"
	"time"
)

// Fault is something that happens on the connection instead of an answer.
type Fault uint8

// The faults.
const (
	NoFault          Fault = iota
	Silence                // no answer, ever; the connection stays well
	CloseConnection        // the connection ends without an answer
	ResetStream            // RST_STREAM, INTERNAL_ERROR
	RefuseStream           // RST_STREAM, REFUSED_STREAM: not processed, safe to repeat
	GoAwayBefore           // GOAWAY whose last stream is before this one: not processed, safe to repeat
	GoAwayCovering         // GOAWAY that covers this stream, then the end of the connection without an answer
	FreezeConnection       // the peer is dead: nothing is read any more, no ping is answered
)

// Answer is what a simulator does with one request. The zero Answer lets the
// simulator judge the request by itself.
type Answer struct {
	Status  int               // 0 lets the simulator judge
	Reason  string            // the service's word
	Header  map[string]string // of the response, for example retry-after
	Body    []byte            // replaces the service's own body
	Delay   time.Duration     // before anything of it happens
	Fault   Fault
	Deliver bool // the phone gets the message although the sender is told otherwise, or nothing
	GoAway  bool // after the answer the server says GOAWAY and drains the connection

	Timestamp any // of an APNs 410: milliseconds, or whatever a test wants there
	Detail    any // of an FCM error: replaces its details
}

// Accept lets the simulator judge the request by itself.
func Accept() Answer { return Answer{} }

// Reject answers with a status and the service's word for the reason.
func Reject(status int, reason string) Answer { return Answer{Status: status, Reason: reason} }

// Break does not answer.
func Break(f Fault) Answer { return Answer{Fault: f} }

// After delays an answer.
func After(d time.Duration, a Answer) Answer {
	a.Delay = d
	return a
}

// WithRetryAfter adds the header, in seconds or as a date, as given.
func WithRetryAfter(value string, a Answer) Answer {
	h := map[string]string{"retry-after": value}
	maps.Copy(h, a.Header)
	a.Header = h
	return a
}

// Page answers as a proxy in between would: HTML.
func Page(status int) Answer {
	return Answer{
		Status: status, Header: map[string]string{"content-type": "text/html"},
		Body: []byte("<html><body><h1>" + http.StatusText(status) + "</h1></body></html>"),
	}
}

// Shutdown is how an APNs server leaves: 503 and GOAWAY.
func Shutdown() Answer {
	return Answer{Status: http.StatusServiceUnavailable, Reason: "Shutdown", GoAway: true}
}

// Request is one request as it arrived.
type Request struct {
	At         time.Time
	Connection int    // numbered from 1 in the order of their arrival
	Stream     uint32 // HTTP/2 stream on that connection
	Method     string
	Path       string
	Header     map[string]string // names in lower case
	Body       []byte
	Token      string // the address
	Status     int    // answered; 0 for none
	Reason     string // answered
}

// script holds the answers that were asked for.
type script struct {
	mu     sync.Mutex
	once   map[string][]Answer // by token; "" is anybody
	always map[string]Answer
	hook   func(Request) (Answer, bool)
}

// next is the answer asked for: the token's own before anybody's, the ones to
// be used once before the standing ones.
func (s *script) next(r Request) Answer {
	s.mu.Lock()
	hook := s.hook
	for _, who := range []string{r.Token, ""} {
		if q := s.once[who]; len(q) > 0 {
			s.once[who] = q[1:]
			s.mu.Unlock()
			return q[0]
		}
	}
	own, has := s.always[r.Token]
	others, all := s.always[""]
	s.mu.Unlock()
	if hook != nil {
		if a, ok := hook(r); ok {
			return a
		}
	}
	switch {
	case has:
		return own
	case all:
		return others
	}
	return Answer{}
}

func (s *script) add(token string, answers []Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.once == nil {
		s.once = make(map[string][]Answer)
	}
	s.once[token] = append(s.once[token], answers...)
}

func (s *script) stand(token string, a Answer, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.always == nil {
		s.always = make(map[string]Answer)
	}
	if !on {
		delete(s.always, token)
		return
	}
	s.always[token] = a
}

func (s *script) set(hook func(Request) (Answer, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// tape records requests.
type tape struct {
	mu       sync.Mutex
	limit    int
	requests []Request
	total    int
}

func (t *tape) record(r Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	if len(t.requests) < t.limit {
		t.requests = append(t.requests, r)
	}
}

func (t *tape) all() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Request(nil), t.requests...)
}

func (t *tape) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

func (t *tape) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests, t.total = nil, 0
}
