package pushtest

import (
	"sync/atomic"
	"time"
)

// Service is what every simulator has: a listener, a script of answers, a log
// of requests, and ways to make its connections ill. A token is whatever
// addresses a phone there; of Web Push that is the endpoint.
type Service struct {
	server  *server
	ca      []byte
	pair    []byte // certificate and key
	script  script
	sky     sky
	tape    tape
	latency atomic.Int64
	skew    atomic.Int64
}

// URL is the base address, https on loopback.
func (s *Service) URL() string { return "https://" + s.server.listener.Addr().String() }

// CA is the certificate authority to trust, PEM.
func (s *Service) CA() []byte { return s.ca }

// Certificate is the certificate and its key, PEM: given to another simulator
// in its options, clients trust that one by the same CA.
func (s *Service) Certificate() []byte { return s.pair }

// Close ends the simulator and all its connections.
func (s *Service) Close() { s.server.close() }

// Script sets what the next requests for a token get, one each, in order.
func (s *Service) Script(token string, answers ...Answer) { s.script.add(token, answers) }

// ScriptAny is Script for requests of any token that has no answers of its own.
func (s *Service) ScriptAny(answers ...Answer) { s.script.add("", answers) }

// Always sets what all requests for a token get from now on; token "" is all
// tokens. Heal takes it back.
func (s *Service) Always(token string, answer Answer) { s.script.stand(token, answer, true) }

// Heal takes back what Always set.
func (s *Service) Heal(token string) { s.script.stand(token, Answer{}, false) }

// Decide asks f about every request that no script covers; false lets the
// simulator judge. f runs on the connection's goroutine.
func (s *Service) Decide(f func(Request) (Answer, bool)) { s.script.set(f) }

// ForgetScripts takes back everything that Script, ScriptAny and Always asked for.
func (s *Service) ForgetScripts() { s.script.clear() }

// SetWeather makes a share of the requests fail by themselves.
func (s *Service) SetWeather(w Weather) error { return s.sky.set(w) }

// Weather is what SetWeather set.
func (s *Service) Weather() Weather { return s.sky.get() }

// SetLatency changes the latency of every answer.
func (s *Service) SetLatency(d time.Duration) { s.latency.Store(int64(d)) }

// Latency is the latency of every answer.
func (s *Service) Latency() time.Duration { return time.Duration(s.latency.Load()) }

// SetSkew changes by how much the Date header is wrong.
func (s *Service) SetSkew(d time.Duration) { s.skew.Store(int64(d)) }

// Skew is by how much the Date header is wrong.
func (s *Service) Skew() time.Duration { return time.Duration(s.skew.Load()) }

// Requests is what arrived, in order: the newest, when there were more than
// KeepLog.
func (s *Service) Requests() []Request { return s.tape.all() }

// RequestsSince is at most limit of the requests with a higher number, in
// order. When there is none yet, the channel is closed at the next one.
func (s *Service) RequestsSince(number, limit int) ([]Request, <-chan struct{}) {
	return s.tape.since(number, limit)
}

// Count is how many requests arrived.
func (s *Service) Count() int { return s.tape.size() }

// Forget empties the log.
func (s *Service) Forget() { s.tape.reset() }

// Connections is how many connections have been opened in all, how many are
// open, and the most requests that one of the open ones had in flight.
func (s *Service) Connections() (opened, open, mostInFlight int) { return s.server.connections() }

// InFlight is how many requests have no answer yet.
func (s *Service) InFlight() int { return s.server.inFlight() }

// MaxStreams sets the limit of requests in flight per connection, on open
// connections too.
func (s *Service) MaxStreams(n uint32) { s.server.setStreams(n) }

// Streams is the limit that MaxStreams set.
func (s *Service) Streams() uint32 { return s.server.streams.Load() }

// Down refuses connections and cuts the open ones; false ends that.
func (s *Service) Down(on bool) { s.server.refuse(on) }

// GoAway sends GOAWAY on all connections; what is in flight is still answered.
func (s *Service) GoAway(debug string) {
	s.server.each(func(c *conn) { c.goAway(c.lastStream(), debug) })
}

// IgnorePings leaves pings unanswered while requests are answered.
func (s *Service) IgnorePings(on bool) { s.server.mute.Store(on) }

// Freeze makes all open connections go silent, as a dead peer does: no
// answers, no pings. New connections work. False wakes them again.
func (s *Service) Freeze(on bool) { s.server.each(func(c *conn) { c.gate.freeze(on) }) }

// Cut ends all connections as a crash does.
func (s *Service) Cut() { s.server.each((*conn).kill) }
