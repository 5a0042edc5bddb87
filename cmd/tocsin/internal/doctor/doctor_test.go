package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	goredis "github.com/redis/go-redis/v9"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/store"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// want fails unless the finding has the level and says the text in its cause or cure.
func want(t *testing.T, f Finding, level Level, text string) {
	t.Helper()
	if f.Level != level || !strings.Contains(f.Cause+" -> "+f.Cure, text) {
		t.Errorf("%s %s: %s -> %s\nwant %s with %q", f.Level, f.Check, f.Cause, f.Cure, level, text)
	}
	if f.Level != OK && f.Cure == "" {
		t.Errorf("%s: no cure for %q", f.Check, f.Cause)
	}
}

func TestPersistence(t *testing.T) {
	good := map[string]string{"config:appendonly": "yes", "config:appendfsync": "always"}
	cases := []struct {
		name       string
		change     map[string]string
		durability string
		level      Level
		text       string
	}{
		{"as the private server", nil, "fsync", OK, "appendfsync always"},
		{"no file", map[string]string{"config:appendonly": "no"}, "fsync", Fail, "set appendonly yes"},
		{"no file, told by INFO only", map[string]string{"config:appendonly": "absent", "aof_enabled": "0"}, "fsync", Fail, "set appendonly yes"},
		{"every second, unknowingly", map[string]string{"config:appendfsync": "everysec"}, "fsync", Warn, "durability everysec"},
		{"every second, knowingly", map[string]string{"config:appendfsync": "everysec"}, "everysec", OK, "durability everysec"},
		{"never", map[string]string{"config:appendfsync": "no"}, "replicated", Warn, "appendfsync is no"},
		{"a write failed", map[string]string{"aof_last_write_status": "err"}, "fsync", Fail, "disk is full"},
		{"settings are hidden", map[string]string{"config:appendonly": "absent", "config:appendfsync": "absent", "aof_enabled": "1"}, "fsync", Warn, "at the provider"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { want(t, persistence(merged(good, c.change), c.durability), c.level, c.text) })
	}
}

// merged lays change over base; the value "absent" removes a field.
func merged(base, change map[string]string) map[string]string {
	m := map[string]string{}
	for _, layer := range []map[string]string{base, change} {
		for k, v := range layer {
			if v == "absent" {
				delete(m, k)
				continue
			}
			m[k] = v
		}
	}
	return m
}

func TestMemory(t *testing.T) {
	good := map[string]string{"used_memory": "104857600", "maxmemory": "1073741824", "maxmemory_policy": "noeviction"}
	cases := []struct {
		name   string
		change map[string]string
		level  Level
		text   string
	}{
		{"room", nil, OK, "100 MiB of 1.0 GiB used"},
		{"evicts", map[string]string{"maxmemory_policy": "allkeys-lru"}, Fail, "noeviction"},
		{"no limit", map[string]string{"maxmemory": "0"}, Warn, "no maxmemory"},
		{"nearly full", map[string]string{"used_memory": "858993459"}, Warn, "keep_closed"},
		{"full", map[string]string{"used_memory": "1063004405"}, Fail, "refused soon"},
		{"unknown", map[string]string{"used_memory": "absent"}, Warn, "does not say"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { want(t, memory(merged(good, c.change)), c.level, c.text) })
	}
}

