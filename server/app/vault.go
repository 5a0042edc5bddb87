package app

import (
	"context"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	bearerPurpose = "apns provider token"
	bearerKept    = time.Hour // after which Apple refuses it
)

// vault shares Apple's provider tokens between the instances: in Redis, sealed
// under the master key, as whoever has one may push to every phone for an hour.
type vault struct {
	store  *store.Store
	sealer auth.Sealer
	now    func() time.Time
}

func newVault(s *store.Store, keys auth.Keyring, now func() time.Time) *vault {
	return &vault{store: s, sealer: keys.Sealer(bearerPurpose), now: now}
}

// Newest implements [apns.Vault].
func (v *vault) Newest(ctx context.Context, team, keyID string) (apns.Bearer, error) {
	name := bearerName(team, keyID)
	kept, err := v.store.NewestBearer(ctx, name)
	if err != nil || kept.Sealed == nil {
		return apns.Bearer{}, err
	}
	return v.open(kept, name)
}

// Offer implements [apns.Vault].
func (v *vault) Offer(ctx context.Context, team, keyID string, b apns.Bearer) (apns.Bearer, error) {
	name := bearerName(team, keyID)
	sealed, err := v.sealer.Seal([]byte(b.JWT), name)
	if err != nil {
		return apns.Bearer{}, err
	}
	newest, err := v.store.OfferBearer(ctx, name, store.Bearer{Sealed: sealed, Issued: b.Issued}, b.Issued.Add(bearerKept).Sub(v.now()))
	if err != nil || newest.Sealed == nil {
		return apns.Bearer{}, err
	}
	return v.open(newest, name)
}

func (v *vault) open(kept store.Bearer, name string) (apns.Bearer, error) {
	jwt, err := v.sealer.Open(kept.Sealed, name)
	if err != nil {
		return apns.Bearer{}, fmt.Errorf("open a provider token: %w", err)
	}
	return apns.Bearer{JWT: string(jwt), Issued: kept.Issued}, nil
}

func bearerName(team, keyID string) string { return team + "/" + keyID }
