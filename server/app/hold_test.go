package app

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// TestAHoldIsLoud: the log says it at once and repeats it, the metric and the
// status show it, and events are taken in meanwhile.
func TestAHoldIsLoud(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	cy := in.bring(w, "cy", pb.Device_PLATFORM_IOS)
	operator := pb.NewOperatorServiceClient(in.console())
	if _, err := operator.HoldPaging(t.Context(), &pb.HoldPagingRequest{Reason: "migration"}); err != nil {
		t.Fatal(err)
	}
	if _, body := in.get("/metrics"); !strings.Contains(body, "tocsin_paging_held 1") {
		t.Error("the metrics do not say that paging is held")
	}
	status, err := operator.GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil || !status.GetHold().GetHeld() || status.GetHold().GetHolder() != "the server's console" || status.GetReadiness() != pb.SystemStatus_READINESS_DEGRADED {
		t.Errorf("the status says %v, %s (%v), want held by the server's console, and degraded", status.GetHold(), status.GetReadiness(), err)
	}
	if code, body := in.get("/readyz"); code != 200 {
		t.Errorf("while paging is held /readyz answers %d %s, want 200: events are taken in", code, body)
	}
	in.send("trigger", "disk", "disk full")
	if _, err := operator.ResumePaging(t.Context(), &pb.ResumePagingRequest{}); err != nil {
		t.Fatal(err)
	}
	gets(t, cy.Phone, "what was taken in meanwhile", page)
	if _, body := in.get("/metrics"); !strings.Contains(body, "tocsin_paging_held 0") {
		t.Error("the metrics say that paging is held after the resume")
	}
}

// journal is what was logged. It may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

func TestAHoldIsSaidAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var out journal
		set := &directory.Settings{}
		h := &holdWatch{
			settings: func() *directory.Settings { mu.Lock(); defer mu.Unlock(); return set },
			log:      slog.New(slog.NewTextHandler(&out, nil)), look: time.Second, repeat: time.Minute,
		}
		change := func(s *directory.Settings) { mu.Lock(); defer mu.Unlock(); set = s }
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = h.run(ctx) })
		expect := func(what string, want int, text string) {
			t.Helper()
			synctest.Wait()
			if got := out.count(text); got != want {
				t.Errorf("%s: the log says %q %d times, want %d", what, text, got, want)
			}
		}
		const held, late = "PAGING IS HELD", "incidents that were due long ago wait"
		<-time.After(10 * time.Minute) // of the bubble
		expect("before the hold", 0, held)
		change(&directory.Settings{Settings: catalog.Settings{Held: true, HeldBy: "user/ann", HeldSince: time.Now()}, HeldReason: "migration"})
		<-time.After(time.Second)
		expect("at once", 1, held)
		<-time.After(5 * time.Minute)
		expect("five minutes later", 6, held)
		change(&directory.Settings{Settings: catalog.Settings{OverdueBefore: time.Now()}})
		<-time.After(2 * time.Minute)
		expect("when only the past is held", 2, late)
		change(&directory.Settings{})
		<-time.After(10 * time.Minute)
		expect("after the resume", 6, held)
		expect("after the resume", 2, late)
		cancel()
		wg.Wait()
	})
}
