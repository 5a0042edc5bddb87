package egress

import (
	"errors"
	"net/netip"
	"testing"
)

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2a00:1450:4001:82b::200a": true, "::ffff:8.8.8.8": true, "64:ff9b::808:808": true,
		"127.0.0.1": false, "10.1.2.3": false, "192.168.1.1": false, "172.16.0.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "255.255.255.255": false, "224.0.0.1": false, "192.0.2.1": false,
		"::1": false, "::": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "ff02::1": false, "2001:db8::1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false,
		"64:ff9b:1::808:808": false, "2002:7f00:1::": false, "::127.0.0.1": false, "::ffff:0:7f00:1": false, "3fff::1": false, "4000::1": false,
	} {
		if got := Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("Public(%s) = %t, want %t", address, got, want)
		}
	}
}

func TestControl(t *testing.T) {
	guard := Control(netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.1/32"))
	for address, open := range map[string]bool{
		"8.8.8.8:443": true, "10.1.2.3:443": true, "10.2.2.3:443": false, "127.0.0.1:80": true, "127.0.0.2:80": false,
		"[::ffff:10.1.2.3]:443": true, "[64:ff9b::a01:203]:443": true, "[64:ff9b::a02:203]:443": false, "[fe80::1%eth0]:443": false,
		"push.example:443": false, "": false,
	} {
		err := guard("tcp", address, nil)
		if _, refused := errors.AsType[*RefusedError](err); refused == open || (err == nil) != open {
			t.Errorf("%q: %v, want it open %t", address, err, open)
		}
	}
}

// FuzzPublic holds Public to what must be so of every address: what leads to
// this machine is never public, in whatever form it is written.
func FuzzPublic(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add(netip.MustParseAddr("64:ff9b::7f00:1").AsSlice())
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if Public(ip) && (ip.Unmap().IsLoopback() || ip.Unmap().IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()) {
			t.Errorf("%v counts as public", ip)
		}
		if ip.Is4() {
			in := ip.As4()
			behind := netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 12: in[0], 13: in[1], 14: in[2], 15: in[3]})
			for _, form := range []netip.Addr{netip.AddrFrom16(ip.As16()), behind} {
				if Public(form) != Public(ip) {
					t.Errorf("%v counts otherwise than %v", form, ip)
				}
			}
		}
	})
}
