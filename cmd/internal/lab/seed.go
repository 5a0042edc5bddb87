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

// Seed is a look past the server into its Redis, to put state there and to see
// what is.
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
	s, err := l.look(ctx, private.Socket())
	if err != nil {
		return err
	}
	defer s.Close()
	if err := f(s); err != nil {
		return err
	}
	return s.rewrite(ctx)
}

// Look is what a seed is, of an installation that runs.
func (l *Lab) Look(ctx context.Context) (*Seed, error) {
	return l.look(ctx, redisd.Socket(l.redisDir()))
}

func (l *Lab) look(ctx context.Context, socket string) (_ *Seed, err error) {
	s := &Seed{Redis: redis.NewClient(&redis.Options{Network: "unix", Addr: socket, DisableIdentity: true})}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.Store, err = store.Open(ctx, store.Options{URL: "unix://" + socket, InboxLimit: 1 << 30}); err != nil {
		return nil, err
	}
	keys, err := auth.ParseKeyring(l.masterKey)
	if err != nil {
		return nil, err
	}
	s.Directory, err = directory.Open(ctx, directory.Options{
		Log: directory.StoreLog{Store: s.Store}, Keys: keys,
		Channels: directory.Channels{Sends: everywhere[roster.MethodKind], Pushes: func(roster.Platform, string) bool { return true }},
	})
	return s, err
}

// Ended is how many incidents have ended, to about a dozen: those that were
// given a number and are not open.
func (s *Seed) Ended(ctx context.Context) (int64, error) {
	ended, err := s.Redis.Get(ctx, "{c}:number").Int64()
	if err != nil {
		return 0, fmt.Errorf("read the last incident number: %w", err)
	}
	partitions, err := s.Store.Stats(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range partitions {
		ended -= int64(p.Open)
	}
	return ended, nil
}

// Close ends the connections.
func (s *Seed) Close() {
	_ = s.Redis.Close()
	if s.Store != nil {
		_ = s.Store.Close()
	}
}

func everywhere[K any](K) bool { return true }

// devicesAtOnce bounds one change of the configuration.
const devicesAtOnce = 500

// Apply sets an organisation up, with a phone in every hand.
func (s *Seed) Apply(ctx context.Context, o Organisation) error {
	texts, err := o.documents()
	if err != nil {
		return err
	}
	by := directory.ByServer("lab")
	for _, text := range texts {
		if _, err := s.Directory.ApplyDocument(ctx, by, text, directory.ApplyOptions{Force: true}); err != nil {
			return fmt.Errorf("apply the organisation: %w", err)
		}
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

// rewrite has Redis write its append-only file anew, and waits for it. One that
// Redis began by itself is waited for first: it may not hold all of the seed.
func (s *Seed) rewrite(ctx context.Context) error {
	if err := s.rewritten(ctx); err != nil {
		return err
	}
	if err := s.Redis.BgRewriteAOF(ctx).Err(); err != nil {
		return fmt.Errorf("rewrite the append-only file: %w", err)
	}
	return s.rewritten(ctx)
}

// rewritten waits until no rewrite is under way.
func (s *Seed) rewritten(ctx context.Context) error {
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
