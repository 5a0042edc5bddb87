package demo

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// look is what there is to see on the stage now.
func (t *theatre) look(now time.Time) screen {
	s := screen{now: now, monitor: t.monitor.name(), url: t.server.url, phones: [2]handset{lookPhone(t.ann, now), lookPhone(t.bo, now)}}
	t.mu.Lock()
	fired := t.fired
	t.mu.Unlock()
	s.server = t.lookServer(now)
	views := t.watch.views()
	slices.SortStableFunc(views, func(a, b view) int {
		return a.incident.GetCreateTime().AsTime().Compare(b.incident.GetCreateTime().AsTime())
	})
	for _, v := range views {
		s.open += boolCount(v.incident.GetState() != tocsinv1.Incident_STATE_RESOLVED)
	}
	if v, ok := foremost(views); ok {
		s.incident = lookIncident(v, fired, now)
	}
	return s
}

func boolCount(b bool) int {
	if b {
		return 1
	}
	return 0
}

// foremost is the incident to show: the newest that is open, else the newest.
func foremost(views []view) (view, bool) {
	for _, v := range slices.Backward(views) {
		if v.incident.GetState() != tocsinv1.Incident_STATE_RESOLVED {
			return v, true
		}
	}
	if len(views) == 0 {
		return view{}, false
	}
	return views[len(views)-1], true
}

func (t *theatre) lookServer(now time.Time) serverLine {
	line := serverLine{log: t.server.logLine()}
	if !t.serving.TryLock() { // it is being killed and started
		return serverLine{state: "✗ killed with kill -9; starting again", down: true}
	}
	defer t.serving.Unlock()
	if !t.server.process.alive() {
		line.state, line.down = "✗ the server has ended", true
		return line
	}
	line.state = fmt.Sprintf("● serve, pid %d, up %s", t.server.process.pid(), clockText(now.Sub(t.server.began)))
	return line
}

func lookPhone(p *phone, now time.Time) handset {
	h := handset{name: p.name, mood: p.moodNow(), pending: p.saying(), clock: now.Format("15:04"), capital: p.owner == bo}
	for _, n := range slices.Backward(p.sim.Shown()) {
		h.cards = append(h.cards, lookCard(n, now))
		if n.Kind == "page" {
			h.pages++
		}
		if h.badge == nil && n.Badge != nil {
			h.badge = n.Badge
		}
	}
	return h
}

func lookCard(n pushtest.Notification, now time.Time) card {
	c := card{title: n.Title, subtitle: n.Subtitle, body: n.Body, page: n.Kind == "page", age: now.Sub(n.At)}
	switch {
	case n.Missed:
		c.foot = "missed"
	case n.Audible() && (n.Critical || n.Sound == "critical"):
		c.foot, c.loud = "♪♪ critical sound", true
	case n.Audible():
		c.foot = "♪ " + n.Sound
		if n.Platform == "android" {
			c.foot = "♪ alarm channel"
		}
	default:
		c.foot = "silent"
	}
	if left := n.Expires.Sub(now); c.page && !n.Expires.IsZero() && left > 0 {
		c.left = clockText(left)
	}
	return c
}

func lookIncident(v view, fired, now time.Time) board {
	in := v.incident
	b := board{
		title: fmt.Sprintf("#%d %s", in.GetNumber(), in.GetTitle()),
		state: strings.ToLower(strings.TrimPrefix(in.GetState().String(), "STATE_")),
	}
	var names []string
	for _, a := range in.GetAssignees() {
		names = append(names, a.GetDisplayName())
	}
	e := in.GetEscalation()
	switch {
	case len(in.GetAcknowledgements()) > 0 && in.GetState() == tocsinv1.Incident_STATE_ACKNOWLEDGED:
		b.turn = "held by " + in.GetAcknowledgements()[0].GetDisplayName()
	case in.GetState() == tocsinv1.Incident_STATE_RESOLVED:
		b.turn = "over after " + clockText(in.GetResolveTime().AsTime().Sub(in.GetCreateTime().AsTime()))
	case e.GetNextEscalationTime() != nil:
		b.turn = fmt.Sprintf("%s asked, level %d/%d, next in %s", strings.Join(names, ", "), e.GetLevel(), e.GetLevelCount(),
			clockText(max(0, e.GetNextEscalationTime().AsTime().Sub(now))))
	default:
		b.turn = strings.Join(names, ", ") + " asked"
	}
	zero := in.GetCreateTime().AsTime()
	if !fired.IsZero() && fired.Before(zero) && zero.Sub(fired) < 5*time.Second {
		zero = fired
	}
	for _, entry := range v.entries {
		b.entries = append(b.entries, entryLine{at: sinceText(entry.GetEntryTime().AsTime().Sub(zero)), text: entry.GetSummary()})
	}
	for _, d := range v.deliveries {
		if d.GetKind() != tocsinv1.Delivery_KIND_UPDATE {
			b.deliveries = append(b.deliveries, fmt.Sprintf("%s, %s: %s", d.GetDisplayName(), d.GetContactMethod(), deliveryWay(d)))
		}
	}
	return b
}

// clockText is a duration as a clock shows it: "9:05".
func clockText(d time.Duration) string {
	seconds := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// sinceText is a distance in time in six columns: "+0.084", "+12.30", "+2m05s".
func sinceText(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 10:
		return fmt.Sprintf("+%.3f", max(0, s))
	case s < 100:
		return fmt.Sprintf("+%.2f", s)
	default:
		return fmt.Sprintf("+%dm%02ds", int(s)/60, int(s)%60)
	}
}
