package pushtest

import (
	"maps"
	"net/http"
	"sync"
	"time"
)

// Answer is what a simulator does with one request. The zero Answer lets the
// simulator judge the request by itself.
type Answer struct {
	Status  int               // 0 lets the simulator judge
	Reason  string            // the service's word
	Header  map[string]string // of the response, for example retry-after
	Body    []byte            // replaces the service's own body
	Delay   time.Duration     // before anything of it happens
	Drip    time.Duration     // between any two bytes of the answer's body
	Fault   Fault
	Deliver bool          // the phone gets the message although the sender is told otherwise, or nothing
	Late    time.Duration // the phone gets the message so much later than the sender its answer
	Held    bool          // the phone gets the message only when Phone.LetThrough is called
	GoAway  bool          // after the answer the server says GOAWAY and drains the connection

	Timestamp any // of an APNs 410: milliseconds, or whatever a test wants there
	Detail    any // of an FCM error: replaces its details
}

// Accept lets the simulator judge the request by itself.
func Accept() Answer { return Answer{} }

// Reject answers with a status and the service's word for the reason.
func Reject(status int, reason string) Answer { return Answer{Status: status, Reason: reason} }

// Break does something to the connection instead of answering.
func Break(f Fault) Answer { return Answer{Fault: f} }

// After delays an answer.
func After(d time.Duration, a Answer) Answer {
	a.Delay = d
	return a
}

// Overtaken accepts a message that reaches the phone only when its owner calls
// [Phone.LetThrough]: what is sent later overtakes it, as a page that was sent
// twice is overtaken by the news that somebody has dealt with it.
func Overtaken() Answer { return Answer{Held: true} }

// WithRetryAfter adds the header, in seconds or as a date, as given.
func WithRetryAfter(value string, a Answer) Answer {
	h := map[string]string{"retry-after": value}
	maps.Copy(h, a.Header)
	a.Header = h
	return a
}

// undecided tells whether an answer leaves everything to the simulator, but
// for when the phone gets the message.
func (a *Answer) undecided() bool { return a.Status == 0 && a.Fault == NoFault }

// with is the answer with what the weather decided.
func (a Answer) with(w Answer) Answer {
	a.Status, a.Reason, a.Fault = w.Status, w.Reason, w.Fault
	a.Deliver = a.Deliver || w.Deliver
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
	Number     int // from 1, in the order of the answers
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
	Fault      Fault  // what happened instead
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

// clear forgets all answers that were asked for.
func (s *script) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.once)
	clear(s.always)
}

func (s *script) set(hook func(Request) (Answer, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}
