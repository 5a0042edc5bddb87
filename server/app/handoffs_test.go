package app

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// TestHandOffIsToldBeforeAndWhenItIsThere: both sides of a hand-off are told an
// hour before, and when it is there; each once, although the server is started
// again between and two of them look.
func TestHandOffIsToldBeforeAndWhenItIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	at := w.watch.Now().Add(70 * time.Minute)
	in.apply(shift(at, "observe"))
	ann, bo := in.bring(w, "ann", pb.Device_PLATFORM_IOS), in.bring(w, "bo", pb.Device_PLATFORM_IOS)
	says := func(words string) func(pushtest.Notification) bool {
		return func(n pushtest.Notification) bool {
			return n.Kind == "info" && strings.Contains(n.Body, words) && !n.Audible()
		}
	}
	w.watch.forward(11 * time.Minute)
	gets(t, ann.Phone, "the end an hour before", says("Bo follows you"))
	gets(t, bo.Phone, "the beginning an hour before", says(`You come on call by "Primary" at`))
	in.stop()
	w.start()
	w.start()
	w.watch.forward(time.Hour)
	gets(t, ann.Phone, "the end", says("ends now"))
	gets(t, bo.Phone, "the beginning", says(`You come on call by "Primary" now, after Ann.`))
	for _, h := range []*handset{ann, bo} {
		told := map[string]int{}
		for _, n := range h.Got() {
			if n.Kind == "info" && (strings.HasPrefix(n.Title, "On call ") || strings.HasPrefix(n.Title, "Off call ")) {
				told[n.Body]++
			}
		}
		if want := map[*handset]int{ann: 3, bo: 2}[h]; len(told) != want { // ann came on call when the schedule was made
			t.Errorf("%s was told %v, want an hour before and when it was there", h.Name(), told)
		}
		for words, times := range told {
			if times != 1 {
				t.Errorf("%s was told %d times: %s", h.Name(), times, words)
			}
		}
	}
}

// TestHandOffIsTakenOverByATap: Bo's turn begins with one incident that Ann
// holds and one that nobody has taken. The notice counts them; with one tap both
// are his, Ann's phone says so, and a retry of the tap changes nothing.
func TestHandOffIsTakenOverByATap(t *testing.T) {
	eachProvider(t, func(t *testing.T, p pb.Device_Platform) {
		t.Helper()
		w := newWorld(t, redistest.Start(t).URL())
		in := w.start()
		in.apply(shift(w.watch.Now().Add(9*time.Minute), "observe"))
		ann, bo := in.bring(w, "ann", p), in.bring(w, "bo", p)
		in.send("trigger", "db", "disk full")
		held := gets(t, ann.Phone, "the first page", page)
		if _, err := ann.act(held); err != nil {
			t.Fatal(err)
		}
		in.forward(w, time.Minute) // a card of its own
		in.send("trigger", "net", "packets are lost")
		waits := gets(t, ann.Phone, "the second page", func(n pushtest.Notification) bool { return page(n) && n.IncidentID != held.IncidentID })
		in.forward(w, 8*time.Minute)
		gets(t, bo.Phone, "the beginning with what is open", func(n pushtest.Notification) bool {
			return n.Kind == "info" && strings.Contains(n.Body, "now, after Ann. 2 incidents are open, 1 not acknowledged.")
		})

		turns := pb.NewOnCallServiceClient(dial(t, in.doors.Listen))
		h, err := turns.GetHandOff(bo.auth, &pb.GetHandOffRequest{})
		if err != nil || h.GetFromUser() != "users/ann" || h.GetToUser() != "users/bo" || len(h.GetIncidents()) != 2 || h.GetPageCount() < 2 {
			t.Fatalf("what is handed over: %v, %v", h, err)
		}
		req := &pb.TakeOverIncidentsRequest{Schedule: h.GetSchedule(), RequestId: uuid.NewString()}
		taken, err := turns.TakeOverIncidents(bo.auth, req)
		if err != nil || len(taken.GetResults()) != 2 {
			t.Fatalf("taken over: %v, %v", taken, err)
		}
		for id, want := range map[string]pb.Incident_State{held.IncidentID: pb.Incident_STATE_ACKNOWLEDGED, waits.IncidentID: pb.Incident_STATE_TRIGGERED} {
			if got := in.incident(id); got.GetState() != want || len(got.GetAssignees()) != 1 || got.GetAssignees()[0].GetUser() != "users/bo" {
				t.Errorf("after the tap it is %v of %v, want %v of Bo", got.GetState(), got.GetAssignees(), want)
			}
		}
		if got := in.incident(held.IncidentID).GetAcknowledgements(); len(got) != 1 || got[0].GetUser() != "users/bo" {
			t.Errorf("what Ann had held is held by %v", got)
		}
		gets(t, ann.Phone, "the line that Bo has it", func(n pushtest.Notification) bool {
			return quiet(n) && n.IncidentID == waits.IncidentID && strings.HasSuffix(n.Title, "taken over by Bo")
		})
		entries := len(in.timeline(held.IncidentID))
		if again, err := turns.TakeOverIncidents(bo.auth, req); err != nil || !proto.Equal(again, taken) || len(in.timeline(held.IncidentID)) != entries {
			t.Errorf("the retry got %v, %v", again, err)
		}
	})
}
