package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// TestRedisOutage kills Redis under a server: events are refused, readiness is
// gone, the administrator's phone rings all the same, and when Redis is back so
// is everything else, without anybody's help.
func TestRedisOutage(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	w := newWorld(t, redis.URL())
	in := w.start(func(o *Options) { o.Config.OutOfBand.After = 500 * time.Millisecond })
	in.apply(organisation)
	cy := in.bring(w, "cy", pb.Device_PLATFORM_IOS)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	in.send("trigger", "before", "disk full")
	gets(t, ann.Phone, "the page", page)

	redis.Kill(t)
	n := gets(t, cy.Phone, "word of the outage", page)
	if !n.Critical || !strings.Contains(n.Title, "Redis") {
		t.Errorf("the administrator is told %q (critical %t), want a critical page about Redis", n.Title, n.Critical)
	}
	if status, body := in.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("without Redis /readyz answers %d %s, want 503", status, body)
	}
	if status, _ := in.get("/healthz"); status != http.StatusOK {
		t.Errorf("without Redis /healthz answers %d, want 200: restarting the process mends nothing", status)
	}
	status, body := in.post("/integrations/"+key+"/generic", []byte(`{"event_action":"trigger","summary":"x","source":"x","severity":"error"}`))
	if status != http.StatusServiceUnavailable {
		t.Errorf("without Redis an event is answered %d %s, want 503", status, body)
	}
	eventually(t, "the metrics show the outage", func() bool {
		_, body := in.get("/metrics")
		return strings.Contains(body, "tocsin_ready 0\n") && strings.Contains(body, `tocsin_events_total{answer="refused"} 1`+"\n") &&
			strings.Contains(body, `tocsin_events_total{answer="accepted"} 1`+"\n")
	})

	redis.Restart(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for in.server.ready.ready(ctx) != nil {
		if !again(ctx) {
			t.Fatalf("not ready again: %v", in.server.ready.ready(ctx))
		}
	}
	in.send("resolve", "before", "disk full")
	gets(t, ann.Phone, "the quiet card", func(n pushtest.Notification) bool { return n.Kind == "clear" })
	told := 0
	for _, n := range cy.Got() {
		if n.CollapseID == "out-of-band" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("one outage was told of %d times", told)
	}
}

// TestReload replaces the certificate and Apple's key under a running server.
func TestReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	reload := make(chan os.Signal)
	writePair(t, w, "first")
	in := w.start(func(o *Options) {
		o.Reload = reload
		o.Config.TLS = config.TLS{CertFile: w.file("cert.pem"), KeyFile: w.file("cert.key")}
	})
	in.apply(organisation)
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "ann"})
	t.Cleanup(phone.Close)
	if err := register(t.Context(), in.server.directory, "ann", w.apple.Register(phone, bundle)); err != nil {
		t.Fatal(err)
	}
	if got := served(t, in.doors.Listen); got != "first" {
		t.Fatalf("the certificate is of %q, want first", got)
	}

	writePair(t, w, "second")
	w.apple.RevokeKey("KEY0000001")
	if err := os.WriteFile(w.file("key.p8"), w.apple.NewKey("TEAM000001", "KEY0000001"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload <- syscall.SIGHUP
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for served(t, in.doors.Listen) != "second" {
		if !again(ctx) {
			t.Fatal("the new certificate is not served")
		}
	}
	accepted, err := in.server.intake.Accept(t.Context(), in.integration(t), trigger("db"))
	if err != nil || len(accepted) != 1 {
		t.Fatalf("accept: %v, %v", accepted, err)
	}
	gets(t, phone, "a page signed by the new key", page)

	if err := os.WriteFile(w.file("cert.pem"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload <- syscall.SIGHUP
	reload <- syscall.SIGHUP // taken only when the first has been dealt with
	if got := served(t, in.doors.Listen); got != "second" {
		t.Errorf("after an unusable file the certificate is of %q, want the old one", got)
	}
}

// writePair writes a certificate for a name.
func writePair(t *testing.T, w *world, name string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "cert.key": {Type: "PRIVATE KEY", Bytes: text},
	} {
		if err := os.WriteFile(w.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// served returns whom the certificate of a listener is for.
func served(t *testing.T, address string) string {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}} //nolint:gosec // whom it is for is the question
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName //nolint:forcetypeassert // of tls.Dialer, by its documentation
}

func TestDeadManCallsWhileReady(t *testing.T) {
	var calls atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(other.Close)
	var missing error
	d := &deadMan{
		config: config.DeadMan{URL: other.URL + "/secret", Interval: time.Minute}, log: slog.New(slog.DiscardHandler),
		ready: func(context.Context) error { return missing }, client: other.Client(),
	}
	if err := d.call(t.Context()); err != nil || calls.Load() != 1 {
		t.Errorf("a ready process called %d times (%v), want once", calls.Load(), err)
	}
	missing = errNoLog
	if err := d.call(t.Context()); err == nil || calls.Load() != 1 {
		t.Errorf("a process that is not ready has called: %d calls, %v", calls.Load(), err)
	}
	missing = nil
	other.Close()
	if err := d.call(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the other side is gone and the call says %v; want an error without the address", err)
	}
}

func TestLogHasTheFormThatIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		conf config.Log
		want string
	}{
		{config.Log{Level: "warn", Format: "auto"}, `{`}, // not a terminal
		{config.Log{Level: "warn", Format: "text"}, `time=`},
	} {
		var out bytes.Buffer
		log := NewLog(c.conf, &out)
		log.Info("left out")
		log.Warn("written")
		if got := out.String(); !strings.HasPrefix(got, c.want) || strings.Contains(got, "left out") {
			t.Errorf("%+v writes %q, want warnings only, beginning with %q", c.conf, got, c.want)
		}
	}
}
