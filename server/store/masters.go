package store

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// master returns the node that has a key now: outside of a cluster the only one.
// It is asked of memory.
func (s *Store) master(ctx context.Context, key string) (*redis.Client, error) {
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	node, _ := s.rdb.(*redis.Client) // there is no third kind
	return node, nil
}

// Home names what serves a partition now. What is asked of one home may go
// together; what is asked of others must not wait for it, as one home may be out
// while the others are well. A single Redis is one home.
func (s *Store) Home(ctx context.Context, p Partition) string {
	if s.kind != "cluster" {
		return ""
	}
	node, err := s.master(ctx, inboxKey(p))
	if err != nil {
		return ""
	}
	return node.Options().Addr
}

// perMaster does what is to be done with things, those of each master by
// themselves and all at once; those whose master is not known are of none, with
// an error. A pipeline of a cluster's client to several masters would not do: it
// tries the parts of a sick one again until its time is up, and then tells that
// of all parts.
func perMaster[T any](ctx context.Context, s *Store, things []T, key func(T) string, do func(*redis.Client, error, []T)) {
	if s.kind != "cluster" {
		node, err := s.master(ctx, "") // it needs no looking for
		do(node, err, things)
		return
	}
	groups := map[*redis.Client][]T{}
	var unknown error
	for _, t := range things {
		node, err := s.master(ctx, key(t))
		if err != nil {
			node, unknown = nil, err
		}
		groups[node] = append(groups[node], t)
	}
	var wg sync.WaitGroup
	for node, group := range groups {
		var err error
		if node == nil {
			err = unknown
		}
		if len(groups) == 1 { // it needs nobody beside us
			do(node, err, group)
			return
		}
		wg.Go(func() { do(node, err, group) })
	}
	wg.Wait()
}
