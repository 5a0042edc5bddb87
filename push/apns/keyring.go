package apns

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	vaultTimeout = time.Second            // of one call
	vaultFirst   = 500 * time.Millisecond // of the one that New waits for
	vaultEvery   = 10 * time.Second       // how old what others have made may be before it is heard of

	keysPerTeam = 2 // whose changes fit into the twenty minutes that Apple wants between them
)

// Vault keeps the newest provider token of each team and key for all instances
// of a service. Instances agree on the token of a slot by themselves; a Vault
// is what they need for the rest: the token of one that began late in a slot,
// and the one made out of turn because Apple called another expired.
//
// No push ever waits for a Vault, and with a Vault that answers nothing, or
// wrongly, pushes go on as without one. It must be safe for concurrent use.
type Vault interface {
	// Newest returns the newest token known, the zero Bearer when none is.
	Newest(ctx context.Context, team, keyID string) (Bearer, error)
	// Offer keeps b unless a newer token is known, and returns the newest.
	Offer(ctx context.Context, team, keyID string, b Bearer) (Bearer, error)
}

// Keyring has the signers of a process: one for each team and key, however
// many apps use it. The zero Keyring is ready for use. Its fields are set
// before the first provider is made with it.
//
// Apple counts the tokens of all keys of a team together, so the slots of a
// team's keys are staggered: with two keys one changes every 22 minutes.
type Keyring struct {
	Vault Vault         // nil is none: this is the only instance, or each is on its own
	Every time.Duration // how often the vault is asked what others have made; 0 is 10 s
	Log   *slog.Logger  // nil is silence

	mu   sync.Mutex
	held []*holding // by key id
}

// holding is a signer and who uses it.
type holding struct {
	signer *Signer
	users  int
	stop   func()
}

// take returns the signer of a key. release gives it back.
func (k *Keyring) take(c *Config) (s *Signer, release func(), err error) {
	s, err = NewSigner(c.TeamID, c.KeyID, c.Key, c.Now())
	if err != nil {
		return nil, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	at := slices.IndexFunc(k.held, func(h *holding) bool { return h.signer.same(s) })
	if at < 0 {
		h := &holding{signer: s, stop: func() {}}
		if k.Vault != nil {
			h.stop = k.share(s, c.Now)
		}
		at, _ = slices.BinarySearchFunc(k.held, h, func(a, b *holding) int { return strings.Compare(a.signer.keyID, b.signer.keyID) })
		k.held = slices.Insert(k.held, at, h)
		k.stagger(c.TeamID)
	}
	h := k.held[at]
	h.users++
	return h.signer, sync.OnceFunc(func() { k.release(h) }), nil
}

func (k *Keyring) release(h *holding) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.users--; h.users > 0 {
		return
	}
	h.stop()
	k.held = slices.DeleteFunc(k.held, func(other *holding) bool { return other == h })
	k.stagger(h.signer.team)
}

// stagger spreads the slots of a team's keys, in the order of their ids: every
// instance with the same keys spreads them alike.
func (k *Keyring) stagger(team string) {
	var keys []*Signer
	for _, h := range k.held {
		if h.signer.team == team {
			keys = append(keys, h.signer)
		}
	}
	for i, s := range keys {
		s.setPhase((slotLength * time.Duration(i) / time.Duration(len(keys))).Truncate(time.Minute / 2))
	}
	if len(keys) > keysPerTeam {
		k.log().Warn("a team has so many apns keys that their tokens change more often than apple wants: use one or two",
			slog.String("team", team), slog.Int("keys", len(keys)))
	}
}

func (k *Keyring) log() *slog.Logger {
	if k.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return k.Log
}

// same tells whether two signers make the same tokens.
func (s *Signer) same(as *Signer) bool {
	mine, ok := s.key.Public().(*ecdsa.PublicKey)
	return ok && s.team == as.team && s.keyID == as.keyID && mine.Equal(as.key.Public())
}

// share keeps a signer and the vault in step until stop is called. It asks the
// vault once before it returns, so that an instance that has just been started
// begins with the token that the others use.
func (k *Keyring) share(s *Signer, now func() time.Time) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	k.step(ctx, s, now, vaultFirst)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(cmp.Or(k.Every, vaultEvery))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.made:
			case <-tick.C:
			}
			k.step(ctx, s, now, vaultTimeout)
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// step tells the vault what this instance uses and learns what others do.
func (k *Keyring) step(ctx context.Context, s *Signer, now func() time.Time, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var newest Bearer
	var err error
	if mine := s.Peek(); mine.JWT == "" || now().Sub(mine.Issued) >= maxTokenAge || mine.Issued.After(now()) {
		newest, err = k.Vault.Newest(ctx, s.team, s.keyID)
	} else {
		newest, err = k.Vault.Offer(ctx, s.team, s.keyID, mine)
	}
	if err != nil {
		k.log().DebugContext(ctx, "provider tokens are not shared for now", slog.String("team", s.team), slog.Any("error", err))
		return
	}
	s.learn(newest, now())
}
