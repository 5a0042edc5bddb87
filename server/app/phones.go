package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// people is the directory as the notifier reads it.
type people struct {
	directory *directory.Directory
	apps      func() apps
	log       *slog.Logger
}

var _ notify.Directory = people{}

func (p people) User(id roster.UserID) (roster.User, bool) { return p.directory.Snapshot().User(id) }

func (p people) Service(id catalog.ServiceID) (catalog.Service, bool) {
	return p.directory.Snapshot().Service(id)
}

func (p people) Settings() catalog.Settings { return p.directory.Snapshot().Settings() }

func (p people) Schedule(id schedule.ID) (string, roster.TeamID) {
	r, ok := p.directory.Snapshot().GetSchedule(id)
	if !ok {
		return string(id), ""
	}
	return r.Name, r.Team
}

func (p people) Members(id roster.TeamID) []roster.UserID {
	t, ok := p.directory.Snapshot().GetTeam(id)
	if !ok {
		return nil
	}
	return t.Members
}

func (p people) Phones(id roster.UserID) []notify.Phone {
	devices := p.directory.Snapshot().DevicesOf(id)
	phones := make([]notify.Phone, len(devices))
	for i, d := range devices {
		phones[i] = p.phone(d)
	}
	return phones
}

func (p people) Phone(id roster.DeviceID) (notify.Phone, bool) {
	d, ok := p.directory.Snapshot().GetDevice(id)
	if !ok {
		return notify.Phone{}, false
	}
	return p.phone(d), true
}

// phone returns a device with what a push to it needs.
func (p people) phone(d *directory.Device) notify.Phone {
	phone := notify.Phone{
		Device: d.Seen(), Epoch: d.Epoch, Credential: !d.Credential.IsZero(),
		Push: push.Device{
			ID: string(d.ID), Person: string(d.User), Platform: platform(d.Platform), Environment: environment(d.Environment),
			Capabilities: push.Capabilities{
				Critical: d.Can.Critical, TimeSensitive: d.Can.TimeSensitive, Sealed: d.Seals(),
			},
			RegisteredAt: d.Address.At, EnvironmentConfirmed: d.Confirmed,
		},
	}
	if d.Seals() {
		phone.SealKey, phone.SealKeyID = d.SealKey, d.SealKeyID
	}
	phone.Push.App = p.apps().resolve(phone.Push.Platform, d.App)
	if d.Address.Kind == 0 {
		return phone
	}
	secret, err := p.directory.OpenAddress(d.ID, d.Address)
	if err != nil { // a master key that is not on the ring any more
		p.log.Error("address of a device cannot be opened", slog.String("device", string(d.ID)), slog.Any("error", err))
		phone.State = roster.DeviceParked
		return phone
	}
	phone.Push.Token, phone.Push.Keys = push.Token(secret.Value), subscriptionKeys(secret)
	return phone
}

// Fate implements [notify.Directory].
func (p people) Fate(ctx context.Context, f notify.Fate) error {
	if d, ok := p.directory.Snapshot().GetDevice(f.Device); ok && fated(d, f) == nil {
		return nil // a burst of pages says so once
	}
	_, err := p.directory.Change(ctx, directory.ByServer("push"), func(e *directory.Edit) error {
		d, ok := e.GetDevice(f.Device)
		if !ok {
			return nil
		}
		c := fated(d, f)
		if c == nil {
			return nil
		}
		e.Force() // what the push service says is so, whatever it leaves of somebody's reach
		return e.Update(c, "")
	})
	return err
}

// fated is the device after what a push service said of its address, nil when
// that changes nothing: it was taken out, or has another address by now.
func fated(d *directory.Device, f notify.Fate) *directory.Device {
	if d.State == roster.DeviceRevoked || d.Address.Lookup != directory.LookupOf(d.Address.Kind, string(f.Token)) {
		return nil
	}
	c := *d
	switch f.Address {
	case push.AddressDrop:
		c.State, c.StateReason = roster.DeviceDead, f.Reason
	case push.AddressPark:
		if d.State == roster.DeviceDead {
			return nil
		}
		c.State, c.StateReason = roster.DeviceParked, f.Reason
	case push.AddressCorrect:
		c.Environment, c.Confirmed = directory.Production, true
		if f.Environment == push.Sandbox {
			c.Environment = directory.Sandbox
		}
	case push.AddressKeep:
		// Confirmed is of the environment that the record names now.
		if !f.Accepted || f.Environment != environment(d.Environment) {
			return nil
		}
		c.Confirmed = true
	}
	if c.State == d.State && c.StateReason == d.StateReason && c.Environment == d.Environment && c.Confirmed == d.Confirmed {
		return nil
	}
	return &c
}

// Unopened implements [notify.Directory].
func (p people) Unopened(ctx context.Context, device roster.DeviceID, sealed time.Time) error {
	failed := func(d *directory.Device) bool { return d.Seals() && sealed.After(d.SealKeyAt) }
	if d, ok := p.directory.Snapshot().GetDevice(device); !ok || !failed(d) {
		return nil // a burst of pages says so once
	}
	_, err := p.directory.Change(ctx, directory.ByServer("push"), func(e *directory.Edit) error {
		d, ok := e.GetDevice(device)
		if !ok || !failed(d) {
			return nil
		}
		c := *d
		c.SealFailed = e.Now
		e.Force() // pages go on without the key
		return e.Update(&c, "")
	})
	return err
}

// Bounced implements [notify.Directory].
func (p people) Bounced(ctx context.Context, user roster.UserID, method roster.MethodID, _ string) error {
	_, err := p.directory.Change(ctx, directory.ByServer("notify"), func(e *directory.Edit) error {
		u, ok := e.GetUser(user)
		if !ok {
			return nil
		}
		c := *u
		c.Methods = slices.Clone(u.Methods)
		for i := range c.Methods {
			if c.Methods[i].ID == method {
				c.Methods[i].Bouncing = true
			}
		}
		e.Force()
		return e.Update(&c, "")
	})
	return err
}

func platform(p roster.Platform) push.Platform {
	switch p {
	case roster.IOS:
		return push.IOS
	case roster.Android:
		return push.Android
	case roster.Web:
		return push.Web
	}
	return ""
}

func environment(e directory.Environment) push.Environment {
	if e == directory.Sandbox {
		return push.Sandbox
	}
	return push.Production
}