func TestReplicas(t *testing.T) {
	at := func(least int, rs ...store.Replica) store.Master {
		return store.Master{Addr: "10.0.0.1:6379", MinReplicas: least, Replicas: rs}
	}
	well := store.Replica{Addr: "10.0.0.2:6379", Online: true, Behind: 14}
	silent, copying := well, well
	silent.Lag, copying.Online = 9*time.Second, false
	one := func(m ...store.Master) []store.Master { return m }
	for name, c := range map[string]struct {
		masters    []store.Master
		durability string
		level      Level
		text       string
	}{
		"two":                    {one(at(0, well, well)), "replicated", OK, "2 for each master, 14 bytes behind"},
		"two, one required":      {one(at(1, well, well)), "replicated", OK, "2 for each master"},
		"cluster":                {one(at(0, well, well), at(0, well, well, well)), "replicated", OK, "2 to 3 for each master"},
		"asynchronous":           {one(at(0, well)), "fsync", OK, "a failover may lose what they lack"},
		"none":                   {one(at(0)), "replicated", Fail, "every event for it is answered 503"},
		"one shard without":      {one(at(0, well), at(0)), "replicated", Fail, "has no replica"},
		"only one":               {one(at(0, well)), "replicated", Warn, "answered 503 until there are two nodes again"},
		"all of them required":   {one(at(1, well)), "replicated", Warn, "acknowledgements"},
		"required, unreplicated": {one(at(1, well)), "fsync", Warn, "acknowledgements"},
		"silent":                 {one(at(0, well, silent)), "replicated", Warn, "not heard of for 9s"},
		"copying":                {one(at(0, well, copying)), "fsync", Warn, "still copying"},
		"leads to a replica":     {nil, "replicated", Fail, "leads to a replica"},
	} {
		t.Run(name, func(t *testing.T) { want(t, replicas(c.masters, c.durability), c.level, c.text) })
	}
}

func TestVersion(t *testing.T) {
	want(t, settings(map[string]string{"redis_version": "7.0.15", "kind": "unix"}, "fsync")[0], OK, "Redis 7.0.15, one server on a Unix socket")
	want(t, settings(map[string]string{"redis_version": "7.2.4", "valkey_version": "8.0.1"}, "fsync")[0], OK, "Valkey 8.0.1")
	want(t, settings(map[string]string{"redis_version": "6.2.14"}, "fsync")[0], Fail, "too old")
}

func TestClock(t *testing.T) {
	want(t, clock(-300*time.Millisecond, time.Millisecond), OK, "299ms from the reference node")
	want(t, clock(1200*time.Millisecond, 300*time.Millisecond), OK, "900ms")
	want(t, clock(-3*time.Second, time.Millisecond), Warn, "chrony")
	want(t, clock(2*time.Hour, time.Millisecond), Fail, "refuse")
}

func TestSpace(t *testing.T) {
	want(t, space("/data", 50<<30, 100<<30), OK, "50 GiB free at /data (50 %)")
	want(t, space("/data", 100<<30, 1000<<30), OK, "100 GiB")
	want(t, space("/data", 10<<30, 100<<30), Warn, "full disk")
	want(t, space("/data", 1<<30, 100<<30), Fail, "1.0 GiB")
	want(t, space("/data", 100<<20, 200<<20), Fail, "100 MiB")
	want(t, disk("/nonexistent/below/root"), Worst([]Finding{disk("/")}), "free at /")
}

func TestCertificate(t *testing.T) {
	leaf := &x509.Certificate{NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(90 * 24 * time.Hour), DNSNames: []string{"oncall.example.com"}}
	want(t, certificate(leaf, "https://oncall.example.com", noon), OK, "until 2027-02-19")
	want(t, certificate(leaf, "https://other.example.com", noon), Fail, "name in public_url")
	want(t, certificate(leaf, "", noon.Add(80*24*time.Hour)), Warn, "SIGHUP")
	want(t, certificate(leaf, "", noon.Add(91*24*time.Hour)), Fail, "expired on")
	want(t, certificate(leaf, "", noon.Add(-2*time.Hour)), Fail, "clock")
}

func TestListener(t *testing.T) {
	cert, key := selfSigned(t)
	look := func(tls config.TLS, public string) Finding {
		return listener(t.Context(), Input{Config: config.Config{TLS: tls, PublicURL: public}, Now: time.Now})[0]
	}
	want(t, look(config.TLS{CertFile: cert, KeyFile: key}, "https://localhost"), OK, "valid until")
	want(t, look(config.TLS{CertFile: cert, KeyFile: cert}, ""), Fail, "tls.key_file")
	want(t, look(config.TLS{}, "https://oncall.example.com"), OK, "a proxy in front has to speak https")
	want(t, look(config.TLS{}, ""), Warn, "in the clear")
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	want(t, directory(dir), OK, dir)
	want(t, directory(filepath.Join(dir, "later")), OK, "first start")
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil { //nolint:gosec // that others may look in is what is tested
		t.Fatal(err)
	}
	want(t, directory(open), Warn, "chmod 700")
	file := filepath.Join(dir, "tocsin.yaml")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	want(t, directory(file), Fail, "is no directory")
	want(t, configuration(Input{File: file}), OK, file)
	want(t, configuration(Input{File: file, Config: config.Config{SMTP: config.SMTP{Password: "p"}}}), Warn, "chmod 600")
	want(t, configuration(Input{}), OK, "defaults")
}

func TestMasterKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	want(t, masterKey(config.Config{DataDir: dir}), OK, "made at the first start")
	if _, err := os.Stat(path); err == nil {
		t.Error("doctor made a master key")
	}
	if err := os.WriteFile(path, []byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o644); err != nil { //nolint:gosec // that others may read it is what is tested
		t.Fatal(err)
	}
	want(t, masterKey(config.Config{DataDir: dir}), Fail, "chmod 600")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, masterKey(config.Config{DataDir: dir}), OK, "keep a copy")
	want(t, masterKey(config.Config{DataDir: dir, MasterKey: "short"}), Fail, "back-up")
}

func TestRedisOfAnInstallation(t *testing.T) {
	in := Input{Now: time.Now, Config: config.Default()}
	good := redistest.Start(t, redistest.WithFsync(redisd.FsyncAlways), redistest.WithMaxMemory(256<<20))
	in.Config.Redis.URL = good.URL()
	for _, f := range redis(t.Context(), in) {
		if f.Level != OK {
			t.Errorf("%s %s: %s", f.Level, f.Check, f.Cause)
		}
	}
	raise(t, good.URL())
	want(t, redis(t.Context(), in)[0], Fail, "start that version")
	good.Kill(t)
	want(t, redis(t.Context(), in)[0], Fail, "check redis.url")

	in.Config.Redis.URL = ""
	in.Config.DataDir = t.TempDir()
	want(t, redis(t.Context(), in)[0], OK, "will be started by tocsin serve")
	in.Config.Redis.Program = "/nonexistent"
	want(t, redis(t.Context(), in)[0], Fail, "install")
}

// raise makes what is stored a newer version's.
func raise(t *testing.T, url string) {
	t.Helper()
	o, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	r := goredis.NewClient(o)
	defer func() { _ = r.Close() }()
	if err := r.HSet(t.Context(), "{m}:format", "schema", 99, "by", "v9").Err(); err != nil {
		t.Fatal(err)
	}
}

func TestSchema(t *testing.T) {
	want(t, schema(store.SchemaState{Written: 1}), OK, "")
	f := schema(store.SchemaState{Written: 1, To: 2, At: time.Date(2026, 11, 28, 3, 9, 0, 0, time.UTC)})
	if f.Level != OK || !strings.Contains(f.Cause, "rises to 2 at 2026-11-28 03:09:00 UTC") {
		t.Errorf("%+v, want that it tells when the schema rises", f)
	}
}

// Doctor run against servers that have replicas.
func TestRedisWithReplicas(t *testing.T) {
	t.Parallel()
	set, cluster := redistest.StartSentinel(t, 1), redistest.StartCluster(t, 3, 1)
	for name, c := range map[string]struct {
		url, durability string
		level           Level
		text            string
	}{
		"a set, replicated":   {set.URL(), "replicated", Warn, "one replica"},
		"a set, asynchronous": {set.URL(), "fsync", OK, "1 for each master"},
		"a cluster":           {cluster.URL(), "fsync", OK, "1 for each master"},
	} {
		in := Input{Now: time.Now}
		in.Config.Redis.URL, in.Config.Redis.Durability = c.url, c.durability
		found := false
		for _, f := range redis(t.Context(), in) {
			if f.Check == "redis replicas" {
				want(t, f, c.level, c.text)
				found = true
			}
		}
		if !found {
			t.Errorf("%s: nothing was said of the replicas", name)
		}
	}
}

