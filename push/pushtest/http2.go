package pushtest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// server is a small HTTP/2 server on frames. net/http's own hides what the
// simulators are for: stream ids, GOAWAY, RST_STREAM, peers that go silent.
type server struct {
	listener net.Listener
	tls      *tls.Config
	handle   func(*exchange)
	streams  atomic.Uint32 // SETTINGS_MAX_CONCURRENT_STREAMS of warm connections
	cold     atomic.Uint32 // of connections without a success yet; 0 makes no difference
	mute     atomic.Bool   // pings are not answered

	mu     sync.Mutex
	conns  map[*conn]struct{}
	opened int
	down   bool // connections are refused
	closed bool
	quit   chan struct{}
	wg     sync.WaitGroup
}

// exchange is one request and the way to answer it.
type exchange struct {
	conn   *conn
	stream uint32
	method string
	path   string
	header map[string]string
	body   []byte
	at     time.Time
	twice  bool // a header came more than once
	inline bool // whoever answers has more to say, and flushes then
}

type conn struct {
	server *server
	id     int
	gate   *gate
	tls    *tls.Conn
	read   *bufio.Reader
	framer *http2.Framer
	peer   []byte // the client's certificate, DER; nil without one

	delayed delayed
	eaten   uint32 // bytes of bodies that the peer has not been given back yet

	wmu     sync.Mutex // guards writing and what follows
	write   *bufio.Writer
	encoder *hpack.Encoder
	block   bytes.Buffer

	mu       sync.Mutex
	open     map[uint32]*exchange
	last     uint32
	active   int
	most     int // in flight at a time, so far
	leaving  bool
	limit    uint32 // streams at a time
	warm     bool   // had a success
	shutdown bool   // what is still in flight is answered so
	note     any    // what the service remembers of the connection
}

const (
	window      = 1 << 20
	maxBody     = 1 << 20
	idleTimeout = 10 * time.Minute
)

func newServer(address string, cert tls.Certificate, handle func(*exchange)) (*server, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address) //nolint:noctx // a listener has no deadline
	if err != nil {
		return nil, err
	}
	s := &server{
		listener: l, handle: handle, conns: make(map[*conn]struct{}), quit: make(chan struct{}),
		tls: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{http2.NextProtoTLS}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert},
	}
	s.streams.Store(1000)
	s.wg.Go(s.accept)
	return s, nil
}

func (s *server) accept() {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.down || s.closed {
			s.mu.Unlock()
			_ = raw.Close()
			continue
		}
		s.opened++
		g := newGate(raw)
		c := &conn{server: s, id: s.opened, gate: g, tls: tls.Server(g, s.tls), open: make(map[uint32]*exchange)}
		s.conns[c] = struct{}{}
		s.wg.Go(c.serve)
		s.mu.Unlock()
	}
}

func (s *server) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.quit)
	conns := s.list()
	s.mu.Unlock()
	_ = s.listener.Close()
	for _, c := range conns {
		c.kill()
	}
	s.wg.Wait()
}

// after runs f when d has passed, unless the server closes before. It runs on
// one goroutine of the connection's, whatever has become of the connection.
func (s *server) after(e *exchange, d time.Duration, f func()) {
	c := e.conn
	if !c.delayed.add(time.Now().Add(d), f) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(func() { c.delayed.run(s.quit, c.flush) })
	}
}

// hand delivers to a phone, now or later.
func (s *server) hand(p *Phone, k parcel, late time.Duration) {
	if late <= 0 {
		p.deliver(k)
		return
	}
	s.wait(late, func() { p.deliver(k) })
}

// wait runs f when d has passed, unless the server closes before.
func (s *server) wait(d time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.wg.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			f()
		case <-s.quit:
		}
	})
}

// list is all connections; the caller holds the lock.
func (s *server) list() []*conn {
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

func (s *server) each(f func(*conn)) {
	s.mu.Lock()
	all := s.list()
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

func (s *server) refuse(on bool) {
	s.mu.Lock()
	s.down = on
	s.mu.Unlock()
	if on {
		s.each((*conn).kill)
	}
}

func (s *server) inFlight() int {
	n := 0
	s.each(func(c *conn) {
		c.mu.Lock()
		n += c.active
		c.mu.Unlock()
	})
	return n
}

func (s *server) connections() (opened, open, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.mu.Lock()
		most = max(most, c.most)
		c.mu.Unlock()
	}
	return s.opened, len(s.conns), most
}

// setStreams changes the limit, on open connections too. Those that have had
// no success yet keep a lower one.
func (s *server) setStreams(n uint32) {
	s.streams.Store(n)
	s.each((*conn).announce)
}

// announce tells the peer how many streams it may have now.
func (c *conn) announce() { c.out(func() error { return c.settings() }) }

// settings writes the limit that holds at the moment of writing, so that the
// last one written is the one that holds; the caller holds the lock.
func (c *conn) settings(more ...http2.Setting) error {
	n := c.server.streams.Load()
	c.mu.Lock()
	if cold := c.server.cold.Load(); cold > 0 && !c.warm {
		n = min(n, cold)
	}
	c.limit = n
	c.mu.Unlock()
	return c.framer.WriteSettings(append(more, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n})...)
}

