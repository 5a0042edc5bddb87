package redisset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
)

// masterName is what the Sentinel calls its master.
const masterName = "page"

// downAfter is how long a master is silent before the Sentinel takes it for dead.
const downAfter = time.Second

// sentinel is one Sentinel: enough to fail over. That there is only one matters
// when it is the one to die, and it does not.
type sentinel struct {
	address string
	process *lab.Process
	client  *redis.SentinelClient
}

// underSentinel makes all nodes but the first its replicas, and has a Sentinel
// watch over them.
func (s *Set) underSentinel(ctx context.Context, dir string) (*sentinel, error) {
	first := s.Nodes[0]
	for _, n := range s.Nodes[1:] {
		if err := n.Client.Do(ctx, "REPLICAOF", "127.0.0.1", port(first.door())).Err(); err != nil {
			return nil, fmt.Errorf("make %s a replica: %w", n.Name, err)
		}
	}
	w := &sentinel{}
	var err error
	if w.address, err = lab.FreeAddress(ctx); err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "sentinel")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the Sentinel: %w", err)
	}
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nlogfile %s\nsentinel monitor %[4]s 127.0.0.1 %[5]s 1\n"+
		"sentinel down-after-milliseconds %[4]s %[6]d\nsentinel failover-timeout %[4]s 4000\n",
		port(w.address), dir, filepath.Join(dir, "sentinel.log"), masterName, port(first.door()), downAfter.Milliseconds())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write sentinel.conf: %w", err)
	}
	w.process, err = lab.Launch(ctx, lab.Command{
		Name: "the Sentinel", Program: first.binary, Args: []string{conf, "--sentinel"}, Log: filepath.Join(dir, "sentinel.err"),
	})
	if err != nil {
		return nil, err
	}
	w.client = redis.NewSentinelClient(&redis.Options{
		Addr: w.address, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ReadTimeout: time.Second, ContextTimeoutEnabled: true,
	})
	return w, nil
}

// agrees reports whether the Sentinel sends writers to the master that there is,
// and knows all others as replicas that are up.
func (w *sentinel) agrees(ctx context.Context, nodes []*Node) error {
	at, err := w.client.GetMasterAddrByName(ctx, masterName).Result()
	if err != nil {
		return fmt.Errorf("ask the Sentinel for the master: %w", err)
	}
	for _, n := range nodes {
		stands, err := n.stands(ctx)
		if err != nil {
			return err
		}
		if stands.master && (len(at) != 2 || at[1] != port(n.door())) {
			return fmt.Errorf("%s is master, and the Sentinel names %v", n.Name, at)
		}
	}
	replicas, err := w.client.Replicas(ctx, masterName).Result()
	if err != nil {
		return fmt.Errorf("ask the Sentinel for the replicas: %w", err)
	}
	up := 0
	for _, r := range replicas {
		if !strings.Contains(r["flags"], "down") && !strings.Contains(r["flags"], "disconnected") {
			up++
		}
	}
	if up != len(nodes)-1 {
		return errors.New("the Sentinel does not see all replicas")
	}
	return nil
}

func (w *sentinel) close() error {
	w.process.Kill()
	return w.client.Close()
}
