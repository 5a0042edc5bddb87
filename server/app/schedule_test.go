package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// rotation is the organisation with a schedule in which Ann is on call, and Bo
// from the next minute on that is left of the handoff; nobody is named by the policy.
func rotation(handoff time.Time) string {
	anchor := handoff.UTC().Add(-time.Hour).Format("2006-01-02T15:04")
	return strings.Replace(organisation, "targets: [users/ann]", "targets: [schedules/primary]", 1) + fmt.Sprintf(`
schedules:
  - {id: primary, name: Primary, time_zone: UTC, layers: [{id: turns, rotation: {unit: hours, handoff: "%s"}, participants: [ann, bo]}]}
`, anchor)
}

// TestSchedulePagesWhoeverIsOnCall: Ann before the hand-off and Bo after it,
// whoever takes over in between, and the next level at once where there is a gap.
func TestSchedulePagesWhoeverIsOnCall(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	handoff := w.watch.Now().UTC().Truncate(time.Minute).Add(30 * time.Minute)
	in.apply(rotation(handoff))
	ann, bo, cy := in.enrol(w, "ann", roster.IOS), in.enrol(w, "bo", roster.IOS), in.enrol(w, "cy", roster.IOS)
	in.send("trigger", "before", "disk full")
	gets(t, ann, "the page before the hand-off", page)
	in.send("resolve", "before", "disk full")
	in.forward(w, handoff.Sub(w.watch.Now())+time.Second)
	in.send("trigger", "after", "disk full")
	first := gets(t, bo, "the page after the hand-off", page)
	in.send("resolve", "after", "disk full")
	override := func(id schedule.OverrideID, user roster.UserID) {
		in.change(func(e *directory.Edit) error {
			return e.AddOverrides("primary", schedule.Override{ID: id, User: user, Start: e.Now, End: e.Now.Add(10 * time.Minute)})
		})
	}
	override("cover", "cy")
	in.send("trigger", "covered", "disk full")
	gets(t, cy, "the page of who took over", page)
	in.send("resolve", "covered", "disk full")
	override("gap", "")
	in.send("trigger", "gap", "disk full")
	gets(t, bo, "the page of the next level, at once", func(n pushtest.Notification) bool { return page(n) && n.IncidentID != first.IncidentID })
}