// succeed lifts the limit of a connection that had its first success.
func (c *conn) succeed() {
	if c.server.cold.Load() == 0 {
		return
	}
	c.mu.Lock()
	first := !c.warm
	c.warm = true
	c.mu.Unlock()
	if first {
		c.announce()
	}
}

func (c *conn) serve() {
	defer func() {
		c.kill()
		c.server.mu.Lock()
		delete(c.server.conns, c)
		c.server.mu.Unlock()
	}()
	_ = c.tls.SetDeadline(time.Now().Add(10 * time.Second))
	if err := c.tls.Handshake(); err != nil { //nolint:noctx // bounded by the deadline above
		return
	}
	c.read = bufio.NewReaderSize(c.tls, 32<<10)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.read, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	_ = c.tls.SetDeadline(time.Time{})
	if peer := c.tls.ConnectionState().PeerCertificates; len(peer) > 0 {
		c.peer = peer[0].Raw
	}
	c.prepare()
	c.out(func() error {
		if err := c.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
			return err
		}
		return c.framer.WriteWindowUpdate(0, window)
	})
	for {
		if c.read.Buffered() == 0 {
			c.flush()
		}
		_ = c.tls.SetReadDeadline(time.Now().Add(idleTimeout))
		f, err := c.framer.ReadFrame()
		if err != nil {
			if reset, ok := errors.AsType[http2.StreamError](err); ok {
				c.reset(reset.StreamID, reset.Code)
				continue
			}
			return
		}
		if err := c.frame(f); err != nil {
			return
		}
	}
}

// prepare makes the connection one that can be written to.
func (c *conn) prepare() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.write = bufio.NewWriterSize(c.tls, 16<<10)
	c.framer = http2.NewFramer(c.write, c.read)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.SetReuseFrames()
	c.encoder = hpack.NewEncoder(&c.block)
}

func (c *conn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		e := &exchange{conn: c, stream: f.StreamID, header: make(map[string]string, len(f.Fields)), at: time.Now(), inline: true}
		twice := false
		for _, h := range f.Fields {
			switch h.Name {
			case ":method":
				e.method = h.Value
			case ":path":
				e.path = h.Value
			default:
				_, again := e.header[h.Name]
				twice = twice || again
				e.header[h.Name] = h.Value
			}
		}
		e.twice = twice
		if !c.begin(e) {
			c.reset(f.StreamID, http2.ErrCodeRefusedStream)
			return nil
		}
		if f.StreamEnded() {
			c.server.handle(e)
		}
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.later(func() error { return c.framer.WriteSettingsAck() })
		}
	case *http2.PingFrame:
		if !f.IsAck() && !c.server.mute.Load() {
			data := f.Data
			c.later(func() error { return c.framer.WritePing(true, data) })
		}
	case *http2.RSTStreamFrame:
		c.done(f.StreamID)
	}
	return nil
}

func (c *conn) data(f *http2.DataFrame) error {
	c.mu.Lock()
	e := c.open[f.StreamID]
	c.mu.Unlock()
	if c.eaten += f.Header().Length; c.eaten >= window/2 { // not each time: it costs both sides a frame
		n := c.eaten
		c.eaten = 0
		c.later(func() error { return c.framer.WriteWindowUpdate(0, n) })
	}
	if e == nil {
		return nil
	}
	e.body = append(e.body, f.Data()...)
	if len(e.body) > maxBody {
		return errors.New("body too large")
	}
	if f.StreamEnded() {
		c.server.handle(e)
	}
	return nil
}

// begin admits a stream, if the limit and the state of the connection let it.
func (c *conn) begin(e *exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.active >= int(c.limit) {
		return false
	}
	c.last = max(c.last, e.stream)
	c.active++
	c.most = max(c.most, c.active)
	c.open[e.stream] = e
	return true
}

// done forgets a stream; it tells whether the stream was still open, and
// whether the connection has now nothing left to do.
func (c *conn) done(stream uint32) (was, drained bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, was = c.open[stream]; was {
		delete(c.open, stream)
		c.active--
	}
	return was, c.leaving && c.active == 0
}

