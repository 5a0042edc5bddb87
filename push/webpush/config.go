package webpush

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/loopback"
)

// Config is one web app and the key that push services know it by.
type Config struct {
	App       string   // the id that devices and metrics name it by
	Key       []byte   // the VAPID key pair's file, see [ParseKey]
	PublicKey string   // the public half in base64url, to be compared; empty takes what Key has
	Subject   string   // whom a push service writes to: mailto: and an address, or an https URL
	AppURL    string   // https URL of the web app, where a tap leads, for example https://oncall.example.com/app/
	Hosts     []string // push services beside those of the known browsers: names, or "*." and a domain

	TestEndpoint *TestEndpoint // a simulator instead of all push services; only on loopback

	Metrics *push.Metrics
	Log     *slog.Logger     // nil is silence
	Now     func() time.Time // nil is time.Now
}

// TestEndpoint is where a simulator stands in for the push services: every
// connection goes there, whatever name the endpoint has. Endpoints on the
// simulator's own address are allowed too.
type TestEndpoint struct {
	URL string // https on a loopback address
	CA  []byte // certificate authority that signed the simulator's certificate, PEM
}

// checked is a configuration that can be used.
type checked struct {
	key       *Key
	further   []host
	simulator *url.URL // nil at the real services
	trust     *tls.Config
}

// check reads the configuration, or says what is wrong and how to mend it.
func (c *Config) check() (ok checked, err error) {
	if c.App == "" {
		return ok, errors.New("the app has no id")
	}
	if ok.key, err = ParseKey(c.Key); err != nil {
		return ok, err
	}
	if c.PublicKey != "" {
		if err := ok.key.fits(c.PublicKey); err != nil {
			return ok, err
		}
	}
	if err := CheckSubject(c.Subject); err != nil {
		return ok, err
	}
	if _, err := ok.key.sign("https://push.example.com", c.Subject, c.Now()); err != nil {
		return ok, err
	}
	if ok.further, err = parseHosts(c.Hosts); err != nil {
		return ok, err
	}
	if err := CheckAppURL(c.AppURL); err != nil {
		return ok, err
	}
	ok.trust = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TestEndpoint != nil {
		if ok.simulator, err = loopback.Endpoint(c.TestEndpoint.URL); err != nil {
			return ok, err
		}
		if ok.trust, err = loopback.Trust(c.TestEndpoint.CA); err != nil {
			return ok, err
		}
	}
	return ok, nil
}

const maxAppURL = 512 // bytes

// CheckAppURL takes what a browser opens, and runs a service worker for: https,
// or this very machine. Without it, Apple's browsers show nothing.
func CheckAppURL(s string) error {
	if len(s) > maxAppURL {
		return fmt.Errorf("the app URL has %d bytes, the limit is %d: it is part of every notification", len(s), maxAppURL)
	}
	u, err := url.Parse(s)
	if err == nil && u.Scheme == "http" && local(u.Hostname()) {
		u.Scheme = "https" // a secure context all the same
	}
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Contains(s, "#") {
		return fmt.Errorf("the app URL %q is not the https:// URL of a web app, without a fragment: taps on notifications lead there", s)
	}
	return nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.Unmap().IsLoopback())
}

var (
	_ push.Parted   = (*Provider)(nil)
	_ push.Reporter = (*Provider)(nil)
)
