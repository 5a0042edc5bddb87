package world

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// mailer is a mail server that counts letters, and can be silent or refuse.
type mailer struct {
	server  *smtp.Server
	port    int
	arrived func()
	mute    atomic.Bool
	refuse  atomic.Bool
	ended   chan struct{}
	serving sync.WaitGroup
}

func openMailer(arrived func()) (*mailer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // listening is done at once
	if err != nil {
		return nil, fmt.Errorf("open the mail server: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("open the mail server: %s is no TCP address", listener.Addr())
	}
	m := &mailer{port: address.Port, arrived: arrived, ended: make(chan struct{})}
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &letter{m}, nil }))
	m.server.Domain = "localhost"
	m.server.ReadTimeout, m.server.WriteTimeout = time.Minute, time.Minute
	m.server.ErrorLog = unread{}
	m.serving.Go(func() { _ = m.server.Serve(listener) }) // until close
	return m, nil
}

func (m *mailer) close() {
	close(m.ended)
	_ = m.server.Close()
	m.serving.Wait()
}

// unread is a log that nobody reads: clients that are killed in mid-sentence are what the run is about.
type unread struct{}

func (unread) Printf(string, ...any) {}
func (unread) Println(...any)        {}

// letter is one conversation.
type letter struct{ m *mailer }

func (l *letter) Mail(string, *smtp.MailOptions) error {
	if l.m.refuse.Load() {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "try again later"}
	}
	for l.m.mute.Load() { // nothing is said until it may be, or the server goes
		select {
		case <-l.m.ended:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (l *letter) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (l *letter) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	l.m.arrived()
	return nil
}

func (l *letter) Reset()        {}
func (l *letter) Logout() error { return nil }
