package store

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Master is a server that takes writes, and who has them from it.
type Master struct {
	Addr     string // as it was connected to
	Replicas []Replica
	// MinReplicas is its min-replicas-to-write, -1 when it does not say.
	MinReplicas int
}

// Replica is a server that follows a master, as that sees it.
type Replica struct {
	Addr   string
	Online bool          // it has caught up with the data that was there when it came
	Lag    time.Duration // since it was last heard, in whole seconds
	Behind int64         // bytes of the replication stream
}

// Replication returns the masters and their replicas, for `doctor`. A server
// that is a replica itself is no master, and so the answer may be empty.
func (s *Store) Replication(ctx context.Context) ([]Master, error) {
	var mu sync.Mutex
	var masters []Master
	visit := func(ctx context.Context, node *redis.Client) error {
		raw, err := node.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		m, ok := parseReplication(parseInfo(raw))
		if !ok {
			return nil
		}
		m.Addr, m.MinReplicas = node.Options().Addr, -1
		if got, err := node.ConfigGet(ctx, "min-replicas-to-write").Result(); err == nil {
			if n, err := strconv.Atoi(got["min-replicas-to-write"]); err == nil {
				m.MinReplicas = n
			}
		}
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, m)
		return nil
	}
	if err := s.masters(ctx, visit); err != nil {
		return nil, failed(err, "ask the masters for their replicas")
	}
	slices.SortFunc(masters, func(a, b Master) int { return cmp.Compare(a.Addr, b.Addr) })
	return masters, nil
}

// masters calls f for every server that writes go to.
func (s *Store) masters(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	switch rdb := s.rdb.(type) {
	case *redis.ClusterClient:
		return rdb.ForEachMaster(ctx, f)
	case *redis.Client:
		return f(ctx, rdb)
	}
	return nil // there is no third kind
}

// parseReplication reads INFO replication; false for what is no master.
func parseReplication(info map[string]string) (Master, bool) {
	if info["role"] != "master" {
		return Master{}, false
	}
	var m Master
	written, _ := strconv.ParseInt(info["master_repl_offset"], 10, 64)
	for i := 0; ; i++ {
		line, ok := info["slave"+strconv.Itoa(i)]
		if !ok {
			return m, true
		}
		// ip=127.0.0.1,port=6380,state=online,offset=14,lag=0
		fields := map[string]string{}
		for pair := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(pair, "=")
			fields[name] = value
		}
		has, _ := strconv.ParseInt(fields["offset"], 10, 64)
		lag, _ := strconv.Atoi(fields["lag"])
		m.Replicas = append(m.Replicas, Replica{
			Addr: net.JoinHostPort(fields["ip"], fields["port"]), Online: fields["state"] == "online",
			Lag: time.Duration(lag) * time.Second, Behind: max(written-has, 0),
		})
	}
}
