package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// nodeTimeout is how long a node of a cluster is silent before the others take
// it for dead. A busy machine keeps a process waiting for a second now and then.
const nodeTimeout = 2 * time.Second

// slots is how many a cluster has.
const slots = 16384

// Cluster is a Redis Cluster on loopback.
type Cluster struct {
	Masters  []*Server // as they began
	Replicas []*Server // those of the first master first
}

// StartCluster runs a cluster for this test alone: so many masters, each with so
// many replicas. The options are those of every node.
func StartCluster(tb testing.TB, masters, replicasEach int, opts ...Option) *Cluster {
	tb.Helper()
	c, err := LaunchCluster(tb.Context(), masters, replicasEach, opts...)
	if err != nil {
		tb.Fatalf("redis cluster for the test: %v", err)
	}
	tb.Cleanup(c.Stop)
	return c
}

// LaunchCluster is [StartCluster] outside of a test: whoever calls it stops it.
func LaunchCluster(ctx context.Context, masters, replicasEach int, opts ...Option) (*Cluster, error) {
	c := &Cluster{}
	if err := c.launch(ctx, masters, replicasEach, opts); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) launch(ctx context.Context, masters, replicasEach int, opts []Option) error {
	for i := range masters * (1 + replicasEach) {
		node, err := launchNode(ctx, opts)
		if err != nil {
			return fmt.Errorf("start node %d: %w", i+1, err)
		}
		if i < masters {
			c.Masters = append(c.Masters, node)
		} else {
			c.Replicas = append(c.Replicas, node)
		}
	}
	if err := c.introduce(ctx); err != nil {
		return err
	}
	ids := make([]string, masters)
	for i, m := range c.Masters {
		if err := m.do(ctx, "CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1); err != nil {
			return fmt.Errorf("give master %d its slots: %w", i+1, err)
		}
		var err error
		if ids[i], err = m.nodeID(ctx); err != nil {
			return fmt.Errorf("name master %d: %w", i+1, err)
		}
	}
	for i, r := range c.Replicas {
		if err := r.do(ctx, "CLUSTER", "REPLICATE", ids[i/replicasEach]); err != nil {
			return fmt.Errorf("make a replica of master %d: %w", i/replicasEach+1, err)
		}
	}
	return await(ctx, "the cluster is whole and in step", func() bool { return c.whole(ctx) })
}

// launchNode starts one node. The port of the cluster's own bus is another free one.
func launchNode(ctx context.Context, opts []Option) (*Server, error) {
	var failed error
	for range 5 {
		bus, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		node, err := launchAt(ctx, append([]Option{WithDirectives(
			"cluster-enabled yes", "cluster-port "+bus, "cluster-announce-ip "+loopback,
			"cluster-node-timeout "+strconv.FormatInt(nodeTimeout.Milliseconds(), 10), "cluster-replica-validity-factor 0",
			"cluster-require-full-coverage no", // the slots that are served are served
		)}, opts...)...)
		if err == nil {
			node.bus = bus
			return node, nil
		}
		failed = err
	}
	return nil, failed
}

// introduce makes the nodes known to each other.
func (c *Cluster) introduce(ctx context.Context) error {
	all := c.nodes()
	for _, n := range all[1:] {
		if err := all[0].do(ctx, "CLUSTER", "MEET", loopback, n.port, n.bus); err != nil {
			return fmt.Errorf("introduce a node: %w", err)
		}
	}
	return await(ctx, "all nodes know each other", func() bool {
		for _, n := range all {
			if !strings.Contains(n.text(ctx, "CLUSTER", "INFO"), fmt.Sprintf("cluster_known_nodes:%d\r\n", len(all))) {
				return false
			}
		}
		return true
	})
}

// whole reports whether every node sees all slots served, and every replica follows.
func (c *Cluster) whole(ctx context.Context) bool {
	for _, n := range c.nodes() {
		info := n.text(ctx, "CLUSTER", "INFO")
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_size:%d\r\n", len(c.Masters))) {
			return false
		}
	}
	for _, r := range c.Replicas {
		if !r.inStep(ctx) {
			return false
		}
	}
	return true
}

func (c *Cluster) nodes() []*Server { return append(append([]*Server{}, c.Masters...), c.Replicas...) }

// URL returns the address of the cluster, as redis.url takes it.
func (c *Cluster) URL() string {
	hosts := make([]string, 0, len(c.Masters)+len(c.Replicas))
	for _, n := range c.nodes() {
		hosts = append(hosts, address(n.port))
	}
	return "redis+cluster://" + strings.Join(hosts, ",")
}

// Stop ends all nodes.
func (c *Cluster) Stop() {
	for _, n := range c.nodes() {
		n.remove()
	}
}

func (s *Server) nodeID(ctx context.Context) (string, error) {
	c := s.client()
	defer func() { _ = c.Close() }()
	return c.ClusterMyID(ctx).Result()
}

// text returns what the server answers to a command, "" for an error.
func (s *Server) text(ctx context.Context, args ...any) string {
	c := s.client()
	defer func() { _ = c.Close() }()
	text, _ := c.Do(ctx, args...).Text()
	return text
}
