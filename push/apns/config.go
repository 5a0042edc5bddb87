package apns

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/h2"
	"github.com/tocsin-oncall/tocsin/push/internal/loopback"
)

// Apple's hosts.
const (
	hostProduction = "https://api.push.apple.com"
	hostSandbox    = "https://api.sandbox.push.apple.com"
)

// Config is one app in one environment.
type Config struct {
	App              string           // the id that devices and metrics name it by
	BundleID         string           // the app's bundle identifier, for example "com.example.oncall"
	Environment      push.Environment // empty is production
	TeamID           string           // ten characters, from the developer account
	KeyID            string           // ten characters, the name of the key
	Key              []byte           // the .p8 file as downloaded
	CriticalEntitled bool             // Apple granted the app the critical alerts entitlement

	Connections  int           // kept open; 0 is 2, the most is 4
	TestEndpoint *TestEndpoint // a simulator instead of Apple; only on loopback

	Keyring *Keyring // shared by the apps of a process; nil: this one is alone
	Metrics *push.Metrics
	Log     *slog.Logger     // nil is silence
	Now     func() time.Time // nil is time.Now
}

// TestEndpoint is where a simulator stands in for Apple.
type TestEndpoint struct {
	URL string // https on a loopback address
	CA  []byte // certificate authority that signed the simulator's certificate, PEM
}

var (
	bundlePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,154}$`)
	tenPattern    = regexp.MustCompile(`^[A-Z0-9]{10}$`)
)

// endpoint is where the connections go and whom they trust.
func (c *Config) endpoint() (*url.URL, *tls.Config, error) {
	if c.TestEndpoint != nil {
		u, err := loopback.Endpoint(c.TestEndpoint.URL)
		if err != nil {
			return nil, nil, err
		}
		trust, err := loopback.Trust(c.TestEndpoint.CA)
		if err != nil {
			return nil, nil, err
		}
		trust.ServerName = u.Hostname()
		return u, trust, nil
	}
	host := hostProduction
	if c.Environment == push.Sandbox {
		host = hostSandbox
	}
	u, err := url.Parse(host)
	if err != nil {
		return nil, nil, err
	}
	return u, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}, nil
}

func (c *Config) validate() error {
	switch {
	case !bundlePattern.MatchString(c.BundleID):
		return fmt.Errorf("bundle id %q: letters, digits, dots and hyphens are wanted, for example com.example.oncall", c.BundleID)
	case !tenPattern.MatchString(c.TeamID):
		return fmt.Errorf("team id %q: ten capital letters and digits are wanted; the developer account's membership page shows it", c.TeamID)
	case !tenPattern.MatchString(c.KeyID):
		return fmt.Errorf("key id %q: ten capital letters and digits are wanted; they are in the name of the .p8 file", c.KeyID)
	case c.Environment != "" && c.Environment != push.Production && c.Environment != push.Sandbox:
		return fmt.Errorf("environment %q: production or sandbox is wanted", c.Environment)
	case c.Connections < 0 || c.Connections > h2.MaxLanes:
		return fmt.Errorf("connections %d: 0 to %d are wanted", c.Connections, h2.MaxLanes)
	case c.App == "":
		return errors.New("the app has no id")
	}
	return nil
}
