package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Seed is the installation before its first start: its private Redis runs and
// nothing else does.
type Seed struct {
	Store     *store.Store
	Directory *directory.Directory
	Redis     *redis.Client
}

// Seed lets f put state into the installation while tocsin is stopped, and then
// has Redis write its file anew, as it does by itself in the course of time.
func (l *Lab) Seed(ctx context.Context, f func(*Seed) error) (err error) {
	// What is only seeded need not survive the power.
	private, err := redisd.Start(ctx, redisd.Options{Dir: l.redisDir(), Fsync: redisd.FsyncNo})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, private.Stop(context.WithoutCancel(ctx))) }()
	s := &Seed{Redis: redis.NewClient(&redis.Options{Network: "unix", Addr: private.Socket(), DisableIdentity: true})}
	defer func() { _ = s.Redis.Close() }()
	if s.Store, err = store.Open(ctx, store.Options{URL: private.URL(), InboxLimit: 1 << 30}); err != nil {
		return err
	}
	defer func() { _ = s.Store.Close() }()
	keys, err := auth.ParseKeyring(l.masterKey)
	if err != nil {
		return err
	}
	s.Directory, err = directory.Open(ctx, directory.Options{
		Log: directory.StoreLog{Store: s.Store}, Keys: keys,
		Channels: directory.Channels{Sends: everywhere[roster.MethodKind], Pushes: func(roster.Platform, string) bool { return true }},
	})
	if err != nil {
		return err
	}
	if err := f(s); err != nil {
		return err
	}
	return s.rewrite(ctx)
}

func everywhere[K any](K) bool { return true }

// devicesAtOnce bounds one change of the configuration.
const devicesAtOnce = 500

// Apply sets an organisation up, with a phone in every hand.
func (s *Seed) Apply(ctx context.Context, o Organisation) error {
	text, err := o.document()
	if err != nil {
		return err
	}
	by := directory.ByServer("lab")
	if _, err := s.Directory.ApplyDocument(ctx, by, text, directory.ApplyOptions{Force: true}); err != nil {
		return fmt.Errorf("apply the organisation: %w", err)
	}
	var devices []*directory.Device
	for person := range o.People {
		for i := range o.Devices {
			d, err := s.device(person, i)
			if err != nil {
				return err
			}
			devices = append(devices, d)
		}
	}
	for len(devices) > 0 {
		n := min(len(devices), devicesAtOnce)
		_, err := s.Directory.Change(ctx, by, func(e *directory.Edit) error {
			for _, d := range devices[:n] {
				if err := e.Create(d); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("register phones: %w", err)
		}
		devices = devices[n:]
	}
	return nil
}

func (s *Seed) device(person, i int) (*directory.Device, error) {
	id, platform, kind := DeviceID(person, i), roster.IOS, directory.APNs
	if i%2 == 1 {
		platform, kind = roster.Android, directory.FCM
	}
	d := &directory.Device{
		Device: roster.Device{ID: id, User: roster.UserID(UserID(person)), Name: "phone", Platform: platform, State: roster.DeviceActive},
		App:    Bundle, Install: uuid.NewString(), Permission: directory.PermissionGranted, Confirmed: true,
		Can: directory.Capabilities{Sound: true, Alert: true, Actions: true}, Credential: auth.HashSecret(Credential(person, i)),
	}
	var err error
	d.Address, err = s.Directory.SealAddress(id, kind, directory.AddressSecret{Value: Token(person, i)}, time.Now())
	return d, err
}

// rewrite has Redis write its append-only file anew, and waits for it.
func (s *Seed) rewrite(ctx context.Context) error {
	if err := s.Redis.BgRewriteAOF(ctx).Err(); err != nil {
		return fmt.Errorf("rewrite the append-only file: %w", err)
	}
	for {
		info, err := s.Store.Info(ctx)
		if err != nil {
			return err
		}
		if info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0" {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
