package demo

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const maxMail = 1 << 20

// letter is one e-mail as it arrived.
type letter struct {
	at      time.Time
	to      []string
	subject string
	text    string
}

// mailbox is a mail server that keeps nothing but tells what arrives.
type mailbox struct {
	server *smtp.Server
	port   int
	done   sync.WaitGroup
}

// openMailbox listens on a free loopback port.
func openMailbox(arrived func(letter)) (*mailbox, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // listening is done at once
	if err != nil {
		return nil, fmt.Errorf("open the mailbox: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("open the mailbox: %s is no TCP address", listener.Addr())
	}
	m := &mailbox{port: address.Port}
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &mailSession{arrived: arrived}, nil
	}))
	m.server.Domain = "localhost"
	m.server.ReadTimeout, m.server.WriteTimeout = time.Minute, time.Minute
	m.server.MaxMessageBytes = maxMail
	m.server.ErrorLog = quiet{}
	m.done.Go(func() { _ = m.server.Serve(listener) }) // until close
	return m, nil
}

func (m *mailbox) close() {
	_ = m.server.Close()
	m.done.Wait()
}

// quiet is a log that nobody reads: a client that is killed in mid-sentence is part of the demo.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// mailSession is one conversation.
type mailSession struct {
	arrived func(letter)
	to      []string
}

func (s *mailSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	l, err := readLetter(r)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: err.Error()}
	}
	l.at, l.to = time.Now(), s.to
	s.arrived(l)
	return nil
}

func (s *mailSession) Reset()        { s.to = nil }
func (s *mailSession) Logout() error { return nil }

// readLetter takes subject and plain text out of a message (RFC 5322, RFC 2045).
func readLetter(r io.Reader) (letter, error) {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return letter{}, fmt.Errorf("read the message: %w", err)
	}
	l := letter{subject: m.Header.Get("Subject")}
	if s, err := new(mime.WordDecoder).DecodeHeader(l.subject); err == nil {
		l.subject = s
	}
	l.text, err = plainText(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
	return l, err
}

// plainText is the first text/plain part.
func plainText(contentType, encoding string, body io.Reader) (string, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") {
		for parts := multipart.NewReader(body, params["boundary"]); ; {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return "", nil
			} else if err != nil {
				return "", fmt.Errorf("read a part of the message: %w", err)
			}
			text, err := plainText(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part)
			if err != nil || text != "" {
				return text, err
			}
		}
	}
	if kind != "text/plain" {
		return "", nil
	}
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return "", fmt.Errorf("read the text of the message: %w", err)
	}
	return string(text), nil
}