func TestPrivateRedisThatRuns(t *testing.T) {
	data, err := os.MkdirTemp("", "doctor") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	s, err := redisd.Start(t.Context(), redisd.Options{Dir: filepath.Join(data, "redis")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(data)
	})
	in := Input{Now: time.Now, Config: config.Default()}
	in.Config.DataDir = data
	all := redis(t.Context(), in)
	want(t, all[0], OK, "on a Unix socket")
	if worst := Worst(all); worst != OK {
		t.Errorf("the private server is %s: %+v", worst, all)
	}
}

func TestPushApps(t *testing.T) {
	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(apple.Close)
	google, err := pushtest.NewFCM(pushtest.FCMOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(google.Close)
	key := secret(t, "key.p8", apple.NewKey("TEAM000001", "KEY0000001"))
	ios := config.PushApp{
		ID: "oncall", Platform: "ios", Environment: "production", Bundle: "com.example.oncall", TeamID: "TEAM000001", KeyID: "KEY0000001",
		KeyFile: key, TestEndpoint: apple.URL(), TestCAFile: secret(t, "apple.pem", apple.CA()),
	}
	android := config.PushApp{
		ID: "oncall", Platform: "android", Environment: "production", ServiceAccountFile: secret(t, "fcm.json", google.ServiceAccountJSON()),
		TestEndpoint: google.URL(), TestCAFile: secret(t, "google.pem", google.CA()),
	}
	browsers, err := pushtest.NewWebPush(pushtest.WebPushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(browsers.Close)
	vapid, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file, err := vapid.File()
	if err != nil {
		t.Fatal(err)
	}
	web := config.PushApp{
		ID: "oncall", Platform: "web", Environment: "production", VAPIDKeyFile: secret(t, "vapid.json", file), Subject: "mailto:oncall@example.com",
		AppURL: "https://oncall.example.com/app/", TestEndpoint: browsers.URL(), TestCAFile: secret(t, "browsers.pem", browsers.CA()),
	}
	for _, a := range []config.PushApp{ios, android, web} {
		all := pushApp(a)(t.Context(), Input{})
		if len(all) != 3 {
			t.Fatalf("%s: %d findings, want 3: %+v", a.Platform, len(all), all)
		}
		want(t, all[0], OK, "the key signs")
		want(t, all[1], Warn, "a simulator at 127.0.0.1")
		want(t, all[2], OK, "answers")
	}
	wrong := ios
	wrong.KeyFile = android.ServiceAccountFile
	want(t, pushApp(wrong)(t.Context(), Input{})[0], Fail, "download the key again")
	lost := web
	lost.VAPIDKeyFile = "/nonexistent"
	want(t, pushApp(lost)(t.Context(), Input{})[0], Fail, "bring it back from the backup")
	lost.VAPIDKeyFile = key
	want(t, pushApp(lost)(t.Context(), Input{})[0], OK, "the key signs") // any key of P-256 is one
	lost.VAPIDKeyFile = android.ServiceAccountFile
	want(t, pushApp(lost)(t.Context(), Input{})[0], Fail, "no privateKey")
	wrong.KeyFile = "/nonexistent"
	want(t, pushApp(wrong)(t.Context(), Input{})[0], Fail, "put the key where")
	wrong = android
	wrong.Project = "another-project"
	want(t, pushApp(wrong)(t.Context(), Input{})[0], Fail, "cannot be used")
	if err := os.Chmod(key, 0o644); err != nil { //nolint:gosec // that others may read it is what is tested
		t.Fatal(err)
	}
	want(t, pushApp(ios)(t.Context(), Input{})[0], Warn, "chmod 600")
	apple.Close()
	want(t, pushApp(ios)(t.Context(), Input{})[2], Fail, "over TCP")
}

func TestReachWantsHTTP2(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // a port where something else answers
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 mail\r\n"))
			_ = conn.Close()
		}
	}()
	want(t, reach(t.Context(), "push", l.Addr().String(), nil), Fail, "a proxy that opens TLS will not do")
}

// postman is an SMTP server that takes any login but one.
type postman struct{}

func (postman) NewSession(*smtp.Conn) (smtp.Session, error) { return letter{}, nil }

type letter struct{ smtp.Session }

