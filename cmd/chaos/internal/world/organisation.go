package world

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// What every policy looks like.
const (
	Level  = 8 * time.Second // before a level gives way
	Levels = 2
	Loops  = 1
)

const bundle = "com.example.oncall"

// pace is how fast the rules run: a whole night in a minute.
func (w *World) pace() *incident.Pace {
	p := incident.DefaultPace()
	if w.o.Slow {
		return &p
	}
	p.AckTimeout, p.ReceiptWait, p.SilentWait = 25*time.Second, 4*time.Second, 2*time.Second
	p.RemindEvery, p.RemindRarely, p.EmptyPass = 12*time.Second, 30*time.Second, 3*time.Second
	p.DirectFallback, p.PageLife, p.AckReminderFor = 10*time.Second, time.Minute, 10*time.Second
	p.FastestLevel = time.Second
	return &p
}

// Service is one service, with a policy of its own.
type Service struct {
	ID   string
	Keys [2]string // of its integrations; the second may carry senders' ids
}

// Person is somebody with a phone, or two.
type Person struct {
	ID     string
	Phones []*pushtest.Phone
	tokens []string
}

// Policy is the version of a service's policy that a number stands for: the
// second level is held by another person each time.
func (w *World) Policy(service, number int) ledger.Policy {
	second := (service*Levels + 1 + number%2*Levels) % (len(w.Services) * Levels)
	return ledger.Policy{Service: w.Services[service].ID, Levels: []string{w.People[service*Levels].ID, w.People[second].ID}}
}

// services and people make the organisation: service i pages person 2i first
// and person 2i+1 next, until its policy is changed; the boss is asked when nobody else takes it.
func services(n int) []Service {
	all := make([]Service, n)
	for i := range all {
		all[i] = Service{ID: fmt.Sprintf("service-%d", i), Keys: [2]string{fmt.Sprintf("a%031d", i), fmt.Sprintf("b%031d", i)}}
	}
	return all
}

func people(services int) []*Person {
	var all []*Person
	for i := range services * Levels {
		all = append(all, &Person{ID: fmt.Sprintf("person-%d", i)})
	}
	return append(all, &Person{ID: "boss"})
}

func (w *World) document() []byte {
	level := Level
	if w.o.Slow {
		level = time.Hour
	}
	var b strings.Builder
	b.WriteString("people:\n")
	for i, p := range w.People {
		role := "responder"
		if p.ID == "boss" {
			role = "admin"
		}
		fmt.Fprintf(&b, "  - id: %s\n    name: %s\n    email: %s@example.com\n    role: %s\n    privacy: full\n", p.ID, p.ID, p.ID, role)
		if i%2 == 0 { // every second person has a mail address to fall back on
			fmt.Fprintf(&b, "    contact_methods: [{id: mail, kind: email, address: %s@example.com, verified: true}]\n", p.ID)
			b.WriteString("    high_steps: [{contact_method: push}, {contact_method: mail, delay: 6s}]\n")
		}
	}
	b.WriteString("policies:\n")
	for i, s := range w.Services {
		fmt.Fprintf(&b, "  - {id: %s, name: %s, loops: %d, fallback: [users/boss], levels: [", s.ID, s.ID, Loops)
		policy := w.Policy(i, 0)
		w.o.Ledger.Policy(policy)
		for _, who := range policy.Levels {
			fmt.Fprintf(&b, "{targets: [users/%s], delay: %s},", who, level)
		}
		b.WriteString("]}\n")
	}
	b.WriteString("services:\n")
	for _, s := range w.Services {
		fmt.Fprintf(&b, "  - {id: %s, name: %s, escalation_policy: %s, urgency_rule: high, integrations: [", s.ID, s.ID, s.ID)
		for i, key := range s.Keys {
			fmt.Fprintf(&b, "{id: %s-%d, name: monitor, source: generic, key: %s},", s.ID, i, key)
		}
		b.WriteString("]}\n")
	}
	b.WriteString("settings: {organization: Example, catch_all: [boss], privacy: full}\n")
	return []byte(b.String())
}

// settle writes the organisation into an empty Redis, and puts the phones' tokens in.
func (w *World) settle(ctx context.Context) error {
	s, err := store.Open(ctx, store.Options{URL: w.storeURL()})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	keys, err := auth.ParseKeyring(w.masterKey)
	if err != nil {
		return err
	}
	d, err := directory.Open(ctx, directory.Options{
		Log: directory.StoreLog{Store: s}, Keys: keys, Pace: *w.pace(),
		Channels: directory.Channels{
			Sends: func(roster.MethodKind) bool { return true }, Pushes: func(roster.Platform, string) bool { return true },
		},
	})
	if err != nil {
		return err
	}
	by := directory.ByServer("chaos")
	if _, err := d.ApplyDocument(ctx, by, w.document(), directory.ApplyOptions{Force: true}); err != nil {
		return fmt.Errorf("apply the organisation: %w", err)
	}
	_, err = d.Change(ctx, by, func(e *directory.Edit) error {
		for i, p := range w.People {
			for k, token := range p.tokens {
				if err := enlist(d, e, p.ID, fmt.Sprintf("d%dx%d", i, k), ios(i, k), token); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("register the phones: %w", err)
	}
	return nil
}

// ios says which phones are iPhones.
func ios(person, phone int) bool { return (person+phone)%2 == 0 }

func enlist(d *directory.Directory, e *directory.Edit, user, id string, isIOS bool, token string) error {
	platform, kind := roster.Android, directory.FCM
	if isIOS {
		platform, kind = roster.IOS, directory.APNs
	}
	device := directory.Device{
		Device: roster.Device{ID: roster.DeviceID(id), User: roster.UserID(user), Name: "phone", Platform: platform, State: roster.DeviceActive},
		App:    bundle, Install: uuid.NewString(), Permission: directory.PermissionGranted, Confirmed: true,
		Can: directory.Capabilities{Sound: true, Alert: true, Actions: true},
	}
	var err error
	if device.Address, err = d.SealAddress(device.ID, kind, directory.AddressSecret{Value: token}, time.Now()); err != nil {
		return err
	}
	return errors.Join(e.Create(&device))
}
