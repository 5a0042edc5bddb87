package app

import (
	"strings"
	"testing"
	"time"

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
