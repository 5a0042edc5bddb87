package notify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// postOffice is a mail server that can be told to refuse.
type postOffice struct {
	mu       sync.Mutex
	letters  []string
	rcptErr  error
	dataErr  error
	secure   bool // the last conversation was encrypted
	user     string
	host     string
	port     int
	roots    *x509.CertPool
	requires bool // authentication
}

func openPostOffice(t *testing.T, implicit bool) *postOffice {
	t.Helper()
	cert, roots := certificate(t)
	p := &postOffice{roots: roots, host: "127.0.0.1"}
	server := smtp.NewServer(p)
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	server.AllowInsecureAuth = true
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.port = l.Addr().(*net.TCPAddr).Port
	if implicit {
		l = tls.NewListener(l, server.TLSConfig)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
	return p
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "post office"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func (p *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, p.secure = c.TLSConnectionState()
	return &counter{office: p, conn: c}, nil
}

// counter is one conversation.
type counter struct {
	office *postOffice
	conn   *smtp.Conn
	signed bool
}

func (c *counter) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "secret" {
			return errors.New("wrong password")
		}
		c.office.mu.Lock()
		defer c.office.mu.Unlock()
		c.office.user, c.signed = user, true
		return nil
	}), nil
}

func (c *counter) Mail(string, *smtp.MailOptions) error {
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	_, c.office.secure = c.conn.TLSConnectionState()
	if c.office.requires && !c.signed {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (c *counter) Rcpt(string, *smtp.RcptOptions) error {
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	return c.office.rcptErr
}

func (c *counter) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	if c.office.dataErr != nil {
		return c.office.dataErr
	}
	c.office.letters = append(c.office.letters, string(text))
	return nil
}

func (c *counter) Reset()        {}
func (c *counter) Logout() error { return nil }

func (p *postOffice) mail(t *testing.T, security MailSecurity, change func(*MailConfig)) *Mail {
	t.Helper()
	c := MailConfig{
		Host: p.host, Port: p.port, Security: security, From: "tocsin <tocsin@example.org>",
		TLS: &tls.Config{RootCAs: p.roots, MinVersion: tls.VersionTLS12},
	}
	if change != nil {
		change(&c)
	}
	m, err := NewMail(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func letter() Message {
	return Message{
		ID: "0a8b8ad8-0f2d-8a67-8b1a-2c1f5e0d9f11", To: "ann@example.org", Kind: "page", Subject: "Critical: Zahlungsdienst fällt aus",
		Lines: []string{"First line", "Zweite Zeile: é"}, Link: "https://tocsin.example/i/1", Thread: "inc-1",
		At: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC),
	}
}

func TestMailArrives(t *testing.T) {
	for _, c := range []struct {
		security         MailSecurity
		implicit, secure bool
	}{{MailStartTLS, false, true}, {MailTLS, true, true}, {MailPlain, false, false}} {
		t.Run(string(c.security), func(t *testing.T) {
			p := openPostOffice(t, c.implicit)
			m := p.mail(t, c.security, nil)
			if err := m.Check(t.Context()); err != nil {
				t.Fatalf("Check = %v", err)
			}
			answer, err := m.Send(t.Context(), letter())
			if err != nil || answer.ID != "0a8b8ad8-0f2d-8a67-8b1a-2c1f5e0d9f11@example.org" {
				t.Fatalf("Send = %+v, %v; want the message's id", answer, err)
			}
			if len(p.letters) != 1 || p.secure != c.secure {
				t.Fatalf("letters %d, encrypted %v; want 1, %v", len(p.letters), p.secure, c.secure)
			}
			checkLetter(t, p.letters[0])
		})
	}
}

func checkLetter(t *testing.T, text string) {
	t.Helper()
	got, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("the letter is no mail: %v\n%s", err, text)
	}
	for name, want := range map[string]string{
		"Message-Id": "<0a8b8ad8-0f2d-8a67-8b1a-2c1f5e0d9f11@example.org>", "References": "<inc-1@example.org>",
		"In-Reply-To": "<inc-1@example.org>", "Auto-Submitted": "auto-generated", "To": "<ann@example.org>",
		"X-Auto-Response-Suppress": "All", "Date": "Wed, 01 Jul 2026 12:00:00 +0000",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, got.Header.Get(name), want)
		}
	}
	body, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Contains(body, []byte("https://tocsin.example/i/1")) || !bytes.Contains(body, []byte("First line\r\n")) {
		t.Errorf("body = %q, %v; want the lines and the link", body, err)
	}
}

