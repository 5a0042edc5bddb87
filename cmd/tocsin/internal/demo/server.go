package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	startPatience = 30 * time.Second // a loaded machine needs seconds for what takes tenths
	adminSocket   = "admin.sock"
	teamID        = "TEAM000001"
	keyID         = "KEY0000001"
)

// serverConfig is the file that the server is run with. It differs from that
// of an installation by the test endpoints alone, which are taken on loopback only.
//
//nolint:gochecknoglobals // parsed once
var serverConfig = template.Must(template.New("tocsin").Parse(`# Written by tocsin demo.
listen: {{ .Address }}
public_url: {{ .URL }}
data_dir: {{ .Dir }}/data
push:
  apps:
    - id: {{ .App }}
      platform: ios
      bundle: {{ .App }}
      team_id: {{ .Team }}
      key_id: {{ .Key }}
      key_file: {{ .Dir }}/apns.p8
      critical_alerts: true
      test_endpoint: {{ .APNs }}
      test_ca_file: {{ .Dir }}/apns-ca.pem
    - id: {{ .App }}
      platform: android
      service_account_file: {{ .Dir }}/fcm-service-account.json
      test_endpoint: {{ .FCM }}
      test_ca_file: {{ .Dir }}/fcm-ca.pem
smtp:
  host: 127.0.0.1
  port: {{ .Mail }}
  security: none
  from: Tocsin <oncall@shop.example>
log:
  level: info
  format: text
shutdown:
  drain: 5s
`))

// server is `tocsin serve` as the demo runs it: a child that can be killed and
// started again on the same data.
type server struct {
	guard   *guard
	program string
	pace    pace
	dir     string
	url     string
	file    string
	client  *http.Client
	conn    *grpc.ClientConn // to the admin socket; lazy, so it outlives restarts
	process *process
	began   time.Time
	logFrom int64 // what stands before it in the log is of the time before the organisation
}

// newServer writes the configuration and connects; start starts it.
func newServer(g *guard, program string, p pace, dir string, values map[string]any) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{
		guard: g, program: program, pace: p, dir: dir, url: "http://" + address, file: filepath.Join(dir, "tocsin.yaml"),
		client: &http.Client{Timeout: 2 * time.Second},
	}
	values["Address"], values["URL"], values["Dir"] = address, s.url, dir
	values["App"], values["Team"], values["Key"] = appID, teamID, keyID
	var text bytes.Buffer
	if err := serverConfig.Execute(&text, values); err != nil {
		return nil, fmt.Errorf("write the configuration of the server: %w", err)
	}
	if err := os.WriteFile(s.file, text.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration of the server: %w", err)
	}
	s.conn, err = grpc.NewClient("unix://"+filepath.Join(dir, "data", adminSocket),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(eager()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true))) // a call after the restart must not fail for what was before it
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	return s, nil
}

// start runs the server, and returns when it answers calls.
func (s *server) start(ctx context.Context) error {
	p, err := launch(ctx, s.guard, "tocsin serve", filepath.Join(s.dir, "server.log"), s.program,
		ServeCommand, "--file", s.file, "--pace", s.pace.Name)
	if err != nil {
		return err
	}
	s.process, s.began = p, time.Now()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return p.poll(ctx, func(ctx context.Context) error { return s.get(ctx, "/healthz") })
}

// ready waits until the server says that it can page.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return s.process.poll(ctx, func(ctx context.Context) error { return s.get(ctx, "/readyz") })
}

func (s *server) get(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = &refusal{status: answer.StatusCode, text: strings.TrimSpace(string(body))}
	}
	return err
}

// close ends the server in order.
func (s *server) close() error {
	_ = s.conn.Close()
	s.client.CloseIdleConnections()
	if s.process == nil {
		return nil
	}
	return s.process.stop()
}

// logLine is the last thing that the server had to say since it was ready first.
func (s *server) logLine() string {
	path := filepath.Join(s.dir, "server.log")
	if info, err := os.Stat(path); err != nil || info.Size() <= s.logFrom {
		return ""
	}
	lines := lastLines(path, 1)
	if len(lines) == 0 {
		return ""
	}
	return shortLog(lines[0])
}

// forget leaves what the log says by now out of logLine.
func (s *server) forget() {
	if info, err := os.Stat(filepath.Join(s.dir, "server.log")); err == nil {
		s.logFrom = info.Size()
	}
}

// shortLog leaves the time and the names of an slog text line out: they are on the screen already.
func shortLog(line string) string {
	_, line, _ = strings.Cut(line, "level=")
	level, rest, _ := strings.Cut(line, " ")
	if message, ok := strings.CutPrefix(rest, "msg="); ok {
		rest = message
		if quoted, ok := strings.CutPrefix(message, `"`); ok {
			text, after, _ := strings.Cut(quoted, `"`)
			rest = text + after
		}
	}
	if level == "INFO" {
		return rest
	}
	return strings.ToLower(level) + ": " + rest
}
