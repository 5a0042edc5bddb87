package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
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

// TestAMasterThatHangsHoldsUpNoOther: many callers wait for one master of a
// cluster, and what is for the others is read as ever.
func TestAMasterThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	s := openAt(t, c.URL())
	var here, there []string // keys of the master that hangs, and of the others
	for _, p := range All() {
		if isAt(t, s, c.Masters[1], p) {
			here = append(here, p.key("absent", ""))
		} else {
			there = append(there, p.key("absent", ""))
		}
	}
	c.Masters[1].Pause(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = s.get(ctx, here[i%len(here)]) // it hangs for as long as it may
			}
		})
	}
	for _, key := range there {
		began := time.Now()
		if _, err := s.get(ctx, key); !isNil(err) {
			t.Errorf("%s: got %v, want nil", key, err)
		}
		if took := time.Since(began); took >= s.o.Timeout {
			t.Fatalf("%s of a master that is well took %v", key, took)
		}
	}
	began := time.Now()
	if _, err := s.get(ctx, here[0]); !out(err) {
		t.Errorf("%s of the master that hangs: got %v, want that it does not answer", here[0], err)
	}
	if took := time.Since(began); took > 3*s.o.Timeout { // the client tries a dozen times
		t.Errorf("%s of the master that hangs took %v, want %v", here[0], took, s.o.Timeout)
	}
	cancel()
	wg.Wait()
	c.Masters[1].Resume(t)
}

// isAt reports whether a master of a cluster has the partition.
func isAt(t *testing.T, s *Store, master *redistest.Server, p Partition) bool {
	t.Helper()
	node, err := s.master(t.Context(), inboxKey(p))
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasSuffix(node.Options().Addr, ":"+strconv.Itoa(master.Port()))
}

// servicesAt returns a service whose partition a master of a cluster has, and one
// whose partition it has not.
func servicesAt(t *testing.T, s *Store, master *redistest.Server) (here, elsewhere catalog.ServiceID) {
	t.Helper()
	for here == "" || elsewhere == "" {
		if service := freshService(t); isAt(t, s, master, PartitionOf(string(service))) {
			here = service
		} else {
			elsewhere = service
		}
	}
	return here, elsewhere
}
