package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/pushtest/control"
	"github.com/tocsin-oncall/tocsin/push/webpush"
)

// simulateCmd starts one of the simulators of push/pushtest.
type simulateCmd struct {
	APNs    simulateAPNsCmd    `cmd:"" name:"apns" help:"Apple's push service."`
	FCM     simulateFCMCmd     `cmd:"" name:"fcm" help:"Google's push service, with its OAuth tokens."`
	WebPush simulateWebPushCmd `cmd:"" name:"webpush" help:"The push service of a browser."`
}

// simulation is what all of them take.
type simulation struct {
	Listen  string        `placeholder:"ADDRESS" help:"Loopback address of the service; port 0 is a free one. Default: ${listen}."`
	Control string        `placeholder:"ADDRESS" help:"Loopback address of the page and the API that drive it, or off. Default: ${control}."`
	Dir     string        `placeholder:"DIR" help:"Directory of the certificate, the keys and the piece of tocsin.yaml; what is there is used again. Default: ${dir}."`
	App     string        `placeholder:"ID" default:"com.example.oncall" help:"Bundle id or package of phones. Default: com.example.oncall."`
	Latency time.Duration `placeholder:"DURATION" help:"Wait so long before each answer."`
	JSON    bool          `name:"json" help:"One line of JSON for each request, and for each push on a phone."`
}

type simulateAPNsCmd struct {
	simulation `set:"listen=127.0.0.1:7443" set:"control=127.0.0.1:7480" set:"dir=simulator/apns"` //nolint:staticcheck // kong takes several
	Team       string                                                                              `placeholder:"ID" default:"TEAM000001" help:"Team id of the key. Default: TEAM000001."`
	KeyID      string                                                                              `name:"key-id" placeholder:"ID" default:"KEY0000001" help:"Id of the key. Default: KEY0000001."`
	Sandbox    bool                                                                                `help:"Be the development environment."`
	AnyToken   bool                                                                                `help:"Accept well-formed tokens that nobody registered."`
}

type simulateFCMCmd struct {
	simulation `set:"listen=127.0.0.1:7453" set:"control=127.0.0.1:7481" set:"dir=simulator/fcm"` //nolint:staticcheck // kong takes several
	Project    string                                                                             `placeholder:"ID" default:"tocsin-demo" help:"Firebase project. Default: tocsin-demo."`
	AnyToken   bool                                                                               `help:"Accept registration tokens that nobody registered."`
}

type simulateWebPushCmd struct {
	simulation `set:"listen=127.0.0.1:7463" set:"control=127.0.0.1:7482" set:"dir=simulator/webpush"` //nolint:staticcheck // kong takes several
}

const simulatorLog = 10_000 // requests that the page can show

// What Apple and Google take.
var (
	tenForm     = regexp.MustCompile(`^[A-Z0-9]{10}$`)
	projectForm = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	appForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

// Run simulates APNs until Ctrl-C.
func (c *simulateAPNsCmd) Run(ctx context.Context, s *session) error {
	for flag, id := range map[string]string{"--team": c.Team, "--key-id": c.KeyID} {
		if !tenForm.MatchString(id) {
			return usageError{fmt.Errorf("%s %s: it is ten characters of A to Z and 0 to 9, as Apple's are", flag, id)}
		}
	}
	r, err := c.prepare(s, "127.0.0.1:7443", "127.0.0.1:7480", "simulator/apns")
	if err != nil {
		return err
	}
	key := "AuthKey_" + c.KeyID + ".p8"
	file, public, err := r.key(key)
	if err != nil {
		return err
	}
	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{
		Address: r.listen, Certificate: r.certificate, Latency: c.Latency, KeepLog: simulatorLog, AnyToken: c.AnyToken, Sandbox: c.Sandbox, OnRequest: r.request,
	})
	if err != nil {
		return busy("--listen", r.listen, err)
	}
	defer apple.Close()
	apple.AddKey(c.Team, c.KeyID, public)
	environment := pushtest.Production
	if c.Sandbox {
		environment = pushtest.Sandbox
	}
	return r.serve(ctx, apple, map[string][]byte{key: file, "certificate.pem": apple.Certificate()}, fragment{
		Platform: "ios", Lines: []string{"environment: " + environment, "bundle: " + c.App, "team_id: " + c.Team, "key_id: " + c.KeyID, "key_file: " + r.path(key)},
	})
}

