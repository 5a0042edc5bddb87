package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// A child is this test program run as a server: a whole process, which can be
// killed. It is told what to do by these variables.
const (
	childConfig = "TOCSIN_TEST_CONFIG" // path of its configuration, as JSON
	childDie    = "TOCSIN_TEST_DIE"    // "after commit 2": kills itself at that point
	childTrace  = "TOCSIN_TEST_TRACE"  // file that gets a line for every point passed
)

// serveAsChild runs the server in a process of its own, and returns its exit code.
func serveAsChild(path string) int {
	text, err := os.ReadFile(path)
	var c config.Config
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	trace := io.Discard
	if name := os.Getenv(childTrace); name != "" {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		trace = f
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err = Run(ctx, Options{
		Config: c, Version: "test", Step: stepper(os.Getenv(childDie), trace),
		Started: func(d Doors) { fmt.Fprintln(os.Stdout, d.Listen) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// stepper counts points, writes them down, and ends the process at one.
func stepper(die string, trace io.Writer) func(string) {
	var mu sync.Mutex
	passed := map[string]int{}
	return func(point string) {
		mu.Lock()
		defer mu.Unlock()
		passed[point]++
		name := fmt.Sprintf("%s %d", point, passed[point])
		fmt.Fprintln(trace, name)
		if name == die {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing more happens in this process
		}
	}
}

// child is a server process.
type child struct {
	cmd     *exec.Cmd
	address string
	gone    chan struct{}
	log     *bytes.Buffer // read after gone
}

// spawn runs a server process and returns when its doors are open. With an
// error, the child is the one that has ended before, if there was one.
func (w *world) spawn(dir string, env ...string) (*child, error) {
	conf := w.config(dir)
	text, err := json.Marshal(conf)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^$"), gone: make(chan struct{}), log: &bytes.Buffer{}} //nolint:gosec,noctx // this very program
	c.cmd.Env = append(append(os.Environ(), childConfig+"="+path), env...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.cmd.Stderr = c.log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		c.address = strings.TrimSpace(line)
	}
	go func() { // ends with the process
		_ = c.cmd.Wait() // how it ended is what the test looks at
		close(c.gone)
	}()
	if err != nil {
		<-c.gone
		return c, fmt.Errorf("the child did not start: %w: %s", err, c.log)
	}
	return c, nil
}

// end stops the process in order.
func (c *child) end() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	<-c.gone
}

// killed reports whether the process that has ended was ended by a SIGKILL.
func (c *child) killed() bool {
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// prepare sets the organisation up in an empty Redis, with a phone for Ann,
// without a server.
func (w *world) prepare(ctx context.Context, phone *pushtest.Phone) (*store.Store, error) {
	return w.prepareAs(ctx, phone, organisation)
}

func (w *world) prepareAs(ctx context.Context, phone *pushtest.Phone, text string) (*store.Store, error) {
	s, err := store.Open(ctx, store.Options{URL: w.redis})
	if err != nil {
		return nil, err
	}
	keys, err := auth.ParseKeyring(masterKey)
	if err != nil {
		return nil, err
	}
	d, err := directory.Open(ctx, directory.Options{Log: directory.StoreLog{Store: s}, Keys: keys})
	if err != nil {
		return nil, err
	}
	if _, err := d.ApplyDocument(ctx, directory.ByServer("test"), []byte(text), directory.ApplyOptions{Force: true}); err != nil {
		return nil, err
	}
	if err := register(ctx, d, "ann", w.apple.Register(phone, bundle)); err != nil {
		return nil, err
	}
	// The daily sign of life has been asked for: it would be one push more, or not,
	// depending on how soon the server owns its partitions.
	return s, s.TouchDevice(ctx, "dann", map[string]any{roster.WordAsked: time.Now()})
}

// story is one page: the event, the push, the receipt, the acknowledgement on
// the lock screen, the quiet card; with a server that may
// die on the way and is then started again by whoever looks after it.
type story struct {
	w     *world
	phone *pushtest.Phone
	store *store.Store
	dir   string

	mu      sync.Mutex
	running *child
	died    bool
	ran     []*child
}

// tell plays it. die and trace are handed to the first process.
func (s *story) tell(ctx context.Context, env ...string) error {
	first, err := s.spawn(env...)
	if err != nil && first != nil && first.killed() { // at a point that it passed before its doors were open
		s.died = true
		first, err = s.spawn()
	}
	if err != nil {
		return err
	}
	s.running = first
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { s.lookAfter(first, over) })
	defer wg.Wait()
	defer close(over)
	monitor := func(address string) error { return post(ctx, address, key, "trigger", "db") }
	if err := s.insist(ctx, monitor); err != nil {
		return fmt.Errorf("the event was never accepted: %w", err)
	}
	n, err := s.phone.Wait(ctx, page)
	if err != nil {
		return fmt.Errorf("the page never came: %w", err)
	}
	if err := s.answer(ctx, n); err != nil {
		return err
	}
	if _, err := s.phone.Wait(ctx, func(n pushtest.Notification) bool { return n.Kind == "clear" }); err != nil {
		return fmt.Errorf("the card was never replaced: %w", err)
	}
	return s.rest(ctx)
}

// spawn starts a process and remembers it.
func (s *story) spawn(env ...string) (*child, error) {
	c, err := s.w.spawn(s.dir, env...)
	if c != nil {
		s.ran = append(s.ran, c)
	}
	return c, err
}

// lookAfter starts the server again when it died, as systemd would.
func (s *story) lookAfter(c *child, over <-chan struct{}) {
	select {
	case <-over:
		c.end()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.died = s.died || c.killed() // at the very last point, with nothing left to do
		return
	case <-c.gone:
	}
	next, err := s.spawn()
	s.mu.Lock()
	s.died, s.running = true, next
	s.mu.Unlock()
	if err != nil {
		s.w.t.Errorf("start again: %v", err)
		return
	}
	<-over
	next.end()
}

// logs is what the processes of a story that is over wrote.
func (s *story) logs() string {
	if s == nil {
		return ""
	}
	var text strings.Builder
	for i, c := range s.ran {
		fmt.Fprintf(&text, "\nprocess %d:\n%s", i+1, c.log)
	}
	return text.String()
}

// insist calls the server until it takes the call, as monitors and phones do.
func (s *story) insist(ctx context.Context, call func(address string) error) error {
	for {
		s.mu.Lock()
		c := s.running
		s.mu.Unlock()
		err := errors.New("no server runs")
		if c != nil {
			err = call(c.address)
		}
		if err == nil {
			return nil
		}
		if !again(ctx) {
			return err
		}
	}
}

// answer is the phone's part: it says that it shows the page, and the person
// taps on the lock screen. Each call is repeated as it is until it is answered.
func (s *story) answer(ctx context.Context, n pushtest.Notification) error {
	receipt := fmt.Sprintf(`{"receipts":[{"delivery_id":%q,"state":"STATE_DISPLAYED"}],"receipt_key":%q}`, n.DeliveryID, n.ReceiptKey)
	if err := s.insist(ctx, func(address string) error { return call(ctx, "http://"+address+n.ReceiptPath, receipt, http.StatusOK) }); err != nil {
		return fmt.Errorf("the receipt was never taken: %w", err)
	}
	tap := fmt.Sprintf(`{"action_id":%q,"delivery_id":%q,"verb":"VERB_ACKNOWLEDGE","action_token":%q}`, newUUID(), n.DeliveryID, n.ActionToken)
	if err := s.insist(ctx, func(address string) error { return call(ctx, "http://"+address+"/v1/push/actions", tap, http.StatusOK) }); err != nil {
		return fmt.Errorf("the acknowledgement was never taken: %w", err)
	}
	return nil
}

// post sends one event of the generic source; nil is a 202.
func post(ctx context.Context, address, key, action, dedup string) error {
	body := fmt.Sprintf(`{"event_action":%q,"dedup_key":%q,"summary":"disk full","severity":"critical","source":"test"}`, action, dedup)
	return call(ctx, "http://"+address+"/integrations/"+key+"/generic", body, http.StatusAccepted)
}

// call posts JSON; nil is the status that is wanted.
func call(ctx context.Context, url, body string, want int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("answered %d %s, want %d", res.StatusCode, answer, want)
	}
	return err
}

// rest returns when nothing waits in the store any more.
func (s *story) rest(ctx context.Context) error {
	for {
		stats, err := s.store.Stats(ctx)
		if err == nil && !slices.ContainsFunc(stats, func(p store.PartitionStats) bool { return p.Inbox+p.Work > 0 }) {
			return nil
		}
		if !again(ctx) {
			return fmt.Errorf("work is left over: %+v", stats)
		}
	}
}

// again waits a moment between two looks; false when time is up.
func again(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// check holds what the phone and the store show against what must be.
func (s *story) check(ctx context.Context) error {
	sounds := 0
	for _, n := range s.phone.Got() {
		if n.Audible() {
			sounds++
		}
	}
	if sounds != 1 {
		return fmt.Errorf("the phone sounded %d times, want once", sounds)
	}
	if shown := s.phone.Shown(); len(shown) != 1 || shown[0].Kind != "clear" {
		return fmt.Errorf("the phone shows %d cards, want the quiet one alone: %+v", len(shown), shown)
	}
	list, err := s.store.List(ctx, store.Query{}, "")
	if err != nil {
		return err
	}
	if len(list.Incidents) != 1 || list.Incidents[0].Status != incident.Acknowledged || len(list.Incidents[0].Acks) != 1 {
		return fmt.Errorf("there are %d incidents, want one that is acknowledged once", len(list.Incidents))
	}
	for p := range store.Partition(store.Partitions) {
		dead, err := s.store.DeadLetters(ctx, p, "", 10)
		if err != nil || len(dead) > 0 {
			return fmt.Errorf("dead letters: %+v, %w", dead, err)
		}
	}
	return nil
}

// TestCase68_DeathBetweenAnyTwoSteps: a server process is killed before and
// after each durable step of a page (so also between the commit and the send,
// and between the send and its record) and started again; the page arrives, and
// there are one sound, one card and one incident.
func TestCase68_DeathBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	// Each page is one of an installation of its own, with an Apple of its own: two
	// that share no Redis cannot agree on when the provider token changes.
	play := func(env ...string) (*story, error) {
		w := newWorld(t, redistest.Start(t).URL())
		phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "ann"})
		t.Cleanup(phone.Close)
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		kept, err := w.prepare(ctx, phone)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = kept.Close() })
		s := &story{w: w, phone: phone, store: kept, dir: t.TempDir()}
		if err := s.tell(ctx, env...); err != nil {
			return s, err
		}
		return s, s.check(ctx)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	if _, err := play(childTrace + "=" + trace); err != nil {
		t.Fatalf("without a death: %v", err)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	points := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(points) < 20 {
		t.Fatalf("a page has %d points, want 20 at least: %q", len(points), points)
	}
	t.Logf("%d points: %s", len(points), strings.Join(points, ", "))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16) // they wait more than they work
	for _, point := range points {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			s, err := play(childDie + "=" + point)
			if err != nil {
				t.Errorf("death %s: %v%s", point, err, s.logs())
			}
			if s != nil && !s.died {
				t.Errorf("death %s: the point was not reached", point)
			}
			t.Logf("death %s: %s", point, time.Since(began).Round(time.Millisecond))
		})
	}
	wg.Wait()
}
