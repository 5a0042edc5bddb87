package admission

import "time"

// pace is how fast events are decided while many wait.
type pace struct {
	perSecond float64
	decided   int       // since at
	at        time.Time // when it was measured last
	busy      bool      // many waited then
}

const (
	// within is how long an event may wait to be decided, roughly: behind what is
	// taken on there is a page of somebody who sends next to nothing.
	within = 10 * time.Second
	// firstPace is what is believed before anything was measured, events a second.
	firstPace = 5000
	// leastRoom is what is taken on however slow it is.
	leastRoom = 5000
	paceTrust = 0.3             // in one measurement, against all before it
	longGap   = 5 * time.Second // between measurements that say nothing: the clock was moved, or all stood still
)

// Measure fits the room for waiting events to how fast they are decided. It
// wants to be called about once a second. When few wait, the pace says how fast
// they come and nothing else, and the room stays.
func (g *Gate) Measure() {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, now := &g.pace, g.c.Now()
	took, busy := now.Sub(p.at), g.many()
	if p.busy && busy && took > 0 && took < longGap {
		p.perSecond += paceTrust * (float64(p.decided)/took.Seconds() - p.perSecond)
		g.fit()
	}
	p.at, p.busy, p.decided = now, busy, 0
}

// fit makes the room as large as the pace allows.
func (g *Gate) fit() {
	room := min(max(int(g.pace.perSecond*within.Seconds()), leastRoom), g.c.Waiting)
	g.waiting.Room, g.waiting.Reserve = room, room/2
	g.waiting.Least = max(room/1000, leastRequests) // out of the reserve, for some 300 keys at least
}
