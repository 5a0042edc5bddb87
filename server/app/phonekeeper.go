package app

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// phoneKeeper looks after phones that nobody is paging at the moment: once a
// day it asks each app to say that it is alive, it stops counting on those that
// were not heard of for long, and it counts who could be woken. Each person's
// devices are looked after by the owner of the person's partition; what two
// owners would do at once, one of them does.
type phoneKeeper struct {
	directory *directory.Directory
	words     func(ctx context.Context, ids ...roster.DeviceID) (map[roster.DeviceID]roster.Word, error)
	claim     func(ctx context.Context, id roster.DeviceID, field string, was time.Time, set map[string]any) (bool, error)
	beat      func(ctx context.Context, id roster.DeviceID, seen roster.Word) (bool, error)
	tell      func(notify.News)
	owned     func() []store.Partition
	now       func() time.Time
	log       *slog.Logger
	every     time.Duration

	devices     *prometheus.GaugeVec
	unreachable prometheus.Gauge
}

// How long a device may be silent. A push service forgets an Android app after
// 270 days: https://firebase.google.com/docs/cloud-messaging/manage-tokens
const (
	staleAfter  = 30 * 24 * time.Hour
	goneAfter   = 270 * 24 * time.Hour
	warnBrowser = 7 * 24 * time.Hour // browsers lose their subscriptions within days
	keepStale   = 200                // devices in one change

	reasonSilent = "not heard of for 30 days"
)

// register makes the figures known.
func (k *phoneKeeper) register(r prometheus.Registerer) {
	k.devices = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "push_devices", Help: "Devices that are not revoked, by state and platform. The same from every instance.",
	}, []string{"state", "platform"})
	k.unreachable = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "push_oncall_unreachable", Help: "People whom a policy or the catch-all may page now and who have neither a green phone nor a webhook. The same from every instance.",
	})
	r.MustRegister(k.devices, k.unreachable)
}

// run does a round now and then until ctx ends.
func (k *phoneKeeper) run(ctx context.Context) error {
	return rounds(ctx, k.every, k.log, "phones were not looked after", k.round)
}

// kept is a device with the last that was heard of it.
type kept struct {
	*directory.Device

	word roster.Word
}

// silentFor is how long nothing has been heard of the device: no call, no
// receipt, no answer, and no new address.
func (d kept) silentFor(now time.Time) time.Duration {
	last := d.word.Last()
	for _, t := range []time.Time{d.Address.At, d.Created} {
		if t.After(last) {
			last = t
		}
	}
	return now.Sub(last)
}

func (k *phoneKeeper) round(ctx context.Context) error {
	snap := k.directory.Snapshot()
	all, err := k.read(ctx, snap)
	if err != nil {
		return err
	}
	now := k.now()
	k.count(snap, all, now)
	mine := mineOf(k.owned())
	var silent []kept
	for _, d := range all {
		if !mine[store.PartitionOf(string(d.User))] {
			continue
		}
		u, ok := snap.User(d.User)
		if !ok {
			continue
		}
		quiet := d.silentFor(now)
		switch {
		case quiet >= goneAfter, d.Address.Kind != 0 && (quiet >= staleAfter && d.State == roster.DeviceActive || quiet < staleAfter && d.StateReason == reasonSilent):
			silent = append(silent, d)
		case d.Platform == roster.Web && quiet >= warnBrowser:
			err = k.warn(ctx, d, now)
		case beatDue(d, u, now, snap.Zone):
			_, err = k.beat(ctx, d.ID, d.word)
		}
		if err != nil {
			return err
		}
	}
	return k.setAside(ctx, silent, now)
}

