// Package egress keeps outgoing connections out of the house: an address that
// somebody else chose, such as a webhook or a browser's push endpoint, must
// not lead to this machine or to one beside it.
//
// [Control] looks at the address that is connected to, not at the name, so a
// name that resolves differently the second time gains nothing.
package egress

import (
	"net/netip"
	"syscall"
)

// RefusedError is that a connection was not made because of where it led.
type RefusedError struct {
	Address string // as it was to be connected to
}

func (e *RefusedError) Error() string { return "address " + e.Address + " is inside the house" }

// Control is for [net.Dialer]: it refuses, with a [RefusedError], every
// address that is not [Public], except those in allow.
func Control(allow ...netip.Prefix) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return &RefusedError{Address: address}
		}
		ip := plain(at.Addr())
		for _, p := range allow {
			if p.Contains(ip) {
				return nil
			}
		}
		if !Public(ip) {
			return &RefusedError{Address: ip.String()}
		}
		return nil
	}
}

// Public tells whether an address is one of the open Internet. An IPv4 address
// inside an IPv6 one, mapped or behind NAT64, counts as itself.
func Public(ip netip.Addr) bool {
	ip = plain(ip)
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || (ip.Is6() && !global.Contains(ip)) {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// plain takes the IPv4 address out of its IPv6 form: mapped (RFC 4291), or
// under the well-known prefix of NAT64 (RFC 6052).
func plain(ip netip.Addr) netip.Addr {
	ip = ip.WithZone("").Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}

//nolint:gochecknoglobals // look-up tables
var (
	// global is all of IPv6 that is given to anybody (RFC 4291, 2.4). Outside are
	// forms of IPv4 addresses that nobody should use any more (::127.0.0.1).
	global = netip.MustParsePrefix("2000::/3")

	nat64 = netip.MustParsePrefix("64:ff9b::/96")

	// special are ranges that net/netip has no word for (IANA special-purpose registries).
	special = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b:1::/48"),
		netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("3fff::/20"),
		netip.MustParsePrefix("192.88.99.0/24"),
	}
)
