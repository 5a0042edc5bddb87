package store

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Filled returns the share of maxmemory that Redis uses, of the fullest node;
// 0 where there is no maxmemory.
func (s *Store) Filled(ctx context.Context) (float64, error) {
	var mu sync.Mutex
	fullest := 0.0
	err := s.masters(ctx, func(ctx context.Context, node *redis.Client) error {
		raw, err := node.Info(ctx, "memory").Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		fullest = max(fullest, filled(parseInfo(raw)))
		return nil
	})
	return fullest, failed(err, "ask the store how full it is")
}

// filled returns the share of maxmemory that is used, by INFO; 0 when it does not say.
func filled(info map[string]string) float64 {
	used, err1 := strconv.ParseFloat(info["used_memory"], 64)
	most, err2 := strconv.ParseFloat(info["maxmemory"], 64)
	if err1 != nil || err2 != nil || most <= 0 {
		return 0
	}
	return used / most
}

// parseInfo reads the lines of Redis's INFO.
func parseInfo(raw string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(raw) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(name, "#") {
			info[name] = value
		}
	}
	return info
}
