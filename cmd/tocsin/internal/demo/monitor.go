package demo

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"
)

// alert is something that breaks in the shop.
type alert struct {
	service  string
	name     string
	severity string
	summary  string
	describe string
}

func (a alert) labels() map[string]string {
	return map[string]string{
		"alertname": a.name, "severity": a.severity, "service": a.service, "team": "payments",
		"instance": a.service + "-1.shop.example:9102", "job": a.service,
	}
}

func (a alert) annotations() map[string]string {
	return map[string]string{
		"summary": a.summary, "description": a.describe, "runbook_url": "https://runbooks.shop.example/" + strings.ToLower(a.name),
	}
}

// monitor is what notices alerts and tells tocsin of them.
type monitor interface {
	// name says what it is, for people.
	name() string
	// fire tells of alerts that begin, or whose end has come.
	fire(ctx context.Context, a alert, over bool) error
	stop() error
}

// findAlertmanager looks for a real one, under the names it is packaged with.
func findAlertmanager() (path string, ok bool) {
	for _, name := range []string{"prometheus-alertmanager", "alertmanager"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}

// hooks are the webhook addresses of the services.
type hooks map[string]string

// alertmanagerConfig routes by the label service. Groups are sent at once, and
// changes of a group after a second; the defaults are 30 s and 5 min.
//
//nolint:gochecknoglobals // parsed once
var alertmanagerConfig = template.Must(template.New("alertmanager").Parse(`# Written by tocsin demo.
route:
  receiver: nobody
  group_by: [alertname, service]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 4h
  routes:
{{- range $service, $url := . }}
    - receiver: tocsin-{{ $service }}
      matchers: [ 'service = "{{ $service }}"' ]
{{- end }}
receivers:
  - name: nobody
{{- range $service, $url := . }}
  - name: tocsin-{{ $service }}
    webhook_configs:
      - url: {{ $url }}
        send_resolved: true
{{- end }}
`))

// alertmanager is a real Prometheus Alertmanager, a child process.
type alertmanager struct {
	process *process
	url     string
	version string
	client  *http.Client
	mu      sync.Mutex
	began   map[string]time.Time
}

func startAlertmanager(ctx context.Context, g *guard, program, dir string, to hooks) (*alertmanager, error) {
	var text bytes.Buffer
	if err := alertmanagerConfig.Execute(&text, to); err != nil {
		return nil, fmt.Errorf("write the configuration of Alertmanager: %w", err)
	}
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration of Alertmanager: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := launch(ctx, g, "alertmanager", filepath.Join(dir, "alertmanager.log"), program,
		"--config.file="+file, "--storage.path="+filepath.Join(dir, "alertmanager"),
		"--web.listen-address="+address, "--cluster.listen-address=") // no cluster: it would ask for a private address
	if err != nil {
		return nil, err
	}
	m := &alertmanager{
		process: p, url: "http://" + address, version: "Alertmanager",
		client: &http.Client{Timeout: 5 * time.Second}, began: make(map[string]time.Time),
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := p.poll(ctx, m.ready); err != nil {
		p.kill()
		return nil, err
	}
	return m, nil
}

// ready asks for its status, which names the version.
func (m *alertmanager) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+"/api/v2/status", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := m.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	var status struct {
		VersionInfo struct {
			Version string `json:"version"`
		} `json:"versionInfo"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
		return fmt.Errorf("status of Alertmanager, HTTP %d: %w", answer.StatusCode, err)
	}
	m.version = "Alertmanager " + status.VersionInfo.Version
	return nil
}

func (m *alertmanager) name() string { return "Prometheus " + m.version }

// fire posts to Alertmanager's own API v2, as Prometheus does.
func (m *alertmanager) fire(ctx context.Context, a alert, over bool) error {
	now := time.Now()
	m.mu.Lock()
	if _, ok := m.began[a.name]; !ok || !over {
		m.began[a.name] = now
	}
	began := m.began[a.name]
	m.mu.Unlock()
	post := map[string]any{
		"labels": a.labels(), "annotations": a.annotations(), "startsAt": began.Format(time.RFC3339Nano),
		"endsAt": now.Add(time.Hour).Format(time.RFC3339Nano), "generatorURL": "https://prometheus.shop.example/graph",
	}
	if over {
		post["endsAt"] = now.Format(time.RFC3339Nano)
	}
	return postJSON(ctx, m.client, m.url+"/api/v2/alerts", []any{post})
}

func (m *alertmanager) stop() error { return m.process.stop() }

// imitation posts what an Alertmanager would, where none is installed.
type imitation struct {
	to      hooks
	client  *http.Client
	queue   chan notice
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	began   map[string]time.Time
}

// notice is one webhook call to make.
type notice struct {
	url  string
	body map[string]any
}

// startImitation posts until stop: it outlives the step that begins it.
func startImitation(ctx context.Context, to hooks) *imitation {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &imitation{
		to: to, client: &http.Client{Timeout: 5 * time.Second}, queue: make(chan notice, 100), cancel: cancel,
		began: make(map[string]time.Time),
	}
	m.running.Go(func() { m.post(ctx) }) // until stop
	return m
}

func (m *imitation) name() string {
	return "no Alertmanager is installed, so its payloads are posted by the demo"
}

// fire posts the webhook of Alertmanager, version 4.
func (m *imitation) fire(ctx context.Context, a alert, over bool) error {
	now := time.Now()
	m.mu.Lock()
	if _, ok := m.began[a.name]; !ok || !over {
		m.began[a.name] = now
	}
	body := webhookBody(a, m.began[a.name], now, over)
	m.mu.Unlock()
	select {
	case m.queue <- notice{url: m.to[a.service], body: body}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// post repeats each call until it is taken, as Alertmanager does.
func (m *imitation) post(ctx context.Context) {
	for {
		select {
		case n := <-m.queue:
			for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
				if postJSON(ctx, m.client, n.url, n.body) == nil {
					break
				}
				rest(ctx, wait)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (m *imitation) stop() error {
	m.cancel()
	m.running.Wait()
	return nil
}

// webhookBody is exactly what Alertmanager posts for a group of one alert.
// https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
func webhookBody(a alert, began, now time.Time, over bool) map[string]any {
	status, ends := "firing", "0001-01-01T00:00:00Z"
	if over {
		status, ends = "resolved", now.UTC().Format(time.RFC3339Nano)
	}
	return map[string]any{
		"version": "4", "receiver": "tocsin-" + a.service, "status": status, "truncatedAlerts": 0,
		"groupKey":     fmt.Sprintf(`{}/{service=%q}:{alertname=%q, service=%q}`, a.service, a.name, a.service),
		"groupLabels":  map[string]string{"alertname": a.name, "service": a.service},
		"commonLabels": a.labels(), "commonAnnotations": a.annotations(), "externalURL": "http://alertmanager.shop.example:9093",
		"alerts": []any{map[string]any{
			"status": status, "labels": a.labels(), "annotations": a.annotations(),
			"startsAt": began.UTC().Format(time.RFC3339Nano), "endsAt": ends,
			"generatorURL": "https://prometheus.shop.example/graph", "fingerprint": fingerprint(a.labels()),
		}},
	}
}

// fingerprint is how Prometheus names a label set: FNV-1a over the sorted
// names and values, each followed by a byte that no text has
// (github.com/prometheus/common/model, labelSetToFingerprint).
func fingerprint(labels map[string]string) string {
	names := make([]string, 0, len(labels))
	for n := range labels {
		names = append(names, n)
	}
	slices.Sort(names)
	h := fnv.New64a()
	for _, n := range names {
		for _, s := range []string{n, labels[n]} {
			_, _ = h.Write(append([]byte(s), 0xff))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func postJSON(ctx context.Context, client *http.Client, url string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write the alert: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("post the alert: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("post the alert: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err == nil && answer.StatusCode/100 != 2 {
		err = &refusal{status: answer.StatusCode, text: errorText(said)}
	}
	if err != nil {
		return fmt.Errorf("post the alert: %w", err)
	}
	return nil
}

// freeAddress is a loopback address that nobody listens on at present.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // listening is done at once
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
