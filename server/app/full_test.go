package app

import (
	"net/http"
	"strings"
	"testing"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// TestAFullRedisIsTold: events are refused and what is open goes on, so traffic
// stays; the status says it, and the dead-man calls stop for somebody to come.
func TestAFullRedisIsTold(t *testing.T) {
	redis := redistest.Start(t)
	w := newWorld(t, redis.URL())
	in := w.start()
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	in.bring(w, "cy", pb.Device_PLATFORM_IOS)
	in.send("trigger", "before", "disk full")
	n := gets(t, ann.Phone, "the page", page)
	if err := in.server.pages(t.Context()); err != nil {
		t.Errorf("before, what keeps events from paging is %v, want nothing", err)
	}

	if err := redis.Client(t).ConfigSet(t.Context(), "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"event_action":"trigger","summary":"x","source":"x","severity":"error"}`)
	if status, answer := in.post("/integrations/"+key+"/generic", body); status != http.StatusServiceUnavailable {
		t.Errorf("an event is answered %d %s, want 503", status, answer)
	}
	if status, answer := in.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz answers %d %s, want 200: acknowledgements still have to come in", status, answer)
	}
	if err := in.server.pages(t.Context()); err == nil {
		t.Error("the dead-man calls go on, want that they stop")
	}
	said, err := pb.NewOperatorServiceClient(in.console()).GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil || !strings.Contains(strings.Join(said.GetProblems(), "\n"), "Redis is full") {
		t.Errorf("the status says %q (%v), want that Redis is full", said.GetProblems(), err)
	}
	if answer := ann.acknowledge(n); answer.GetState() != pb.Incident_STATE_ACKNOWLEDGED {
		t.Errorf("an acknowledgement is answered %v, want that it is taken", answer)
	}

	if err := redis.Client(t).ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if status, answer := in.post("/integrations/"+key+"/generic", body); status != http.StatusAccepted {
		t.Errorf("with memory again an event is answered %d %s, want 202", status, answer)
	}
}
