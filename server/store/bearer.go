package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Bearer is a provider token as it is kept: the store does not know what it says.
type Bearer struct {
	Sealed []byte
	Issued time.Time // to the second
}

// issuedSize is the length of the instant before the sealed token.
const issuedSize = 10

// OfferBearer keeps a provider token for ttl under a name, unless a newer one is
// kept there, and returns the newest. It works at full memory too: what pushes
// agree on has to go on.
func (s *Store) OfferBearer(ctx context.Context, name string, b Bearer, ttl time.Duration) (Bearer, error) {
	if ttl <= 0 {
		return s.NewestBearer(ctx, name)
	}
	text, err := s.run(ctx, bearerScript, []string{bearerKey(name)}, fmt.Sprintf("%010d", b.Issued.Unix()), b.Sealed, ttl.Milliseconds()).Text()
	if err != nil {
		return Bearer{}, failed(err, "keep a provider token")
	}
	return parseBearer(text)
}

// NewestBearer returns the provider token kept under a name, the zero Bearer
// when there is none.
func (s *Store) NewestBearer(ctx context.Context, name string) (Bearer, error) {
	text, err := s.rdb.Get(ctx, bearerKey(name)).Result()
	if isNil(err) {
		return Bearer{}, nil
	}
	if err != nil {
		return Bearer{}, failed(err, "read a provider token")
	}
	return parseBearer(text)
}

func parseBearer(text string) (Bearer, error) {
	if len(text) > issuedSize {
		if issued, err := strconv.ParseInt(text[:issuedSize], 10, 64); err == nil {
			return Bearer{Sealed: []byte(text[issuedSize:]), Issued: time.Unix(issued, 0)}, nil
		}
	}
	return Bearer{}, fault.New(fault.Internal, "BEARER_FORM", "what is kept as a provider token is none")
}