// Run simulates FCM until Ctrl-C.
func (c *simulateFCMCmd) Run(ctx context.Context, s *session) error {
	if !projectForm.MatchString(c.Project) {
		return usageError{fmt.Errorf("--project %s: it is 6 to 30 of a to z, 0 to 9 and -, beginning with a letter, as Google's are", c.Project)}
	}
	r, err := c.prepare(s, "127.0.0.1:7453", "127.0.0.1:7481", "simulator/fcm")
	if err != nil {
		return err
	}
	const name = "fcm-service-account.json"
	account, err := r.old(name)
	if err != nil {
		return err
	}
	google, err := pushtest.NewFCM(pushtest.FCMOptions{
		Address: r.listen, Certificate: r.certificate, Project: c.Project, ServiceAccount: account, Latency: c.Latency,
		KeepLog: simulatorLog, AnyToken: c.AnyToken, OnRequest: r.request,
	})
	if err != nil {
		return busy("--listen", r.listen, fmt.Errorf("%w; --dir is %s", err, r.dir))
	}
	defer google.Close()
	return r.serve(ctx, google, map[string][]byte{name: google.ServiceAccountJSON(), "certificate.pem": google.Certificate()}, fragment{
		Platform: "android", Lines: []string{"service_account_file: " + r.path(name)},
	})
}

// Run simulates a browser's push service until Ctrl-C.
func (c *simulateWebPushCmd) Run(ctx context.Context, s *session) error {
	r, err := c.prepare(s, "127.0.0.1:7463", "127.0.0.1:7482", "simulator/webpush")
	if err != nil {
		return err
	}
	const name = "vapid.json"
	file, err := r.old(name)
	if err != nil {
		return err
	}
	if file == nil {
		key, err := webpush.NewKey()
		if err != nil {
			return err
		}
		if file, err = key.File(); err != nil {
			return err
		}
	} else if _, err := webpush.ParseKey(file); err != nil {
		return usageError{fmt.Errorf("--dir %s: %s: %w", r.dir, name, err)}
	}
	web, err := pushtest.NewWebPush(pushtest.WebPushOptions{
		Address: r.listen, Certificate: r.certificate, Latency: c.Latency, KeepLog: simulatorLog, OnRequest: r.request,
	})
	if err != nil {
		return busy("--listen", r.listen, err)
	}
	defer web.Close()
	return r.serve(ctx, web, map[string][]byte{name: file, "certificate.pem": web.Certificate()}, fragment{
		Platform: "web", Lines: []string{"vapid_key_file: " + r.path(name), "vapid_subject: mailto:oncall@example.com"},
	})
}

// running is one simulator with what it is given and what it says.
type running struct {
	simulation
	session     *session
	listen      string
	control     string
	dir         string
	certificate []byte
	printer     *printer
}

// prepare checks the flags and reads what is there of an earlier run.
func (c *simulation) prepare(s *session, listen, page, dir string) (*running, error) {
	r := &running{simulation: *c, session: s, listen: c.Listen, control: c.Control, dir: c.Dir, printer: newPrinter(s, c.JSON)}
	if r.listen == "" {
		r.listen = listen
	}
	if r.control == "" {
		r.control = page
	}
	if r.dir == "" {
		r.dir = dir
	}
	if !appForm.MatchString(c.App) {
		return nil, usageError{fmt.Errorf("--app %q: it is letters, digits, dots and dashes, as com.example.oncall", c.App)}
	}
	if c.Latency < 0 || c.Latency > time.Hour {
		return nil, usageError{fmt.Errorf("--latency %v is outside 0s to 1h", c.Latency)}
	}
	for flag, address := range map[string]string{"--listen": r.listen, "--control": r.control} {
		if flag == "--control" && address == "off" {
			continue
		}
		if err := onLoopback(address); err != nil {
			return nil, usageError{fmt.Errorf("%s %s: %w", flag, address, err)}
		}
	}
	var err error
	if r.dir, err = filepath.Abs(r.dir); err != nil {
		return nil, usageError{fmt.Errorf("--dir %s: %w", c.Dir, err)}
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, usageError{fmt.Errorf("--dir %s: %w", r.dir, err)}
	}
	r.certificate, err = r.old("certificate.pem")
	return r, err
}

