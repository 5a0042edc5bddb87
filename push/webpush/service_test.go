package webpush

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
)

// TestCase45_NameThatLeadsInside: a push service whose name leads into the house,
// since somebody changed what it resolves to after it was registered, is never
// connected to; the subscription is kept, and an operator is told, as it is the
// resolver that is at fault.
func TestCase45_NameThatLeadsInside(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reached := make(chan struct{}, 8)
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				close(reached)
				return
			}
			reached <- struct{}{}
			_ = c.Close()
		}
	}()
	s := newService("google", nil, &tls.Config{MinVersion: tls.VersionTLS12}, func(string) {})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "[::ffff:127.0.0.1]"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+":"+port+"/x", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		res, via, err := s.roundTrip(r)
		if err == nil {
			_ = res.Body.Close()
			t.Fatalf("%s answered", host)
		}
		if o := s.outcome(err, via); o.Class != push.RetryLater || o.Reason != "AddressInside" || o.Unknown || o.Alert == "" {
			t.Errorf("%s: %+v (%v), want nothing sent, the subscription kept, and somebody told", host, o, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range reached {
		t.Error("a connection into the house was made")
	}
}

// A service that takes our token for others has nothing against the token: what
// one browser's endpoint answers stops nobody else, until there are several.
func TestOneRefusedEndpointIsNotTheKey(t *testing.T) {
	s := newService("google", nil, &tls.Config{MinVersion: tls.VersionTLS12}, func(string) {})
	if s.refusesOnly("a") {
		t.Error("a service that has never taken the token is believed to have something against one endpoint")
	}
	s.accepts()
	for _, c := range []struct {
		endpoint push.Token
		alone    bool
	}{{"a", true}, {"a", true}, {"b", true}, {"a", true}, {"c", false}, {"a", false}, {"d", false}} {
		if got := s.refusesOnly(c.endpoint); got != c.alone {
			t.Errorf("%s: blamed alone %t, want %t", c.endpoint, got, c.alone)
		}
	}
	if n := len(s.refused); n > refusedAlone+1 {
		t.Errorf("%d endpoints are remembered", n)
	}
	s.accepts()
	if !s.refusesOnly("d") {
		t.Error("a success did not end the doubt")
	}
}