func TestMailRefusals(t *testing.T) {
	code := func(n int, class smtp.EnhancedCode, s string) error {
		return &smtp.SMTPError{Code: n, EnhancedCode: class, Message: s}
	}
	for _, c := range []struct {
		name             string
		rcpt, data       error
		refused, address bool
	}{
		{"no such user", code(550, smtp.EnhancedCode{5, 1, 1}, "no such user"), nil, true, true},
		{"mailbox busy", code(450, smtp.EnhancedCode{4, 2, 1}, "busy"), nil, false, false},
		{"unwanted content", nil, code(554, smtp.EnhancedCode{5, 7, 1}, "spam"), true, false},
		{"disk full there", nil, code(452, smtp.EnhancedCode{4, 3, 1}, "full"), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openPostOffice(t, false)
			p.rcptErr, p.dataErr = c.rcpt, c.data
			_, err := p.mail(t, MailStartTLS, nil).Send(t.Context(), letter())
			refused, ok := errors.AsType[*RefusedError](err)
			if err == nil || ok != c.refused || (ok && refused.Address != c.address) {
				t.Errorf("Send = %v, want it final: %v, the address dead: %v", err, c.refused, c.address)
			}
		})
	}
}

func TestMailSignsIn(t *testing.T) {
	p := openPostOffice(t, false)
	p.requires = true
	m := p.mail(t, MailStartTLS, func(c *MailConfig) { c.Username, c.Password = "tocsin", "secret" })
	if _, err := m.Send(t.Context(), letter()); err != nil || p.user != "tocsin" {
		t.Errorf("Send = %v, signed in as %q; want it taken from tocsin", err, p.user)
	}
	wrong := p.mail(t, MailStartTLS, func(c *MailConfig) { c.Username, c.Password = "tocsin", "guess" })
	_, err := wrong.Send(t.Context(), letter())
	if _, final := errors.AsType[*RefusedError](err); err == nil || final {
		t.Errorf("Send with a wrong password = %v, want an error that is tried again: the address is not at fault", err)
	}
}

func TestMailInsistsOnTLS(t *testing.T) {
	p := openPostOffice(t, false)
	foreign := p.mail(t, MailStartTLS, func(c *MailConfig) { c.TLS = nil }) // the system's roots do not know the server
	if _, err := foreign.Send(t.Context(), letter()); err == nil || len(p.letters) > 0 {
		t.Errorf("Send to an unknown server = %v, letters %d; want it refused", err, len(p.letters))
	}
}

func TestMailEndsWithItsContext(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts nobody: the greeting never comes
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, err := NewMail(MailConfig{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: MailPlain, From: "t@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := m.Send(ctx, letter()); err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("Send = %v after %v, want an error soon", err, time.Since(begin))
	}
}

func TestMailConfig(t *testing.T) {
	for name, c := range map[string]MailConfig{
		"no sender":        {Host: "mail.example.org"},
		"no host":          {From: "t@example.org"},
		"unknown security": {Host: "mail.example.org", From: "t@example.org", Security: "ssl3"},
	} {
		if _, err := NewMail(c); err == nil {
			t.Errorf("%s: NewMail = nil, want an error", name)
		}
	}
	if _, err := NewMail(MailConfig{Host: "mail.example.org", From: "t@example.org"}); err != nil {
		t.Errorf("host and sender alone: %v, want it to do", err)
	}
}