// onLoopback takes addresses that only this machine reaches: a simulator
// accepts anybody, and so does its control.
func onLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("write host:port, as 127.0.0.1:7443")
	}
	if a, err := netip.ParseAddr(host); err != nil || !a.IsLoopback() {
		return errors.New("take an address of this machine alone, as 127.0.0.1:7443: whoever reaches it may use it")
	}
	return nil
}

// busy says which flag an address came from.
func busy(flag, address string, err error) error {
	return usageError{fmt.Errorf("%s %s: %w; port 0 takes a free one", flag, address, err)}
}

func (r *running) path(name string) string { return filepath.Join(r.dir, name) }

// old is a file of an earlier run, nil when there is none.
func (r *running) old(name string) ([]byte, error) {
	b, err := os.ReadFile(r.path(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, usageError{fmt.Errorf("--dir %s: %w", r.dir, err)}
	}
	return b, nil
}

// key is the .p8 of an earlier run, or a new one.
func (r *running) key(name string) (file []byte, public *ecdsa.PublicKey, err error) {
	if file, err = r.old(name); err != nil {
		return nil, nil, err
	}
	if file == nil {
		return pushtest.NewP8()
	}
	if public, err = pushtest.ReadP8(file); err != nil {
		return nil, nil, usageError{fmt.Errorf("--dir %s: %s: %w", r.dir, name, err)}
	}
	return file, public, nil
}

// fragment is the piece of tocsin.yaml that makes a server page here.
type fragment struct {
	Platform string
	Lines    []string
	App      string
	URL      string
	CA       string
}

//nolint:gochecknoglobals // parsed once
var fragmentForm = template.Must(template.New("fragment").Parse(`push:
  apps:
    - id: oncall
      platform: {{ .Platform }}
{{- range .Lines }}
      {{ . }}
{{- end }}
      test_endpoint: {{ .URL }}
      test_ca_file: {{ .CA }}
`))

// serve writes the files, says what there is, and prints what comes until ctx ends.
func (r *running) serve(ctx context.Context, sim control.Simulator, files map[string][]byte, f fragment) error {
	f.URL, f.CA = sim.URL(), r.path("ca.pem")
	var text bytes.Buffer
	if err := fragmentForm.Execute(&text, f); err != nil {
		return err
	}
	files["ca.pem"], files["tocsin.yaml"] = sim.CA(), text.Bytes()
	for name, b := range files {
		if err := os.WriteFile(r.path(name), b, 0o600); err != nil {
			return usageError{fmt.Errorf("--dir %s: %w", r.dir, err)}
		}
	}
	page := ""
	if r.control != "off" {
		desk, err := control.Start(r.control, control.Options{Simulator: sim, App: r.App, OnPush: r.push})
		if err != nil {
			return busy("--control", r.control, err)
		}
		defer desk.Close()
		page = desk.URL()
	}
	r.printer.started(map[string]string{"event": "started", "url": f.URL, "control": page, "dir": r.dir, "ca_file": f.CA, "config": r.path("tocsin.yaml")}, text.String())
	r.printer.run(ctx)
	return nil
}

func (r *running) request(q pushtest.Request)   { r.printer.put(requestLine(q)) }
func (r *running) push(n pushtest.Notification) { r.printer.put(pushLine(n)) }

// printed is a line, for people and for programs.
type printed struct {
	text  string
	event map[string]any
}

// printer writes lines without ever holding up whoever has one.
type printer struct {
	session *session
	json    bool
	lines   chan printed
	missed  atomic.Int64
	mu      sync.Mutex
}

func newPrinter(s *session, asJSON bool) *printer {
	return &printer{session: s, json: asJSON, lines: make(chan printed, 4096)}
}

func (p *printer) put(l printed) {
	select {
	case p.lines <- l:
	default:
		p.missed.Add(1)
	}
}

// started says what there is.
func (p *printer) started(event map[string]string, fragment string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.json {
		p.write(event)
		return
	}
	fmt.Fprintf(p.session.out, "Listening on %s, trusted by %s\n", event["url"], event["ca_file"])
	if event["control"] != "" {
		fmt.Fprintf(p.session.out, "Control      %s\n", event["control"])
	}
	fmt.Fprintf(p.session.out, "For a server of tocsin, also in %s:\n\n%s\nCtrl-C ends it. What arrives:\n\n", event["config"], fragment)
}

func (p *printer) run(ctx context.Context) {
	for {
		select {
		case l := <-p.lines:
			p.print(l)
		case <-ctx.Done():
			for len(p.lines) > 0 {
				p.print(<-p.lines)
			}
			return
		}
	}
}

func (p *printer) print(l printed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.missed.Swap(0); n > 0 {
		l.text = fmt.Sprintf("(%d lines left out: they came too fast)\n%s", n, l.text)
	}
	if p.json {
		p.write(l.event)
		return
	}
	fmt.Fprintln(p.session.out, l.text)
}

func (p *printer) write(v any) {
	e := json.NewEncoder(p.session.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a reader that is gone has nobody to tell
}

// requestLine is a request in one line.
func requestLine(q pushtest.Request) printed {
	answered := fmt.Sprint(q.Status, " ", q.Reason)
	if q.Fault != pushtest.NoFault {
		answered = q.Fault.String()
	}
	what := describePush(q)
	return printed{
		text: fmt.Sprintf("%s  %-28s  %s  to %s", q.At.Format("15:04:05.000"), strings.TrimSpace(answered), what, clean(middle(q.Token))),
		event: map[string]any{
			"event": "request", "number": q.Number, "at": q.At.UTC(), "connection": q.Connection, "stream": q.Stream, "method": q.Method, "path": q.Path,
			"token": q.Token, "status": q.Status, "reason": q.Reason, "fault": q.Fault.String(), "what": what,
		},
	}
}

// describePush is what a request asks for: its kind, urgency and title.
func describePush(q pushtest.Request) string {
	var body struct {
		APS struct {
			Alert struct{ Title, Body string }
		}
		Message struct {
			Data    map[string]any
			Android struct{ Priority string }
		}
	}
	_ = json.Unmarshal(q.Body, &body) // what it cannot read stays empty: the simulator judges, not this line
	var words []string
	for _, w := range []string{q.Header["apns-push-type"], q.Header["apns-priority"], body.Message.Android.Priority, q.Header["urgency"]} {
		if w != "" {
			words = append(words, clean(w))
		}
	}
	title := body.APS.Alert.Title
	if t, ok := body.Message.Data["title"].(string); ok {
		title = t
	}
	if title != "" {
		words = append(words, fmt.Sprintf("%q", title))
	}
	return strings.Join(words, " ")
}

// pushLine is what a phone shows, in one line.
func pushLine(n pushtest.Notification) printed {
	how := "silent"
	switch {
	case !n.Visible:
		how = strings.TrimSuffix("not shown, "+n.Suppressed, ", ")
	case n.Audible():
		how = "sound"
	case n.Quiet != "":
		how = "quiet, " + n.Quiet
	}
	return printed{
		text: fmt.Sprintf("%s    %s: %q (%s)", n.At.Format("15:04:05.000"), clean(n.Phone), n.Title, how),
		event: map[string]any{
			"event": "push", "at": n.At.UTC(), "phone": n.Phone, "app": n.App, "kind": n.Kind, "delivery_id": n.DeliveryID, "title": n.Title, "body": n.Body,
			"visible": n.Visible, "audible": n.Audible(), "how": how,
		},
	}
}

// middle leaves the middle of a token out.
func middle(token string) string {
	if len(token) <= 24 {
		return token
	}
	return token[:10] + "…" + token[len(token)-8:]
}
