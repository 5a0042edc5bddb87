package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// stage is everything that the demo runs.
type stage struct {
	dir     string
	pace    pace
	journal *journal
	guard   *guard
	apple   *pushtest.APNs
	google  *pushtest.FCM
	mail    *mailbox
	server  *server
	monitor monitor
	ann, bo *phone
	watch   *watch

	incidents     tocsinv1.IncidentServiceClient
	devices       tocsinv1.DeviceServiceClient
	configuration tocsinv1.ConfigurationServiceClient

	mu     sync.Mutex
	fired  time.Time // the last alert, which the times on the screen count from
	broken []alert   // alerts that fire now
}

// eager makes a client try again soon after the server was killed.
func eager() grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.3, Jitter: 0.1, MaxDelay: 250 * time.Millisecond},
		MinConnectTimeout: time.Second,
	}
}

// findRedis says in one line what to do when there is none.
func findRedis(ctx context.Context) error {
	_, err := redisd.Find(ctx, "")
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Reason == "REDIS_MISSING" {
		return errors.New("redis-server is not installed: make demo installs it, or run apt-get install redis-server")
	}
	return err
}

// open makes the directory and all that is not a child of the server: the
// simulators, the mailbox, the guard. close ends it, also after an error.
func (s *stage) open(ctx context.Context, program, dir string) error {
	keep := dir != ""
	var err error
	if keep {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			dir, err = filepath.Abs(dir)
		}
	} else {
		dir, err = os.MkdirTemp("", "tocsin-demo-")
	}
	if err != nil {
		return fmt.Errorf("make the directory of the demo: %w", err)
	}
	s.dir = dir
	if s.guard, err = startGuard(ctx, program, dir, !keep); err != nil {
		return err
	}
	if s.apple, err = pushtest.NewAPNs(pushtest.APNsOptions{}); err != nil {
		return err
	}
	if s.google, err = pushtest.NewFCM(pushtest.FCMOptions{}); err != nil {
		return err
	}
	s.apple.AllowTopic(teamID, appID)
	if s.mail, err = openMailbox(s.letter); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"apns.p8": s.apple.NewKey(teamID, keyID), "apns-ca.pem": s.apple.CA(),
		"fcm-service-account.json": s.google.ServiceAccountJSON(), "fcm-ca.pem": s.google.CA(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	s.server, err = newServer(s.guard, program, s.pace, dir, map[string]any{
		"APNs": s.apple.URL(), "FCM": s.google.URL(), "Mail": s.mail.port,
	})
	if err != nil {
		return err
	}
	s.incidents = tocsinv1.NewIncidentServiceClient(s.server.conn)
	s.devices = tocsinv1.NewDeviceServiceClient(s.server.conn)
	s.configuration = tocsinv1.NewConfigurationServiceClient(s.server.conn)
	return nil
}

// close ends everything in reverse, and returns when nothing of it runs any
// more. What it cannot end, the guard does.
func (s *stage) close() error {
	var errs []error
	if s.watch != nil {
		s.watch.close()
	}
	if s.monitor != nil {
		errs = append(errs, s.monitor.stop())
	}
	if s.server != nil {
		errs = append(errs, s.server.close())
	}
	for _, p := range []*phone{s.ann, s.bo} {
		if p != nil {
			p.close()
		}
	}
	if s.mail != nil {
		s.mail.close()
	}
	if s.google != nil {
		s.google.Close()
	}
	if s.apple != nil {
		s.apple.Close()
	}
	if s.guard != nil {
		errs = append(errs, s.guard.close())
	}
	return errors.Join(errs...)
}

// letter takes in an e-mail.
func (s *stage) letter(l letter) {
	who := person(0)
	for _, to := range l.to {
		who = personOf(to)
	}
	s.journal.add(sighting{at: l.at, where: atMail, who: who, text: l.subject})
}

// employ applies the organisation and gives its two first people their phones.
func (s *stage) employ(ctx context.Context) (hooks, error) {
	keys, err := applyOrganisation(ctx, s.configuration, s.pace)
	if err != nil {
		return nil, err
	}
	to := make(hooks)
	for _, service := range []string{"checkout", "search"} {
		if keys[service] == "" {
			return nil, fmt.Errorf("applying the organisation answered no key for %s; a kept --dir cannot be used twice", service)
		}
		to[service] = s.server.url + "/integrations/" + keys[service] + "/alertmanager"
	}
	return to, nil
}

