package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// weather is how the line between phones and the server is.
type weather struct {
	// Mode is one of the modes below.
	Mode string `json:"mode"`
	// Status is what "error" answers; 0 is 500.
	Status int `json:"status,omitempty"`
	// RetryAfter is the header of "error", in seconds; 0 is none.
	RetryAfter int `json:"retry_after,omitempty"`
	// Path is what the path of a request has to begin with; "" is any. A line that
	// is down has no paths.
	Path string `json:"path,omitempty"`
	// Times is how many requests meet it, after which the line is up; 0 is all
	// until it is changed.
	Times int `json:"times,omitempty"`
}

// The modes of a line.
const (
	lineUp     = "up"     // requests and answers pass
	lineDown   = "down"   // nobody listens, and what was open is cut
	lineSilent = "silent" // requests are taken, and never answered
	lineError  = "error"  // what is in front of the server answers with a page of its own
	lineLost   = "lost"   // the server does it, and its answer is lost
)

func (w weather) check() error {
	switch w.Mode {
	case lineUp, lineDown, lineSilent, lineError, lineLost:
	default:
		return fmt.Errorf("mode: %q is none of up, down, silent, error, lost", w.Mode)
	}
	if w.Status != 0 && (w.Status < 400 || w.Status > 599) {
		return fmt.Errorf("status: %d is outside 400 to 599", w.Status)
	}
	if w.RetryAfter < 0 || w.Times < 0 {
		return errors.New("retry_after and times are not negative")
	}
	if w.Mode == lineDown && (w.Path != "" || w.Times != 0) {
		return errors.New("a line that is down is so for all: leave path and times out")
	}
	return nil
}

// line is what phones reach the server through: HTTP/1.1 and HTTP/2 in the
// clear, on one port that stays the same while the line is down.
type line struct {
	address string
	proxy   *httputil.ReverseProxy

	mu      sync.Mutex
	weather weather
	changed chan struct{} // closed when the weather changes: the silent ones end
	server  *http.Server  // nil while it is down
	done    chan struct{} // closed when the server has ended
}

// openLine listens on a free port of loopback and leads to the server, which
// may come later.
func openLine(ctx context.Context) (*line, error) {
	l := &line{weather: weather{Mode: lineUp}, changed: make(chan struct{})}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the line: %w", err)
	}
	l.address = listener.Addr().String()
	l.serve(listener)
	return l, nil
}

// URL is where phones find the server.
func (l *line) URL() string { return "http://" + l.address }

// lead tells the line where the server listens, host:port.
func (l *line) lead(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.Out.Host = r.In.Host // links are made of it
		},
		Transport:     newTrunk(),
		FlushInterval: -1, // streams
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			hangUp() // what the server does not answer is not answered
		},
	}
}

// trunk carries HTTP/2 as HTTP/2, which gRPC needs, and the rest as HTTP/1.1.
type trunk struct{ one, two http.Transport }

func newTrunk() *trunk {
	t := &trunk{}
	t.two.Protocols = new(http.Protocols)
	t.two.Protocols.SetUnencryptedHTTP2(true)
	return t
}

// RoundTrip implements [http.RoundTripper].
func (t *trunk) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		return t.two.RoundTrip(r)
	}
	return t.one.RoundTrip(r)
}

// set changes the weather.
func (l *line) set(ctx context.Context, w weather) error {
	if err := w.check(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weather = w
	close(l.changed)
	l.changed = make(chan struct{})
	switch {
	case w.Mode == lineDown && l.server != nil:
		l.cut()
	case w.Mode != lineDown && l.server == nil:
		var listen net.ListenConfig
		listener, err := listen.Listen(ctx, "tcp", l.address)
		if err != nil {
			return fmt.Errorf("open the line again: %w", err)
		}
		l.serve(listener)
	}
	return nil
}

// close ends the line.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server != nil {
		l.cut()
	}
}

// cut is called with the lock held.
func (l *line) cut() {
	_ = l.server.Close()
	<-l.done
	l.server = nil
}

func (l *line) serve(listener net.Listener) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: l, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	l.server, l.done = server, done
	go func() { // ends when the server is closed
		defer close(done)
		_ = server.Serve(listener) // always an error: it was closed
	}()
}

// next is the weather that a request meets, and the end of it.
func (l *line) next(path string) (weather, *httputil.ReverseProxy, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.weather
	if !strings.HasPrefix(path, w.Path) {
		return weather{Mode: lineUp}, l.proxy, l.changed
	}
	if w.Times > 0 {
		l.weather.Times--
		if l.weather.Times == 0 {
			l.weather = weather{Mode: lineUp}
		}
	}
	return w, l.proxy, l.changed
}

// ServeHTTP implements [http.Handler].
func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now, proxy, changed := l.next(r.URL.Path)
	if proxy == nil {
		hangUp() // no server yet
	}
	switch now.Mode {
	case lineSilent:
		select {
		case <-r.Context().Done():
		case <-changed:
		}
		hangUp()
	case lineError:
		status := now.Status
		if status == 0 {
			status = http.StatusInternalServerError
		}
		if now.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(now.RetryAfter))
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<html><body><h1>%d %s</h1></body></html>\n", status, http.StatusText(status)) // whoever has gone needs no answer
	case lineLost:
		proxy.ServeHTTP(&nowhere{header: http.Header{}}, r)
		hangUp()
	default:
		proxy.ServeHTTP(w, r)
	}
}

// nowhere takes an answer that nobody gets.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Flush()                      {}

// hangUp ends a connection without an answer.
func hangUp() {
	panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told
}