// read returns all devices in force with their words.
func (k *phoneKeeper) read(ctx context.Context, snap *directory.Snapshot) ([]kept, error) {
	var all []kept
	var ids []roster.DeviceID
	for d := range snap.AllDevices() {
		if d.State != roster.DeviceRevoked {
			all, ids = append(all, kept{Device: d}), append(ids, d.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	words, err := k.words(ctx, ids...)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].word = words[all[i].ID]
	}
	return all, nil
}

// count brings the figures up to date.
func (k *phoneKeeper) count(snap *directory.Snapshot, all []kept, now time.Time) {
	health := make(map[roster.DeviceID]roster.Health, len(all))
	figures := map[[2]string]int{}
	for _, state := range []string{"active", "unverified", "parked", "dead"} {
		for _, platform := range []string{"ios", "android", "web"} {
			figures[[2]string{state, platform}] = 0
		}
	}
	for _, d := range all {
		health[d.ID], _ = d.Seen().Health(d.word, now)
		figures[[2]string{stateLabel(d.State), string(platform(d.Platform))}]++
	}
	for labels, n := range figures {
		k.devices.WithLabelValues(labels[0], labels[1]).Set(float64(n))
	}
	asleep := 0
	for _, id := range snap.Counted() {
		u, _ := snap.User(id)
		if !u.Green(snap.Devices(id), func(d roster.Device) roster.Health { return max(health[d.ID], appHealth(d)) }) {
			asleep++
		}
	}
	k.unreachable.Set(float64(asleep))
}

// appHealth is amber for a device that is parked because this installation is
// not set up for its app, whatever it says of itself.
func appHealth(d roster.Device) roster.Health {
	if d.Pageable() {
		return roster.HealthGreen
	}
	return roster.HealthAmber
}

func stateLabel(s roster.DeviceState) string {
	switch s {
	case roster.DeviceActive:
		return "active"
	case roster.DeviceUnverified:
		return "unverified"
	case roster.DeviceParked:
		return "parked"
	case roster.DeviceDead, roster.DeviceRevoked:
	}
	return "dead"
}

// setAside stops counting on devices that were not heard of for a month, goes on
// counting on those that were since, and takes out those that were not for as long as push services keep them.
func (k *phoneKeeper) setAside(ctx context.Context, silent []kept, now time.Time) error {
	if len(silent) == 0 {
		return nil
	}
	silent = silent[:min(len(silent), keepStale)]
	_, err := k.directory.Change(ctx, directory.ByServer("housekeeping"), func(e *directory.Edit) error {
		e.Force() // nobody is reached less for it
		for _, s := range silent {
			d, ok := e.GetDevice(s.ID)
			if !ok || d.State == roster.DeviceRevoked || d.Address.At.After(s.Address.At) {
				continue // it has come back meanwhile
			}
			c := *d
			switch quiet := s.silentFor(now); {
			case quiet >= goneAfter:
				c = *d.Revoked("not heard of for 270 days")
			case quiet >= staleAfter:
				c.State, c.StateReason = roster.DeviceUnverified, reasonSilent
			case d.State == roster.DeviceUnverified: // by a receipt, which needs no credential
				c.State, c.StateReason = roster.DeviceActive, ""
			}
			if err := e.Update(&c, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set silent devices aside: %w", err)
	}
	return nil
}

// warn tells a person by mail that a browser has fallen silent: subscriptions of
// web apps vanish without a word.
func (k *phoneKeeper) warn(ctx context.Context, d kept, now time.Time) error {
	if !d.word.Warned.IsZero() && !d.word.Warned.Before(d.word.Last()) {
		return nil // this silence has been told of
	}
	first, err := k.claim(ctx, d.ID, roster.WordWarned, d.word.Warned, map[string]any{roster.WordWarned: now})
	if err != nil || !first {
		return err
	}
	k.tell(notify.News{
		Name: fmt.Sprintf("silent/%s/%d", d.ID, now.Unix()), User: d.User, Aside: true, Except: []roster.DeviceID{d.ID},
		Title: "Nothing was heard of the browser " + d.Name + " for a week", Body: "It may have lost its subscription. Open tocsin in it, and send a test.",
	})
	return nil
}

// The hours of the day, in the phone's own zone, between which heartbeats are sent.
const (
	beatFrom, beatUntil = 6, 22
	quarterMinutes      = 14 // of each quarter of an hour: senders crowd at its first
)

// beatDue reports whether the phone is to be asked for a sign of life: once a
// day, each at a time of its own, and never a browser, which would have to show
// something for it. The day is that of its zone, or of its user's.
func beatDue(d kept, u roster.User, now time.Time, zone func(name string) *time.Location) bool {
	seen := d.Seen()
	if !seen.Native() || !seen.Pageable() {
		return false
	}
	local := now.In(zone(cmp.Or(d.Zone, u.Zone)))
	asked := d.word.Asked.In(local.Location())
	today := !d.word.Asked.IsZero() && asked.YearDay() == local.YearDay() && asked.Year() == local.Year()
	return !today && local.Hour() < beatUntil && local.Hour()*60+local.Minute() >= beatMinute(d.ID)
}

// beatMinute is the minute of the day at which the phone is asked: the same
// every day, spread over the day from phone to phone.
func beatMinute(id roster.DeviceID) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	slot := int(h.Sum32() % ((beatUntil - beatFrom) * 4 * quarterMinutes))
	return beatFrom*60 + slot/quarterMinutes*15 + 1 + slot%quarterMinutes
}
