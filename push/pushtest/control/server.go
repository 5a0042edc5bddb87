package control

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

//go:embed page
var page embed.FS

// Simulator is what all simulators of pushtest can do.
type Simulator interface {
	URL() string
	CA() []byte
	Script(token string, answers ...pushtest.Answer)
	ScriptAny(answers ...pushtest.Answer)
	Always(token string, a pushtest.Answer)
	Heal(token string)
	ForgetScripts()
	Requests() []pushtest.Request
	RequestsSince(number, limit int) ([]pushtest.Request, <-chan struct{})
	Count() int
	Forget()
	Connections() (opened, open, mostInFlight int)
	InFlight() int
	MaxStreams(n uint32)
	Streams() uint32
	GoAway(debug string)
	IgnorePings(on bool)
	Down(on bool)
	Freeze(on bool)
	Cut()
	SetLatency(d time.Duration)
	Latency() time.Duration
	SetSkew(d time.Duration)
	Skew() time.Duration
	SetWeather(w pushtest.Weather) error
	Weather() pushtest.Weather
	Tokens() []pushtest.Registration
}

// Options describe the control of one simulator.
type Options struct {
	// Simulator is an *pushtest.APNs, *pushtest.FCM or *pushtest.WebPush.
	Simulator Simulator
	// App is the bundle id or package that phones get when none is asked for;
	// empty is "com.example.oncall".
	App string
	// Phones are phones that were made in Go, to be shown and changed, too. They
	// stay the caller's to close.
	Phones []*pushtest.Phone
	// OnPush is told of everything that arrives on phones that were made here.
	OnPush func(pushtest.Notification)
}

// Control is the API and the page of one simulator. It is an [http.Handler].
type Control struct {
	sim     Simulator
	service string
	app     string
	onPush  func(pushtest.Notification)
	handler http.Handler
	quit    chan struct{}

	mu     sync.Mutex
	phones []*owned
	down   bool
	mute   bool
	closed bool
}

// owned is a phone, with what has to be closed with it.
type owned struct {
	*pushtest.Phone
	mine bool
}

// New makes the control of a simulator. Close it before the simulator.
func New(o Options) (*Control, error) {
	c := &Control{sim: o.Simulator, app: o.App, onPush: o.OnPush, quit: make(chan struct{})}
	switch o.Simulator.(type) {
	case *pushtest.APNs:
		c.service = "apns"
	case *pushtest.FCM:
		c.service = "fcm"
	case *pushtest.WebPush:
		c.service = "webpush"
	default:
		return nil, fmt.Errorf("control: %T is no simulator of pushtest", o.Simulator)
	}
	if c.app == "" {
		c.app = "com.example.oncall"
	}
	for _, p := range o.Phones {
		c.phones = append(c.phones, &owned{Phone: p})
	}
	static, err := fs.Sub(page, "page")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	c.routes(mux)
	mux.Handle("/", http.FileServerFS(static))
	c.handler = guard(http.NewCrossOriginProtection().Handler(mux))
	return c, nil
}

// ServeHTTP implements http.Handler.
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Close switches off the phones that were made here, and ends calls that wait.
func (c *Control) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	phones := c.phones
	c.phones = nil
	c.mu.Unlock()
	close(c.quit)
	for _, p := range phones {
		p.off()
	}
}

// off switches a phone off, unless it is somebody else's.
func (p *owned) off() {
	if !p.mine {
		return
	}
	p.Close()
	if a := p.Agent(); a != nil {
		a.Close()
	}
}

// guard lets in what is addressed to this machine: a name that another site
// has pointed at loopback is no way in. Bodies have to be JSON, which no form
// of another site can send.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case !loopback(r.Host):
			fail(w, http.StatusForbidden, fmt.Errorf("the host %q is not this machine: use the address that was printed", r.Host))
		case r.ContentLength != 0 && r.Method != http.MethodGet && kind != "application/json":
			fail(w, http.StatusUnsupportedMediaType, errors.New("send JSON: the header Content-Type has to be application/json"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// loopback tells whether a host, perhaps with a port, is this machine.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Server is a Control that listens.
type Server struct {
	*Control
	listener net.Listener
	server   *http.Server
	done     chan struct{}
}

// Start listens on a loopback address, as 127.0.0.1:7480; port 0 is a free one.
func Start(address string, o Options) (*Server, error) {
	if !loopback(address) || !strings.Contains(address, ":") {
		return nil, fmt.Errorf("control on %q: it asks nobody who they are, so it takes only loopback addresses with a port, as 127.0.0.1:7480", address)
	}
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address) //nolint:noctx // a listener has no deadline
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	s := &Server{Control: c, listener: l, server: &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}, done: make(chan struct{})}
	go func() { // ends in Close, which waits for it
		defer close(s.done)
		_ = s.server.Serve(l) // always an error: the listener was closed
	}()
	return s, nil
}

// URL is where the page is, http on loopback.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close ends the control, and switches off the phones that were made there.
func (s *Server) Close() {
	s.Control.Close()
	_ = s.server.Close()
	<-s.done
}
