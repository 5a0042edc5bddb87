package store

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Waiting returns how many accepted events wait in each of the partitions.
func (s *Store) Waiting(ctx context.Context, ps []Partition) ([]int, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.IntCmd, len(ps))
	for i, p := range ps {
		cmds[i] = pipe.XLen(ctx, inboxKey(p))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, failed(err, "count what waits in %d partitions", len(ps))
	}
	lengths := make([]int, len(ps))
	for i, c := range cmds {
		lengths[i] = int(c.Val())
	}
	return lengths, nil
}
