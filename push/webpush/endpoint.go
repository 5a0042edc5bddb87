package webpush

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/tocsin-oncall/tocsin/push"
)

const maxEndpoint = 2048 // bytes; the longest known are Microsoft's, some 600

// host is a push service that endpoints may be at.
type host struct {
	name   string // of the service, for people
	domain string
	subs   bool // names under the domain; else the domain itself
}

// known are the push services of browsers.
//
//nolint:gochecknoglobals // look-up table
var known = []host{
	apple,
	{name: "google", domain: "fcm.googleapis.com"},
	{name: "mozilla", domain: "updates.push.services.mozilla.com"},
	{name: "microsoft", domain: "notify.windows.com", subs: true},
}

var apple = host{name: "apple", domain: "push.apple.com", subs: true} //nolint:gochecknoglobals // look-up table

func (h *host) is(name string) bool {
	if h.subs {
		under, found := strings.CutSuffix(name, "."+h.domain)
		return found && under != ""
	}
	return name == h.domain
}

// parseHosts reads further push services: a host name, or "*." and a domain for
// all names under it.
func parseHosts(names []string) ([]host, error) {
	var all []host
	for _, n := range names {
		domain, subs := strings.CutPrefix(n, "*.")
		if !validName(domain) {
			return nil, fmt.Errorf("push service %q: write a host name such as push.example.com, or *.example.com for all under it", n)
		}
		all = append(all, host{name: domain, domain: domain, subs: subs})
	}
	return all, nil
}

// CheckHosts tells which of the further push services is none: each is a host
// name, or "*." and a domain for all names under it.
func CheckHosts(names ...string) error {
	_, err := parseHosts(names)
	return err
}

// validName is a host name of at least two labels, in lower case, and no address.
func validName(s string) bool {
	labels := strings.Split(s, ".")
	if len(s) > 253 || len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" // an IPv4 address has a number there
}

// CheckEndpoint tells whether a subscription's endpoint is one of a push
// service of browsers, or of the further hosts (a name, or "*." and a domain).
// The error says what is wrong with it. Nothing else may be asked to deliver:
// whoever registers an endpoint chooses where we connect to.
func CheckEndpoint(endpoint string, hosts ...string) error {
	further, err := parseHosts(hosts)
	if err != nil {
		return err
	}
	_, _, err = locate(endpoint, further)
	return err
}

// locate parses an endpoint and says which service it is at.
func locate(endpoint string, further []host) (*url.URL, *host, error) {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, nil, err
	}
	if u.Port() != "" && u.Port() != "443" {
		return nil, nil, fmt.Errorf("the endpoint's port is %s: push services are at 443", u.Port())
	}
	name := strings.ToLower(u.Hostname())
	for _, list := range [2][]host{known, further} {
		for i := range list {
			if list[i].is(name) {
				return u, &list[i], nil
			}
		}
	}
	return nil, nil, fmt.Errorf("the endpoint's host %.100q is no push service that is allowed: a browser's own are at %s; others have to be allowed in the configuration",
		u.Hostname(), "fcm.googleapis.com, updates.push.services.mozilla.com, *.notify.windows.com and *.push.apple.com")
}

// parseEndpoint is what holds for every endpoint, wherever it is.
func parseEndpoint(endpoint string) (*url.URL, error) {
	switch {
	case endpoint == "":
		return nil, errors.New("the endpoint is missing")
	case len(endpoint) > maxEndpoint:
		return nil, fmt.Errorf("the endpoint has %d bytes, the limit is %d", len(endpoint), maxEndpoint)
	}
	for i := range len(endpoint) {
		if endpoint[i] <= 0x20 || endpoint[i] > 0x7e || endpoint[i] == '\\' {
			return nil, errors.New("the endpoint has characters that no URL has")
		}
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return nil, errors.New("the endpoint is no URL")
	case u.Scheme != "https":
		return nil, fmt.Errorf("the endpoint's scheme is %.20q: push services are reached by https only", u.Scheme)
	case u.User != nil:
		return nil, errors.New("the endpoint has a user name in it")
	case strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("the endpoint has a colon but no port")
	case u.Host == "" || u.Opaque != "" || len(u.Path) < 2:
		return nil, errors.New("the endpoint has no host or no path")
	case u.Fragment != "" || strings.Contains(endpoint, "#"):
		return nil, errors.New("the endpoint has a fragment")
	}
	return u, nil
}

// CheckKeys tells what is wrong with the keys of a subscription.
func CheckKeys(k push.SubscriptionKeys) error {
	_, _, err := parseKeys(k)
	return err
}

func parseKeys(k push.SubscriptionKeys) (browser *ecdh.PublicKey, auth []byte, err error) {
	point, err := decode(k.P256dh)
	if err != nil {
		return nil, nil, errors.New("the subscription's p256dh is not in base64url")
	}
	if browser, err = ecdh.P256().NewPublicKey(point); err != nil {
		return nil, nil, fmt.Errorf("the subscription's p256dh is no uncompressed point of P-256 (it has %d bytes, wanted are 65)", len(point))
	}
	if auth, err = decode(k.Auth); err != nil || len(auth) != 16 {
		return nil, nil, fmt.Errorf("the subscription's auth is not 16 bytes in base64url (it has %d)", len(auth))
	}
	return browser, auth, nil
}
