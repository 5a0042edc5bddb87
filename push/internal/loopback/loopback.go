// Package loopback guards the endpoints that tests and the demo use instead
// of a vendor's: they must be on this machine, so that no configuration,
// however wrong, sends pages or credentials to a stranger.
package loopback

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
)

// Endpoint parses a base URL and refuses all but https on a loopback address
// (an address in digits, or "localhost").
func Endpoint(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("test endpoint: %w", err)
	}
	switch {
	case u.Scheme != "https":
		return nil, fmt.Errorf("test endpoint %q: the scheme must be https", raw)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("test endpoint %q: only scheme, host and port are wanted", raw)
	case u.Hostname() == "localhost":
		return u, nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || !addr.Unmap().IsLoopback() {
		return nil, fmt.Errorf("test endpoint %q: the host must be a loopback address; a vendor's own address needs no endpoint", raw)
	}
	return u, nil
}

// Trust is a TLS configuration that trusts only the authorities in pem.
func Trust(pem []byte) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("test endpoint: the CA holds no certificate in PEM form")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
