package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Reading is how reading a person's calendar went. It is no configuration: it
// moves every two hours.
type Reading struct {
	Tried time.Time `json:"tried"`
	Read  time.Time `json:"read,omitzero"`   // the last time without a fault
	Error string    `json:"error,omitempty"` // of the last try; a sentence
}

// Reading returns how reading a person's calendar went; zero when it never was.
func (s *Store) Reading(ctx context.Context, user roster.UserID) (Reading, error) {
	var r Reading
	text, err := s.rdb.HGet(ctx, readingsKey, string(user)).Bytes()
	if isNil(err) {
		return r, nil
	}
	if err != nil {
		return r, failed(err, "read how the calendar of %s was read", user)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("read how the calendar of %s was read: %w", user, err)
	}
	return r, nil
}

// KeepReading keeps how reading a person's calendar went. A fault leaves the
// instant at which it was read the last time.
func (s *Store) KeepReading(ctx context.Context, user roster.UserID, r Reading) error {
	if r.Error != "" {
		old, err := s.Reading(ctx, user)
		if err != nil {
			return err
		}
		r.Read = old.Read
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the reading of %s: %w", user, err)
	}
	return failed(s.rdb.HSet(ctx, readingsKey, string(user), text).Err(), "keep how the calendar of %s was read", user)
}

// ForgetReading forgets how reading a person's calendar went.
func (s *Store) ForgetReading(ctx context.Context, user roster.UserID) error {
	return failed(s.rdb.HDel(ctx, readingsKey, string(user)).Err(), "forget how the calendar of %s was read", user)
}
