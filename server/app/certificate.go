package app

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// certificate is the listener's, read again on demand. Connections that are
// open keep the one they began with.
type certificate struct {
	config config.TLS
	now    atomic.Pointer[tls.Certificate]
}

// load reads the files. What cannot be used leaves the old certificate in force.
func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.config.CertFile, c.config.KeyFile)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.config.CertFile, err)
	}
	c.now.Store(&pair)
	return nil
}

// settings returns the listener's TLS settings, nil when TLS is off.
func (c *certificate) settings() *tls.Config {
	if c.config.CertFile == "" {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}