// handOut makes the two phones and enrols each with a one-time link.
func (s *stage) handOut(ctx context.Context) error {
	var err error
	if s.ann, err = newPhone(ann, "Ann's iPhone", tocsinv1.Device_PLATFORM_IOS, s.journal.add); err != nil {
		return err
	}
	if s.bo, err = newPhone(bo, "Bo's Android", tocsinv1.Device_PLATFORM_ANDROID, s.journal.add); err != nil {
		return err
	}
	for _, p := range []*phone{s.ann, s.bo} {
		link, err := s.devices.CreateEnrolment(ctx, &tocsinv1.CreateEnrolmentRequest{User: p.owner.name()})
		if err != nil {
			return fmt.Errorf("make an enrolment link for %s: %w", p.owner, err)
		}
		token := ""
		if p.ios() {
			token = s.apple.Register(p.sim, appID)
		} else {
			token = s.google.Register(p.sim, appID)
		}
		if err := p.enrol(ctx, link.GetUri(), token); err != nil {
			return err
		}
	}
	return nil
}

// listen starts Alertmanager, or what stands in for it, and begins to follow
// what becomes of its alerts.
func (s *stage) listen(ctx context.Context, to hooks) error {
	s.apple.Decide(s.recorder(atAPNs, ann))
	s.google.Decide(s.recorder(atFCM, bo))
	s.server.forget()
	s.watch = follow(ctx, s.incidents, s.journal)
	if program, ok := findAlertmanager(); ok {
		m, err := startAlertmanager(ctx, s.guard, program, s.dir, to)
		if err != nil {
			return err
		}
		s.monitor = m
		return nil
	}
	s.monitor = startImitation(ctx, to)
	return nil
}

// recorder notes each request at a push service, and lets the service judge it.
func (s *stage) recorder(where place, who person) func(pushtest.Request) (pushtest.Answer, bool) {
	return func(r pushtest.Request) (pushtest.Answer, bool) {
		s.journal.add(sighting{at: r.At, where: where, who: who, text: describeRequest(where, r), request: &r})
		return pushtest.Answer{}, false
	}
}

// fire lets an alert begin.
func (s *stage) fire(ctx context.Context, a alert) error {
	s.mu.Lock()
	s.fired = time.Now()
	at := s.fired
	s.broken = append(s.broken, a)
	s.mu.Unlock()
	s.journal.add(sighting{at: at, where: atMonitor, text: a.name + " fires: " + a.summary})
	return s.monitor.fire(ctx, a, false)
}

// mend ends all alerts that fire.
func (s *stage) mend(ctx context.Context) (time.Time, error) {
	s.mu.Lock()
	at, broken := time.Now(), s.broken
	s.broken = nil
	s.mu.Unlock()
	for _, a := range broken {
		s.journal.add(sighting{at: at, where: atMonitor, text: a.name + " is resolved"})
		if err := s.monitor.fire(ctx, a, true); err != nil {
			return at, err
		}
	}
	return at, nil
}

// kill ends the server as a crash would. Its Redis stays.
func (s *stage) kill() {
	pid := s.server.process.pid()
	s.server.process.kill()
	s.journal.add(sighting{at: time.Now(), where: atServer, text: fmt.Sprintf("killed with SIGKILL (pid %d)", pid)})
}

// revive starts the server again on the same data.
func (s *stage) revive(ctx context.Context) error {
	began := time.Now()
	if err := s.server.start(ctx); err != nil {
		return err
	}
	now := time.Now()
	s.journal.add(sighting{at: now, where: atServer, text: fmt.Sprintf("serves again after %s (pid %d)", round(now.Sub(began)), s.server.process.pid())})
	return nil
}

func incidentName(id string) string {
	if id == "" || strings.HasPrefix(id, "incidents/") {
		return id
	}
	return "incidents/" + id
}

// withoutSettings is an environment without what configures another tocsin of
// this person: the demo must not touch a real one.
func withoutSettings(env []string) []string {
	var rest []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "TOCSIN_") {
			rest = append(rest, kv)
		}
	}
	return rest
}
