package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// MailSecurity says how the connection to the mail server is protected.
type MailSecurity string

// The kinds of protection.
const (
	MailStartTLS MailSecurity = "starttls" // required, not tried: a page is no text for everybody
	MailTLS      MailSecurity = "tls"
	MailPlain    MailSecurity = "none"
)

// MailConfig is how mail leaves.
type MailConfig struct {
	Host     string
	Port     int // 0: 587, or 465 with TLS
	Security MailSecurity
	Username string // empty: no authentication
	Password string
	From     string      // address, with or without a name
	Hello    string      // name for HELO; empty: this host's
	TLS      *tls.Config // roots and minimum version; nil: the system's
}

// mailTimeout bounds one conversation with the mail server.
const mailTimeout = 15 * time.Second

// Mail sends over SMTP.
type Mail struct {
	host    string
	options []mail.Option
	watched bool // conversations end with their context; go-mail cannot for implicit TLS
	from    string
	domain  string // of Message-Ids
}

// NewMail returns the channel, or says what is wrong with its configuration.
// It does not connect.
func NewMail(c MailConfig) (*Mail, error) {
	m := mail.NewMsg()
	if err := m.From(c.From); err != nil {
		return nil, fmt.Errorf("mail: the sender %q is no address: %w", c.From, err)
	}
	options := []mail.Option{mail.WithTimeout(mailTimeout), mail.WithoutNoop(), mail.WithoutRset()}
	port := c.Port
	switch c.Security {
	case MailStartTLS, "":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
		if port == 0 {
			port = 587
		}
	case MailTLS:
		options = append(options, mail.WithSSL())
		if port == 0 {
			port = 465
		}
	case MailPlain:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
		if port == 0 {
			port = 25
		}
	default:
		return nil, fmt.Errorf("mail: security %q is not one of starttls, tls, none", c.Security)
	}
	options = append(options, mail.WithPort(port))
	if c.TLS != nil {
		tlsConfig := c.TLS.Clone()
		if tlsConfig.ServerName == "" {
			tlsConfig.ServerName = c.Host
		}
		options = append(options, mail.WithTLSConfig(tlsConfig))
	}
	if c.Username != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(c.Username), mail.WithPassword(c.Password))
	}
	if c.Hello != "" {
		options = append(options, mail.WithHELO(c.Hello))
	}
	if _, err := mail.NewClient(c.Host, options...); err != nil {
		return nil, fmt.Errorf("mail: server %s: %w", net.JoinHostPort(c.Host, strconv.Itoa(port)), err)
	}
	_, domain, _ := strings.Cut(m.GetFrom()[0].Address, "@")
	return &Mail{host: c.Host, options: options, watched: c.Security != MailTLS, from: c.From, domain: domain}, nil
}

// Check connects, greets and leaves again.
func (m *Mail) Check(ctx context.Context) error {
	return m.converse(ctx, nil)
}

// converse has one conversation with the server, and hands in the letter.
func (m *Mail) converse(ctx context.Context, letter *mail.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	options := append([]mail.Option{}, m.options...)
	if m.watched {
		options = append(options, mail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(dialing, network, address)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = conn.Close() }) // a server that is silent must not hold us
			}
			return conn, err
		}))
	}
	client, err := mail.NewClient(m.host, options...)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	c, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return fmt.Errorf("reach the mail server: %w", err)
	}
	if letter != nil {
		err = client.SendWithSMTPClient(c, letter)
	}
	_ = client.CloseWithSMTPClient(c) // the letter has gone or not: how the server parts changes nothing
	if err != nil {
		return mailFault(err)
	}
	return nil
}

// Send implements [Channel].
func (m *Mail) Send(ctx context.Context, msg Message) (Answer, error) {
	letter, err := m.letter(msg)
	if err != nil {
		return Answer{}, err
	}
	if err := m.converse(ctx, letter); err != nil {
		return Answer{}, err
	}
	return Answer{ID: m.messageID(msg.ID)}, nil
}

// mailFault sorts refusals for good (5xx, RFC 5321 4.2.1) from trouble.
func mailFault(err error) error {
	e, ok := errors.AsType[*mail.SendError](err)
	if !ok || e.IsTemp() || e.ErrorCode() < 500 {
		return fmt.Errorf("send mail: %w", err)
	}
	return &RefusedError{Reason: e.Error(), Address: e.Reason == mail.ErrSMTPRcptTo}
}

func (m *Mail) letter(msg Message) (*mail.Msg, error) {
	l := mail.NewMsg()
	if err := l.From(m.from); err != nil {
		return nil, &RefusedError{Reason: "sender: " + err.Error()}
	}
	if err := l.To(msg.To); err != nil {
		return nil, &RefusedError{Reason: "recipient: " + err.Error(), Address: true}
	}
	l.Subject(msg.Subject)
	l.SetMessageIDWithValue(m.messageID(msg.ID))
	l.SetDateWithValue(msg.At)
	if msg.Thread != "" { // the thread has a root that was never sent: clients group by it all the same
		root := "<" + m.messageID(msg.Thread) + ">"
		l.SetGenHeader(mail.HeaderReferences, root)
		l.SetGenHeader(mail.HeaderInReplyTo, root)
	}
	l.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no vacation answers
	l.SetGenHeader(mail.HeaderXAutoResponseSuppress, "All")
	if msg.Kind == "page" || msg.Kind == "summary" {
		l.SetImportance(mail.ImportanceHigh)
	}
	l.SetBodyString(mail.TypeTextPlain, mailBody(msg))
	return l, nil
}

// mailBody is the lines and the link. There is no link that acknowledges:
// scanners of mail follow every link they find.
func mailBody(msg Message) string {
	lines := msg.Lines
	if msg.Link != "" {
		lines = append(append([]string{}, lines...), "", msg.Link)
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

func (m *Mail) messageID(local string) string { return local + "@" + m.domain }