// respond writes an answer and ends the stream.
func (e *exchange) respond(status int, header map[string]string, body []byte) {
	was, drained := e.conn.done(e.stream)
	if !was {
		return
	}
	e.put(func() error {
		if err := e.headers(status, header, len(body) == 0); err != nil || len(body) == 0 {
			return err
		}
		return e.conn.framer.WriteData(e.stream, true, body)
	})
	e.conn.settle(drained)
}

// put writes now, or with what else the reading goroutine has to say.
func (e *exchange) put(write func() error) {
	if e.inline {
		e.conn.later(write)
	} else {
		e.conn.out(write)
	}
}

// headers writes the beginning of an answer; the caller holds the lock.
func (e *exchange) headers(status int, header map[string]string, end bool) error {
	c := e.conn
	c.block.Reset()
	if err := c.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)}); err != nil {
		return err
	}
	for k, v := range header {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(k), Value: v}); err != nil {
			return err
		}
	}
	return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: end})
}

// part writes the beginning of an answer that never ends.
func (e *exchange) part(status int, header map[string]string, body []byte) {
	e.conn.out(func() error {
		if err := e.headers(status, header, false); err != nil || len(body) < 2 {
			return err
		}
		return e.conn.framer.WriteData(e.stream, false, body[:len(body)/2])
	})
}

// drip writes an answer byte by byte.
func (e *exchange) drip(status int, header map[string]string, body []byte, pause time.Duration) {
	e.inline = false
	e.conn.out(func() error { return e.headers(status, header, false) })
	e.trickle(body, pause)
}

func (e *exchange) trickle(body []byte, pause time.Duration) {
	e.conn.server.after(e, pause, func() {
		if len(body) > 1 {
			e.conn.out(func() error { return e.conn.framer.WriteData(e.stream, false, body[:1]) })
			e.trickle(body[1:], pause)
			return
		}
		was, drained := e.conn.done(e.stream)
		if was {
			e.conn.out(func() error { return e.conn.framer.WriteData(e.stream, true, body) })
			e.conn.settle(drained)
		}
	})
}

// settle ends a connection that said goodbye and has nothing left to do.
func (c *conn) settle(drained bool) {
	if drained {
		c.flush()
		c.kill()
	}
}

// send writes an answer in the way that was asked for.
func (e *exchange) send(status int, header map[string]string, body []byte, a Answer) {
	switch {
	case a.Fault == HalfAnswer:
		e.part(status, header, body)
	case a.Fault == CutAnswer:
		e.part(status, header, body)
		e.conn.kill()
	case a.Fault != NoFault:
		e.fault(a.Fault)
	case a.Drip > 0:
		e.drip(status, header, body, a.Drip)
	default:
		e.respond(status, header, body)
	}
}

// fault does to the connection what f says.
func (e *exchange) fault(f Fault) {
	c := e.conn
	switch f {
	case CloseConnection:
		c.kill()
	case ResetStream:
		c.reset(e.stream, http2.ErrCodeInternal)
	case RefuseStream:
		c.reset(e.stream, http2.ErrCodeRefusedStream)
	case GoAwayBefore:
		c.done(e.stream)
		c.goAway(max(e.stream, 2)-2, "")
	case GoAwayCovering:
		c.goAway(e.stream, "")
		c.kill()
	case FreezeConnection:
		c.gate.freeze(true)
	case StopReading:
		c.gate.deafen(true)
	case Garbage:
		c.out(func() error {
			_, err := c.write.WriteString("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			return err
		})
		c.kill()
	case NoFault, Silence, HalfAnswer, CutAnswer:
	}
}

func (c *conn) reset(stream uint32, code http2.ErrCode) {
	c.done(stream)
	c.out(func() error { return c.framer.WriteRSTStream(stream, code) })
}

// goAway says goodbye; streams above last have not been looked at.
func (c *conn) goAway(last uint32, debug string) {
	c.mu.Lock()
	c.leaving = true
	idle := c.active == 0
	c.mu.Unlock()
	c.out(func() error { return c.framer.WriteGoAway(last, http2.ErrCodeNo, []byte(debug)) })
	if idle {
		c.kill()
	}
}

func (c *conn) lastStream() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// later writes without flushing: the reading goroutine flushes when it runs
// out of input, so that a burst of answers leaves in one packet.
func (c *conn) later(write func() error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.framer == nil {
		return
	}
	if err := write(); err != nil {
		c.kill()
	}
}

func (c *conn) out(write func() error) {
	c.later(write)
	c.flush()
}

func (c *conn) flush() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.write == nil {
		return
	}
	if err := c.write.Flush(); err != nil {
		c.kill()
	}
}

// kill ends the connection under TLS, as a crash does: no goodbye.
func (c *conn) kill() { _ = c.gate.Close() }
