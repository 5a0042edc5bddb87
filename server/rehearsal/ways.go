package rehearsal

import (
	"context"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// phones take every push at once.
type phones struct{ s *stage }

// Submit implements [notify.Pusher].
func (p phones) Submit(d push.Delivery, done func(push.Result)) {
	if err := d.Begin(context.Background(), 1); err != nil {
		done(push.Result{End: push.EndNotNeeded})
		return
	}
	_, delivery, _, _ := p.s.ledger.Delivery(context.Background(), d.Message.DeliveryID)
	m := Message{Sound: d.Message.Sound != push.SoundNone, Loud: d.Message.Sound == push.SoundCritical, Title: d.Message.Title, Body: d.Message.Body}
	if m.Kind = p.s.kind(delivery); d.Message.Kind == push.KindClear {
		m.Kind = Clear
	}
	p.s.sent(m, delivery)
	done(push.Result{End: push.EndAccepted})
}

// address takes every message by mail and webhook.
type address struct{ s *stage }

// Send implements [notify.Channel].
func (a address) Send(ctx context.Context, m notify.Message) (notify.Answer, error) {
	_, delivery, _, err := a.s.ledger.Delivery(ctx, m.ID)
	if err != nil {
		return notify.Answer{}, err
	}
	out := Message{Kind: a.s.kind(delivery), Title: m.Subject}
	if len(m.Lines) > 0 {
		out.Body = m.Lines[0]
	}
	a.s.sent(out, delivery)
	return notify.Answer{}, nil
}

// people is the snapshot as the notifier reads it. Paging is not held in a
// rehearsal, and no phone has a key: what it shows locked is told.
type people struct{ *directory.Snapshot }

var _ notify.Directory = people{}

// Settings implements [notify.Directory], as do the following.
func (p people) Settings() catalog.Settings {
	set := p.Snapshot.Settings()
	set.Held, set.OverdueBefore = false, time.Time{}
	return set
}

// Schedule returns what a schedule is called, and its team.
func (p people) Schedule(id schedule.ID) (string, roster.TeamID) {
	r, ok := p.GetSchedule(id)
	if !ok {
		return string(id), ""
	}
	return r.Name, r.Team
}

// Phones returns the devices of a person.
func (p people) Phones(id roster.UserID) []notify.Phone {
	devices := p.Devices(id)
	all := make([]notify.Phone, len(devices))
	for i, d := range devices {
		all[i] = phoneOf(d)
	}
	return all
}

// Phone returns one device.
func (p people) Phone(id roster.DeviceID) (notify.Phone, bool) {
	d, ok := p.GetDevice(id)
	if !ok {
		return notify.Phone{}, false
	}
	return phoneOf(d.Seen()), true
}

// phoneOf is a device that nothing is sent to: it can act by itself, and its
// address is known to be right.
func phoneOf(d roster.Device) notify.Phone {
	return notify.Phone{Device: d, Credential: true, Push: push.Device{ID: string(d.ID), Person: string(d.User), EnvironmentConfirmed: true}}
}

// Fate implements [notify.Directory]: nothing changes.
func (people) Fate(context.Context, notify.Fate) error { return nil }

// Unopened implements [notify.Directory]: nothing was sealed.
func (people) Unopened(context.Context, roster.DeviceID, time.Time) error { return nil }

// Bounced implements [notify.Directory]: nothing bounces.
func (people) Bounced(context.Context, roster.UserID, roster.MethodID, string) error { return nil }
