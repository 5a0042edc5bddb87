package app

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// channels returns the ways of reaching people that are no push.
func channels(c config.Config, now func() time.Time, d *directory.Directory) (map[roster.MethodKind]notify.Channel, error) {
	allow := make([]netip.Prefix, len(c.Webhooks.Allow))
	for i, text := range c.Webhooks.Allow {
		var err error
		if allow[i], err = config.ParsePrefix(text); err != nil {
			return nil, fmt.Errorf("webhooks.allow[%d]: %w", i, err)
		}
	}
	all := map[roster.MethodKind]notify.Channel{
		roster.Webhook: notify.NewWebhooks(notify.WebhookConfig{Allow: allow, Plain: c.Webhooks.Plain, Unseal: unsealer(d), Now: now}),
	}
	if c.SMTP.Host == "" {
		return all, nil
	}
	mail, err := newMail(c.SMTP)
	if err != nil {
		return nil, err
	}
	all[roster.Email] = mail
	return all, nil
}

// unsealer opens the signing secret of a webhook. It is bound to the method
// that it belongs to, which is found by the sealed form: no two are the same.
func unsealer(d *directory.Directory) func(sealed []byte) ([]byte, error) {
	return func(sealed []byte) ([]byte, error) {
		for u := range d.Snapshot().Users() {
			for _, m := range u.Methods {
				if m.Kind == roster.Webhook && bytes.Equal(m.Secret, sealed) {
					return d.OpenSecret(u.ID, m)
				}
			}
		}
		return nil, errors.New("the method is gone")
	}
}

func newMail(c config.SMTP) (*notify.Mail, error) {
	conf := notify.MailConfig{
		Host: c.Host, Port: c.Port, Security: notify.MailSecurity(c.Security), Username: c.Username, Password: c.Password,
		From: c.From, Hello: c.Hello,
	}
	if c.PasswordFile != "" {
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read smtp.password_file: %w", err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		conf.Password = strings.TrimRight(line, "\r")
	}
	var err error
	if conf.TLS, err = rootsOf(c.CAFile, "smtp.ca_file"); err != nil {
		return nil, err
	}
	return notify.NewMail(conf)
}

// rootsOf returns TLS settings that trust the authority in the file, nil for no file.
func rootsOf(file, key string) (*tls.Config, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the system's roots
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", cmp.Or(key, file), err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in PEM form in it", key)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