func (letter) Reset()        {}
func (letter) Logout() error { return nil }

func TestMail(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := smtp.NewServer(postman{})
	srv.Domain = "localhost"
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	look := func(c config.SMTP) Finding {
		return mail(t.Context(), Input{Config: config.Config{SMTP: c}})[0]
	}
	port := l.Addr().(*net.TCPAddr).Port
	want(t, look(config.SMTP{}), Warn, "no mail server")
	want(t, look(config.SMTP{Host: "127.0.0.1", Port: port, Security: "none", From: "oncall@example.com"}), OK, "takes mail")
	want(t, look(config.SMTP{Host: "127.0.0.1", Port: port, Security: "starttls", From: "oncall@example.com"}), Fail, "smtp.security")
	want(t, look(config.SMTP{Host: "127.0.0.1", Port: 1, Security: "none", From: "oncall@example.com"}), Fail, "smtp.port")
	want(t, look(config.SMTP{Host: "127.0.0.1", Port: port, From: "a@b.c", PasswordFile: "/nonexistent"}), Fail, "smtp.password_file")
}

func TestServer(t *testing.T) {
	ask := func(a Answer, err error) []Finding {
		return server(t.Context(), Input{Ask: func(context.Context) (Answer, error) { return a, err }})
	}
	want(t, server(t.Context(), Input{})[0], Warn, "start it with tocsin serve")
	want(t, ask(Answer{}, errors.New("no answer"))[0], Fail, "no answer")
	healthy := ask(Answer{
		Status:   &api.SystemStatus{Readiness: api.SystemStatus_READINESS_READY},
		CatchAll: []*api.User{{Name: "users/cy", DisplayName: "Cy", Reachable: true}},
	}, nil)
	if len(healthy) != 2 || Worst(healthy) != OK {
		t.Errorf("healthy server: %+v", healthy)
	}
	sick := ask(Answer{
		Status: &api.SystemStatus{
			Readiness: api.SystemStatus_READINESS_NOT_READY, Problems: []string{"Redis is read-only."}, DeadLetterCount: 3,
			Hold:        &api.Hold{Held: true, Reason: "migration"},
			Unreachable: []*api.SystemStatus_Unreachable{{User: "users/bob", DisplayName: "Bob", Reason: "no device"}},
		},
		CatchAll: []*api.User{{Name: "users/cy", DisplayName: "Cy"}},
	}, nil)
	for i, w := range []struct {
		level Level
		text  string
	}{{Fail, "not ready"}, {Fail, "read-only"}, {Warn, "tocsin resume"}, {Warn, "3 pieces"}, {Warn, "tocsin enrol bob"}, {Fail, "tocsin enrol cy"}} {
		want(t, sick[i], w.level, w.text)
	}
	want(t, catchAll(nil), Fail, "settings.catch_all")
	want(t, catchAll([]*api.User{{DisplayName: "Ann", Reachable: true}, {DisplayName: "Bob"}}), Warn, "not so Bob")
}

func TestWayOut(t *testing.T) {
	look := func(c config.Config) []Finding { return wayOut(t.Context(), Input{Config: c}) }
	want(t, look(config.Config{})[0], Fail, "nobody can be reached")
	want(t, look(config.Config{SMTP: config.SMTP{Host: "h"}})[0], Warn, "mail wakes nobody")
	if got := look(config.Config{Push: config.Push{Apps: []config.PushApp{{}}}}); got != nil {
		t.Errorf("with an app: %v, want nothing", got)
	}
}

func TestRunHasAFindingForEverything(t *testing.T) {
	in := Input{Config: config.Default(), Now: time.Now}
	in.Config.DataDir = t.TempDir()
	seen := map[string]bool{}
	for _, f := range Run(t.Context(), in) {
		seen[f.Check] = true
	}
	for _, check := range []string{"configuration", "data directory", "master key", "disk", "redis", "tls", "server", "mail", "dead man", "push"} {
		if !seen[check] {
			t.Errorf("nothing said about %s", check)
		}
	}
}

// secret writes a file that only its owner may read.
func secret(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return secret(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		secret(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}
