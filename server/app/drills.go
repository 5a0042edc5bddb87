package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// drills begins the fire drills that are due, sends their test pages and follows
// them to their end. Each person is looked after by the owner of his partition;
// what is kept of a drill is changed by whoever read it last, so of two owners one
// begins it, and one that was begun is sent by whoever owns the person next.
type drills struct {
	directory *directory.Directory
	ledger    drillLedger
	send      func(ctx context.Context, device roster.DeviceID, id drill.ID, life time.Duration) (notify.Test, error)
	tell      func(notify.News)
	owned     func() []store.Partition
	now       func() time.Time
	log       *slog.Logger
	every     time.Duration // between looks at what is running

	looked time.Time // when what is due was looked for
	tidied time.Time
	told   map[string]bool // summaries that need no look any more
	ended  *prometheus.CounterVec
	took   prometheus.Histogram
}

// drillLedger is what is remembered of drills: *store.Store.
type drillLedger interface {
	Drill(ctx context.Context, id drill.ID) (drill.Drill, error)
	PutDrill(ctx context.Context, d drill.Drill) (bool, error)
	OpenDrills(ctx context.Context) ([]drill.Drill, error)
	Drills(ctx context.Context, user roster.UserID, before time.Time, n int) ([]drill.Drill, error)
	ForgetDrills(ctx context.Context, now time.Time, most int) error
	Delivery(ctx context.Context, id string) (store.Doc, incident.Delivery, bool, error)
	TouchDevice(ctx context.Context, id roster.DeviceID, set map[string]any) error
	Responding(ctx context.Context, user roster.UserID) (bool, error)
	PutOnce(ctx context.Context, key string, value []byte, ttl time.Duration) error
}

const (
	lookForDrills = 10 * time.Second
	tidyDrills    = time.Hour
	forgetAtOnce  = 500
	summaryAfter  = 24 * time.Hour // the last zone's period has ended by then
	summaryLate   = 7 * 24 * time.Hour
	summaryMost   = 2000 // drills that one summary looks at
)

// register makes the figures known.
func (w *drills) register(r prometheus.Registerer) {
	w.ended = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_drills_total", Help: "Fire drills that this instance has seen to their end, by how they ended.",
	}, []string{"state"})
	w.took = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tocsin_drill_response_seconds", Help: "How soon a fire drill was heard, from its beginning.",
		Buckets: []float64{5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600},
	})
	for _, s := range []drill.State{drill.Heard, drill.Missed, drill.Skipped, drill.Cancelled} {
		w.ended.WithLabelValues(s.String())
	}
	r.MustRegister(w.ended, w.took)
}

// run looks until ctx ends.
func (w *drills) run(ctx context.Context) error {
	return rounds(ctx, w.every, w.log, "fire drills were not looked after", w.round)
}

