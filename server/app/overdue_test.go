package app

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// levels returns the level that each open incident has reached, by title.
func (in *instance) levels() map[string]int {
	in.t.Helper()
	list, err := pb.NewIncidentServiceClient(in.console()).ListIncidents(in.t.Context(), &pb.ListIncidentsRequest{})
	if err != nil {
		in.t.Fatal(err)
	}
	levels := map[string]int{}
	for _, i := range list.GetIncidents() {
		if i.GetState() != pb.Incident_STATE_RESOLVED {
			levels[i.GetTitle()] = int(i.GetEscalation().GetLevel())
		}
	}
	return levels
}

// reaches waits until the open incidents have the levels.
func (in *instance) reaches(what string, want map[string]int) {
	in.t.Helper()
	until := time.NewTimer(patience)
	defer until.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		if got := in.levels(); maps.Equal(got, want) {
			return
		}
		select {
		case <-look.C:
		case <-until.C:
			in.t.Fatalf("%s: the open incidents have the levels %v, want %v", what, in.levels(), want)
		}
	}
}

// TestALongOutagePagesNobodyForThePast: what was due long ago when the server
// comes back waits, and the catch-all hears of it once. What is new pages, and
// so does what its monitor still reports; the rest goes on when resumed.
func TestALongOutagePagesNobodyForThePast(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	ann, bo, cy := in.enrol(w, "ann", roster.IOS), in.enrol(w, "bo", roster.IOS), in.enrol(w, "cy", roster.IOS)
	for _, key := range []string{"disk", "network", "power"} {
		in.send("trigger", key, key+" is out")
	}
	in.reaches("at the start", map[string]int{"disk is out": 1, "network is out": 1, "power is out": 1})
	gets(t, ann, "a page", page)
	in.stop()

	w.watch.forward(3 * time.Hour)
	before := w.watch.Now()
	in = w.start()
	notice := gets(t, cy, "the page that tells of it", page)
	if text := notice.Title + notice.Subtitle + notice.Body; !strings.Contains(text, "held for 3 incidents") {
		t.Errorf("the catch-all reads %q, want it to tell of 3 incidents", text)
	}
	in.send("trigger", "database", "database is out")
	gets(t, ann, "a page about what is new", func(n pushtest.Notification) bool { return page(n) && n.At.After(before) })
	if pages(bo) > 0 { // it may well have had its daily heartbeat
		t.Errorf("the second level was paged for the past: %+v", bo.Got())
	}
	status, err := pb.NewOperatorServiceClient(in.console()).GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil || !strings.Contains(strings.Join(status.GetProblems(), "\n"), "3 incidents that had been due before") {
		t.Errorf("the status says %q (%v), want that 3 incidents wait", status.GetProblems(), err)
	}

	told := ""
	for title := range in.levels() {
		if strings.HasPrefix(title, "Paging is held for 3 incidents") {
			told = title
		}
	}
	in.send("trigger", "disk", "disk is out") // still: so it is not solved
	in.reaches("with one reported again", map[string]int{"disk is out": 2, "network is out": 1, "power is out": 1, "database is out": 1, told: 0})
	gets(t, bo, "a page about it", page)
	in.stop() // what waits goes on to wait after a restart
	in = w.start()
	in.send("trigger", "cooling", "cooling is out")
	in.reaches("after a restart", map[string]int{
		"disk is out": 2, "network is out": 1, "power is out": 1, "database is out": 1, "cooling is out": 1, told: 0,
	})
	if _, err := pb.NewOperatorServiceClient(in.console()).ResumePaging(t.Context(), &pb.ResumePagingRequest{RequestId: uuid.NewString()}); err != nil {
		t.Fatal(err)
	}
	in.reaches("when resumed", map[string]int{
		"disk is out": 2, "network is out": 2, "power is out": 2, "database is out": 1, "cooling is out": 1,
	})
	pages := 0
	for _, n := range cy.Got() {
		if page(n) && !n.Replaced {
			pages++
		}
	}
	if pages != 1 {
		t.Errorf("the catch-all was paged %d times, want once", pages)
	}
}

// TestWhatWasHeldIsNoOutage: after a hold of hours everything is overdue, and
// pages as soon as it is resumed, whoever owns it by then.
func TestWhatWasHeldIsNoOutage(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	ann, bo := in.enrol(w, "ann", roster.IOS), in.enrol(w, "bo", roster.IOS)
	in.send("trigger", "disk", "disk is out")
	gets(t, ann, "the first page", page)
	hold := &pb.HoldPagingRequest{Reason: "migration", RequestId: uuid.NewString()}
	if _, err := pb.NewOperatorServiceClient(in.console()).HoldPaging(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	in.stop()
	w.watch.forward(3 * time.Hour)
	in = w.start()
	if _, err := pb.NewOperatorServiceClient(in.console()).ResumePaging(t.Context(), &pb.ResumePagingRequest{}); err != nil {
		t.Fatal(err)
	}
	in.stop()
	w.start()
	gets(t, bo, "the escalation that had waited", page)
}
