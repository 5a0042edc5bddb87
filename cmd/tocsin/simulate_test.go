package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// simulated is a simulator that runs as the command, with what it printed.
type simulated struct {
	started struct{ URL, Control, Dir, CAFile, Config string }
	lines   *bufio.Scanner
	stop    func() int
}

// simulate runs the command until stop.
func simulate(t *testing.T, args ...string) *simulated {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, &session{args: append([]string{"simulate"}, args...), out: w, err: io.Discard, now: time.Now, zone: time.UTC})
		_ = w.Close()
	}()
	s := &simulated{lines: bufio.NewScanner(r)}
	s.stop = func() int {
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		return <-code
	}
	t.Cleanup(cancel)
	if !s.lines.Scan() {
		t.Fatalf("it printed nothing; exit %d", <-code)
	}
	var first struct {
		URL, Control, Dir, Config string
		CAFile                    string `json:"ca_file"`
	}
	if err := json.Unmarshal(s.lines.Bytes(), &first); err != nil {
		t.Fatalf("%s: %v", s.lines.Text(), err)
	}
	s.started.URL, s.started.Control, s.started.Dir, s.started.CAFile, s.started.Config = first.URL, first.Control, first.Dir, first.CAFile, first.Config
	return s
}

func (s *simulated) next(t *testing.T) map[string]any {
	t.Helper()
	if !s.lines.Scan() {
		t.Fatal("it ended")
	}
	var m map[string]any
	if err := json.Unmarshal(s.lines.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSimulate: each simulator starts, writes what a server needs in files that
// only their owner reads, prints what arrives, and ends on Ctrl-C. Started
// again in its directory, it is the same to its clients.
func TestSimulate(t *testing.T) {
	for service, files := range map[string][]string{
		"apns": {"AuthKey_KEY0000001.p8"}, "fcm": {"fcm-service-account.json"}, "webpush": {"vapid.json"},
	} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "s")
			args := []string{service, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--dir", dir, "--json"}
			s := simulate(t, args...)
			for _, name := range append(files, "ca.pem", "certificate.pem", "tocsin.yaml") {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v; want a file for its owner alone", name, info, err)
				}
			}
			cfg, _, err := config.Load(config.Sources{File: s.started.Config})
			if err != nil || len(cfg.Push.Apps) != 1 || cfg.Push.Apps[0].TestEndpoint != s.started.URL {
				t.Errorf("the server takes %s as %+v, %v", s.started.Config, cfg.Push.Apps, err)
			}
			ca, err := os.ReadFile(s.started.CAFile)
			if err != nil {
				t.Fatal(err)
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(ca)
			tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
			defer tr.CloseIdleConnections()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.started.URL+"/3/device/abc", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := (&http.Client{Transport: tr}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if line := s.next(t); line["event"] != "request" || int(line["status"].(float64)) != res.StatusCode {
				t.Errorf("it printed %v for an answer of %d", line, res.StatusCode)
			}
			page, err := http.Get(s.started.Control) //nolint:noctx // a test's own server
			if err != nil {
				t.Fatal(err)
			}
			html, _ := io.ReadAll(page.Body)
			_ = page.Body.Close()
			if page.StatusCode != http.StatusOK || !strings.Contains(string(html), "Push simulator") {
				t.Errorf("the page: %d", page.StatusCode)
			}
			if code := s.stop(); code != exitOK {
				t.Errorf("exit %d, want 0", code)
			}
			before := contents(t, dir, append(files, "ca.pem"))
			again := simulate(t, args...)
			if after := contents(t, dir, append(files, "ca.pem")); service != "fcm" && after != before {
				t.Error("started again, it has other keys") // FCM's file names the token service, whose port is another one
			}
			if code := again.stop(); code != exitOK {
				t.Errorf("exit %d, want 0", code)
			}
		})
	}
}

func contents(t *testing.T, dir string, names []string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// TestSimulateSaysWhatIsWrong: bad input names its flag.
func TestSimulateSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener has no deadline
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	broken := t.TempDir()
	for path, text := range map[string]string{
		file: "", filepath.Join(broken, "certificate.pem"): "x",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	badKey := t.TempDir()
	for name := range map[string]bool{"AuthKey_KEY0000001.p8": true, "fcm-service-account.json": true, "vapid.json": true} {
		if err := os.WriteFile(filepath.Join(badKey, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]string{
		"apns --listen 0.0.0.0:7443":              "--listen 0.0.0.0:7443: take an address of this machine alone",
		"apns --listen 7443":                      "--listen 7443: write host:port",
		"fcm --control example.com:80":            "--control example.com:80: take an address of this machine alone",
		"apns --listen " + taken.Addr().String():  "--listen " + taken.Addr().String() + ": ",
		"apns --control " + taken.Addr().String(): "--control " + taken.Addr().String() + ": ",
		"apns --team me":                          "--team me: it is ten characters",
		"apns --key-id K":                         "--key-id K: it is ten characters",
		"fcm --project P":                         "--project P: it is 6 to 30",
		"webpush --app ../x":                      `--app "../x"`,
		"apns --latency=-1s":                      "--latency -1s",
		"apns --latency soon":                     "--latency",
		"webpush --dir " + file:                   "--dir " + file,
		"apns --dir " + broken:                    "read the certificate",
		"apns --dir " + badKey:                    "AuthKey_KEY0000001.p8: read the APNs key",
		"fcm --dir " + badKey:                     "read the service account",
		"webpush --dir " + badKey:                 "vapid.json",
		"simulate":                                "unexpected argument",
	} {
		got := strings.Fields(args)
		for flag, value := range map[string]string{"--dir": t.TempDir(), "--listen": "127.0.0.1:0", "--control": "127.0.0.1:0"} {
			if !strings.Contains(args, flag) && !strings.HasPrefix(args, "simulate") {
				got = append(got, flag, value)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var out, errOut strings.Builder
		code := run(ctx, &session{args: append([]string{"simulate"}, got...), out: &out, err: &errOut, now: time.Now, zone: time.UTC})
		cancel()
		if code != exitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: exit %d, %q; want %d with %q", args, code, errOut.String(), exitUsage, want)
		}
	}
}
