package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// TestTripsKeepResultsApart has many callers at once, of whom some ask for what
// is not there and some for what is of another kind: everyone gets their own.
func TestTripsKeepResultsApart(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	for i := range 50 {
		if err := s.rdb.Set(t.Context(), fmt.Sprint("k", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.rdb.HSet(t.Context(), "hash", "f", "v").Err(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			key := fmt.Sprint("k", i%50)
			switch i % 3 {
			case 0:
				raw, err := s.get(t.Context(), key)
				if want := fmt.Sprint(i % 50); err != nil || string(raw) != want {
					t.Errorf("%s: got %q, %v, want %s", key, raw, err, want)
				}
			case 1:
				if _, err := s.get(t.Context(), "absent"); !isNil(err) {
					t.Errorf("an absent key: got %v, want nil", err)
				}
			case 2:
				if _, err := s.get(t.Context(), "hash"); !redis.HasErrorPrefix(err, "WRONGTYPE") {
					t.Errorf("a hash read as a string: got %v, want WRONGTYPE", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestTripsEnd: whoever gives up, and whoever comes after the end, gets an
// answer and is not left waiting.
func TestTripsEnd(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	srv.Pause(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := s.get(ctx, "k")
		gone <- err
	}()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who gave up: got %v", err)
	}
	srv.Resume(t)
	s.trips.close()
	if _, err := s.get(t.Context(), "k"); !errors.Is(err, redis.ErrClosed) {
		t.Errorf("after the end: got %v", err)
	}
}
