package pushtest

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
)

// Weather is how often a service fails by itself, as shares of all requests
// from 0 to 1 that no script covers. The zero Weather is fair.
type Weather struct {
	Internal    float64 `json:"internal"`    // 500, with the service's word
	Unavailable float64 `json:"unavailable"` // 503, with the service's word
	Lost        float64 `json:"lost"`        // the message reaches the phone, the connection dies before the answer
	Cut         float64 `json:"cut"`         // the connection dies, the message is lost
	Reset       float64 `json:"reset"`       // the stream is reset
	Silent      float64 `json:"silent"`      // no answer, ever
	Seed        uint64  `json:"seed"`        // same seed, same weather
}

// Validate reports shares that are none.
func (w Weather) Validate() error {
	sum := 0.0
	for _, share := range []float64{w.Internal, w.Unavailable, w.Lost, w.Cut, w.Reset, w.Silent} {
		if !(share >= 0 && share <= 1) {
			return errors.New("weather: a share is outside 0 to 1")
		}
		sum += share
	}
	if sum > 1 {
		return errors.New("weather: the shares are together more than 1")
	}
	return nil
}

// sky makes the weather. What is asked at each request is one atomic load
// while the weather is fair.
type sky struct {
	foul atomic.Bool
	mu   sync.Mutex
	w    Weather
	dice *rand.Rand
}

func (s *sky) set(w Weather) error {
	if err := w.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w, s.dice = w, rand.New(rand.NewPCG(w.Seed, 1)) //nolint:gosec // must be the same each time
	s.foul.Store(w != Weather{Seed: w.Seed})
	return nil
}

func (s *sky) get() Weather {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w
}

// strike is what the weather does to a request, with the service's words for
// 500 and 503.
func (s *sky) strike(internal, unavailable string) Answer {
	if !s.foul.Load() {
		return Answer{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.dice.Float64()
	for _, c := range []struct {
		share float64
		a     Answer
	}{
		{s.w.Internal, Reject(http.StatusInternalServerError, internal)},
		{s.w.Unavailable, Reject(http.StatusServiceUnavailable, unavailable)},
		{s.w.Lost, Answer{Fault: CloseConnection, Deliver: true}},
		{s.w.Cut, Break(CloseConnection)},
		{s.w.Reset, Break(ResetStream)},
		{s.w.Silent, Break(Silence)},
	} {
		if at -= c.share; at < 0 {
			return c.a
		}
	}
	return Answer{}
}
