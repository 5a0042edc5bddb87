package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	quietKey     = "q0123456789abcdef0123456789abcde"
	quietService = "quiet-76" // its events wait where those of the service checkout do
)

// withQuiet is the organisation with a service beside the one that storms.
var withQuiet = strings.Replace(organisation, "settings:",
	"  - {id: "+quietService+", name: Quiet, escalation_policy: shop, integrations: [{id: watchman, source: generic, key: "+quietKey+"}]}\nsettings:", 1)

// sent is one event that a monitor has sent: by which key, and how it was answered.
type sent struct {
	service catalog.ServiceID
	dedup   string
	status  int
	text    string
	after   string
}

// monitor sends one event, and never fails a test by itself.
func (in *instance) monitor(ctx context.Context, client *http.Client, key string, service catalog.ServiceID, dedup string) sent {
	body, _ := json.Marshal(map[string]string{ //nolint:errchkjson // strings
		"event_action": "trigger", "dedup_key": dedup, "summary": "disk full", "severity": "critical", "source": "test",
	})
	s := sent{service: service, dedup: dedup}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+in.doors.Listen+"/integrations/"+key+"/generic", strings.NewReader(string(body)))
	if err != nil {
		s.text = err.Error()
		return s
	}
	res, err := client.Do(req)
	if err != nil {
		s.text = err.Error()
		return s
	}
	defer res.Body.Close()
	var answer struct{ Errors []string }
	_ = json.NewDecoder(res.Body).Decode(&answer) // of a refusal
	s.status, s.text, s.after = res.StatusCode, strings.Join(answer.Errors, ", "), res.Header.Get("Retry-After")
	return s
}

// kept fails the test for each accepted event that leads to no incident.
func (in *instance) kept(all []sent) {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(in.t.Context(), 2*patience)
	defer cancel()
	for _, s := range all {
		if s.status != http.StatusAccepted {
			continue
		}
		for {
			linked, err := in.server.store.Linked(ctx, s.service, s.dedup)
			if err == nil && linked[s.dedup] != "" {
				break
			}
			if ctx.Err() != nil {
				in.t.Fatalf("event %s of %s was answered 202 and has no incident (%v)", s.dedup, s.service, err)
			}
		}
	}
}

// TestAStormOfOneKey: one key sends many times what there is room for. Another
// key, whose events wait in the same partition, and the responders do not notice;
// what was answered 202 is an incident; the storm is told to come again, and the
// operator hears whose it is.
func TestAStormOfOneKey(t *testing.T) {
	t.Parallel()
	if store.PartitionOf(quietService) != store.PartitionOf("checkout") {
		t.Fatal("the events of the two services do not wait in the same partition")
	}
	w := newWorld(t, redistest.Start(t, redistest.WithFsync(redisd.FsyncAlways)).URL())
	in := w.start(func(o *Options) { o.limits = admission.Limits{Requests: 90, Inbox: 900} })
	in.apply(withQuiet)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 400}}
	t.Cleanup(client.CloseIdleConnections)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	var storm []sent
	var refused atomic.Int64
	var g sync.WaitGroup
	for i := range 150 {
		g.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				s := in.monitor(context.WithoutCancel(ctx), client, key, "checkout", fmt.Sprintf("storm-%d-%d", i, n))
				if s.status != http.StatusAccepted {
					refused.Add(1)
				}
				mu.Lock()
				storm = append(storm, s)
				mu.Unlock()
			}
		})
	}
	incidents := pb.NewIncidentServiceClient(dial(t, in.doors.Listen))
	var quiet []sent
	var waits []time.Duration
	for n := 0; n < 10 || (refused.Load() < 200 && n < 100); n++ {
		s := in.monitor(t.Context(), client, quietKey, quietService, fmt.Sprint("quiet-", n))
		quiet = append(quiet, s)
		if s.status != http.StatusAccepted {
			t.Fatalf("an event of the quiet key is answered %d (%s), want 202", s.status, s.text)
		}
		in.kept([]sent{s})
		linked, err := in.server.store.Linked(t.Context(), s.service, s.dedup)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		got, err := incidents.AcknowledgeIncident(ann.auth, &pb.AcknowledgeIncidentRequest{Name: "incidents/" + string(linked[s.dedup])})
		if err != nil || got.GetState() != pb.Incident_STATE_ACKNOWLEDGED {
			t.Fatalf("an acknowledgement in the storm: got %v, %v", got.GetState(), err)
		}
		waits = append(waits, time.Since(began))
	}
	said := strings.Join(in.server.storms(), "\n")
	stop()
	g.Wait()
	slices.Sort(waits)
	t.Logf("%d events of the storm, %d refused; acknowledgements took %v, the slowest of %d %v",
		len(storm), refused.Load(), waits[len(waits)/2], len(waits), waits[len(waits)-1])
	if refused.Load() < 200 {
		t.Errorf("%d events of the storm were refused, want that most are", refused.Load())
	}
	if slowest := waits[len(waits)-1]; slowest > time.Second+busy {
		t.Errorf("an acknowledgement took %v, want less than a second", slowest)
	}
	for _, s := range storm {
		if s.status == http.StatusAccepted {
			continue
		}
		if s.status != http.StatusServiceUnavailable || s.after == "" || !strings.Contains(s.text, "share") {
			t.Fatalf("an event of the storm is answered %d (%s), Retry-After %q, want 503, the limit, and when to come again", s.status, s.text, s.after)
		}
	}
	if !strings.Contains(said, "monitor (Checkout)") || strings.Contains(said, "watchman") {
		t.Errorf("the status says %q, want who storms and nobody else", said)
	}
	in.kept(storm)
	in.kept(quiet)
}

// TestAKeyThatHangsTakesItsShareOnly: Redis does not answer, and requests of one
// key pile up. Those of another are taken in, and done when it goes on.
func TestAKeyThatHangsTakesItsShareOnly(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	w := newWorld(t, redis.URL())
	in := w.start(func(o *Options) { o.limits, o.patience = admission.Limits{Requests: 60}, patience })
	in.apply(withQuiet)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	t.Cleanup(client.CloseIdleConnections)

	redis.Pause(t)
	answers := make(chan sent, 100)
	send := func(key string, service catalog.ServiceID, dedup string) {
		go func() { answers <- in.monitor(t.Context(), client, key, service, dedup) }()
	}
	for i := range 21 {
		send(key, "checkout", fmt.Sprint("hangs-", i))
	}
	first := <-answers // 20 are a third of the room
	if first.status != http.StatusServiceUnavailable || !strings.Contains(first.text, "this key") {
		t.Errorf("one more than its share is answered %d (%s), want 503 and that the key has its share", first.status, first.text)
	}
	send(quietKey, quietService, "quiet")
	eventually(t, "the other key's request is let in", func() bool { return in.gauge("tocsin_event_requests_in_hand") == 21 })
	redis.Resume(t)
	all := []sent{first}
	for range 21 {
		s := <-answers
		if strings.Contains(s.text, "share") {
			t.Errorf("%s is answered %d (%s), want that it was let in", s.dedup, s.status, s.text)
		}
		all = append(all, s)
	}
	in.kept(all)
}