// round follows what is running, and now and then looks for what is due.
func (w *drills) round(ctx context.Context) error {
	snap, now := w.directory.Snapshot(), w.now()
	mine := mineOf(w.owned())
	open, err := w.ledger.OpenDrills(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range open {
		if mine[store.PartitionOf(string(d.User))] {
			errs = append(errs, w.follow(ctx, snap, d, now))
		}
	}
	if now.Sub(w.looked) >= lookForDrills {
		w.looked = now
		for p := range snap.DrillPlans() {
			errs = append(errs, w.due(ctx, snap, p, mine, now))
			if mine[store.PartitionOf(string(p.ID))] {
				errs = append(errs, w.summarise(ctx, snap, p, now))
			}
		}
	}
	if now.Sub(w.tidied) >= tidyDrills {
		w.tidied = now
		errs = append(errs, w.ledger.ForgetDrills(ctx, now, forgetAtOnce))
	}
	return errors.Join(errs...)
}

// due begins the drills of a plan whose time has come.
func (w *drills) due(ctx context.Context, snap *directory.Snapshot, p *directory.DrillPlan, mine map[store.Partition]bool, now time.Time) error {
	if snap.Settings().Held {
		return nil
	}
	var errs []error
	for _, id := range snap.Drilled(p, now) {
		u, ok := snap.User(id)
		if !ok || !mine[store.PartitionOf(string(id))] {
			continue
		}
		zone := snap.Zone(u.Zone)
		n := p.PeriodAt(now, zone)
		when, ok := p.Due(id, n, zone, p.Created)
		if !ok || !when.Holds(now) || !snap.MayDrill(p, id, now) {
			continue
		}
		errs = append(errs, w.begin(ctx, snap, p, drill.New(p.DrillOf(id, n), id, now, p.Limit), now, !now.Add(lookForDrills).Before(when.To)))
	}
	return errors.Join(errs...)
}

// begin begins a drill by a plan once, unless its person is responding to an
// incident, or to another drill: then it waits, and at the last moment is skipped.
func (w *drills) begin(ctx context.Context, snap *directory.Snapshot, p *directory.DrillPlan, d drill.Drill, now time.Time, last bool) error {
	switch _, err := w.ledger.Drill(ctx, d.ID); {
	case err == nil: // begun before
		return nil
	case fault.KindOf(err) != fault.NotFound:
		return err
	}
	d.Plan, d.Team = p.ID, p.Team
	busy, err := w.busy(ctx, d.User)
	switch {
	case err != nil:
		return err
	case busy != "" && !last:
		return nil
	case busy != "":
		d = d.End(drill.Skipped, busy, now)
	default:
		if d.Devices, err = snap.DrillDevices(d.User, func(id roster.DeviceID) (string, error) { return notify.DrillDelivery(d.User, id, d.ID) }); err != nil {
			return err
		}
	}
	kept, err := w.ledger.PutDrill(ctx, d)
	if err != nil || !kept {
		return err
	}
	if d.State != drill.Running {
		w.ended.WithLabelValues(d.State.String()).Inc()
		return nil
	}
	d.Revision++
	return w.follow(ctx, snap, d, now)
}

// busy says why a person is not drilled now; "" when he can be.
func (w *drills) busy(ctx context.Context, user roster.UserID) (string, error) {
	switch incident, err := w.ledger.Responding(ctx, user); {
	case err != nil:
		return "", err
	case incident:
		return responding, nil
	}
	open, err := w.ledger.OpenDrills(ctx)
	if slices.ContainsFunc(open, func(o drill.Drill) bool { return o.User == user && o.State == drill.Running }) {
		return "Another drill was running.", err // whose card that of this one would take the place of
	}
	return "", err
}

// responding is why a drill is not held, or not to its end.
const responding = "There was an incident to respond to."

// follow brings one drill a step further.
func (w *drills) follow(ctx context.Context, snap *directory.Snapshot, d drill.Drill, now time.Time) error {
	if d.State == drill.PutOff {
		return w.again(ctx, snap, d, now)
	}
	busy, err := w.ledger.Responding(ctx, d.User)
	if err != nil {
		return err
	}
	seen, tried := d, len(d.Devices) == 0
	seen.Devices = append([]drill.Device(nil), d.Devices...)
	for i, x := range seen.Devices {
		_, dv, found, err := w.ledger.Delivery(ctx, x.Delivery)
		switch {
		case err != nil:
			return err
		case found:
			seen.Devices[i], tried = x.Seen(dv), true
		case !busy && now.Before(d.Deadline):
			tried = true
			if _, err := w.send(ctx, x.ID, d.ID, d.Deadline.Sub(now)); err != nil {
				seen.Devices[i].Outcome = drill.Refused
				if f, ok := errors.AsType[*fault.Error](err); ok {
					seen.Devices[i].Reason = f.Reason
				}
			}
		}
	}
	switch {
	case busy && !seen.Settled(now):
		return w.end(ctx, seen.End(drill.Cancelled, responding, now))
	case !seen.Settled(now):
		return nil
	case !tried: // it says nothing about the person and his phones
		return w.end(ctx, seen.End(drill.Cancelled, "No server was there to send it in time.", now))
	}
	return w.end(ctx, seen.Judge(now))
}

// again holds a drill a second time that its person has put off.
func (w *drills) again(ctx context.Context, snap *directory.Snapshot, d drill.Drill, now time.Time) error {
	if now.Before(d.Again) {
		return nil
	}
	p, ok := snap.GetDrillPlan(d.Plan)
	if !ok {
		return w.end(ctx, d.End(drill.Skipped, "Its plan is gone.", now))
	}
	if !snap.Names(p, d.User) {
		return w.end(ctx, d.End(drill.Skipped, "The plan does not drill him any more.", now))
	}
	if !snap.MayDrill(p, d.User, now) || snap.Settings().Held { // down meanwhile, or held
		u, _ := snap.User(d.User)
		d.Again = p.Again(now.Add(-24*time.Hour), snap.Zone(u.Zone))
		if !d.Again.After(now) {
			return nil
		}
		_, err := w.ledger.PutDrill(ctx, d)
		return err
	}
	next := drill.New(d.ID+"2", d.User, now, p.Limit)
	next.Twice = true
	if err := w.begin(ctx, snap, p, next, now, false); err != nil {
		return err
	}
	if _, err := w.ledger.Drill(ctx, next.ID); err != nil {
		if fault.KindOf(err) == fault.NotFound { // there is an incident: it waits
			return nil
		}
		return err
	}
	d.Ended = now
	_, err := w.ledger.PutDrill(ctx, d)
	return err
}

// end keeps how a drill has ended, and tells whom it concerns: once, by whoever
// has ended it.
func (w *drills) end(ctx context.Context, d drill.Drill) error {
	kept, err := w.ledger.PutDrill(ctx, d)
	if err != nil || !kept {
		return err
	}
	w.ended.WithLabelValues(d.State.String()).Inc()
	if d.State != drill.Heard && d.State != drill.Missed {
		return nil
	}
	var errs []error
	for _, x := range d.Devices {
		errs = append(errs, w.ledger.TouchDevice(ctx, x.ID, map[string]any{roster.WordDrill: d.Begun, roster.WordHeard: x.Outcome == drill.OnDevice}))
	}
	if took, ok := d.Response(); ok {
		w.took.Observe(took.Seconds())
	}
	if d.State == drill.Missed {
		w.tell(notify.News{
			Name: "drill/" + string(d.ID), User: d.User, Aside: true, Title: "You did not hear a fire drill",
			Body: d.Reason + " A page would not have woken you: send a test to your phone, and mend what it says.",
		})
	}
	return errors.Join(errs...)
}

// summarise tells the managers of a team what came of a period of a plan, once.
func (w *drills) summarise(ctx context.Context, snap *directory.Snapshot, p *directory.DrillPlan, now time.Time) error {
	team, ok := snap.GetTeam(p.Team)
	if !ok || len(team.Managers) == 0 {
		return nil
	}
	n := p.PeriodAt(now.Add(-summaryAfter), time.UTC)
	from, to := p.Begins(n-1, time.UTC), p.Begins(n, time.UTC)
	if now.Sub(to) > summaryAfter+summaryLate || p.Created.After(to) {
		return nil
	}
	name := fmt.Sprintf("drills/%s/%d/%d", p.ID, n-1, from.Unix())
	if w.told[name] {
		return nil
	}
	held, err := w.between(ctx, p.ID, from, to)
	if err != nil {
		return err
	}
	w.told[name] = true
	if len(held) == 0 {
		return nil
	}
	first, err := claims(w.ledger.PutOnce).first(ctx, name, 2*(summaryAfter+summaryLate))
	if err != nil {
		delete(w.told, name)
	}
	if !first {
		return err
	}
	title, body := drillSummary(snap, p, held, from, to)
	for _, u := range team.Managers {
		w.tell(notify.News{Name: name, User: u, Title: title, Body: body})
	}
	return nil
}

// between returns the drills of a plan that began in [from, to), and are over.
func (w *drills) between(ctx context.Context, plan drill.PlanID, from, to time.Time) ([]drill.Drill, error) {
	var all []drill.Drill
	for looked := 0; looked < summaryMost; {
		page, err := w.ledger.Drills(ctx, "", to, 200)
		if err != nil || len(page) == 0 {
			return all, err
		}
		looked += len(page)
		for _, d := range page {
			if d.Begun.Before(from) {
				return all, nil
			}
			if d.Plan == plan && d.Over() {
				all = append(all, d)
			}
		}
		to = page[len(page)-1].Begun
	}
	return all, nil
}

// drillSummary says what came of the drills of a plan.
func drillSummary(snap *directory.Snapshot, p *directory.DrillPlan, held []drill.Drill, from, to time.Time) (title, body string) {
	s := drill.Summarize(held)
	title = fmt.Sprintf("Fire drills of %s: %d of %d heard", p.Name, s.Heard, s.Heard+s.Missed)
	body = fmt.Sprintf("From %s to %s.", from.Format("2 January"), to.Add(-time.Second).Format("2 January"))
	if s.Heard > 0 {
		body += fmt.Sprintf(" Heard after %s in the median.", s.Median.Round(time.Second))
	}
	for _, of := range []struct {
		state drill.State
		words string
	}{{drill.Missed, "Not heard by"}, {drill.Skipped, "Not held for"}, {drill.Cancelled, "Broken off for"}} {
		var names []string
		for _, d := range held {
			if d.State == of.state {
				names = append(names, displayName(snap, d.User))
			}
		}
		if len(names) > 0 {
			body += " " + of.words + " " + strings.Join(names, ", ") + "."
		}
	}
	return title, body
}
