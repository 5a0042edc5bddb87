package redisset

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// nodeTimeout is how long a node of a cluster is silent before the others take
// it for dead. A busy machine keeps a process waiting for a second now and then.
const nodeTimeout = 2 * time.Second

// slots is how many a cluster has.
const slots = 16384

// intoCluster makes one cluster of the nodes: the first ones are masters, and
// each of the others is the replica of one.
func (s *Set) intoCluster(ctx context.Context) error {
	masters := s.kind.masters()
	ids := make([]string, masters)
	for i, n := range s.Nodes {
		if i > 0 {
			if err := s.Nodes[0].Client.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", port(n.door()), port(n.bus.Address())).Err(); err != nil {
				return fmt.Errorf("introduce %s: %w", n.Name, err)
			}
		}
		if i >= masters {
			continue
		}
		if err := n.Client.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			return fmt.Errorf("give %s its slots: %w", n.Name, err)
		}
		var err error
		if ids[i], err = n.Client.ClusterMyID(ctx).Result(); err != nil {
			return fmt.Errorf("ask %s for its name: %w", n.Name, err)
		}
	}
	for i, n := range s.Nodes[masters:] {
		// It has to have heard of its master.
		err := await(ctx, n.Name+" is a replica", func(ctx context.Context) error {
			return n.Client.ClusterReplicate(ctx, ids[i%masters]).Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// agree reports whether all nodes see all slots served and all others alive.
func (s *Set) agree(ctx context.Context) error {
	for _, n := range s.Nodes {
		info, err := n.Client.ClusterInfo(ctx).Result()
		if err != nil {
			return fmt.Errorf("ask %s for its cluster: %w", n.Name, err)
		}
		for _, want := range []string{
			"cluster_state:ok", fmt.Sprintf("cluster_slots_ok:%d", slots), fmt.Sprintf("cluster_known_nodes:%d", len(s.Nodes)),
			fmt.Sprintf("cluster_size:%d", s.kind.masters()),
		} {
			if !strings.Contains(info, want+"\r\n") {
				return fmt.Errorf("%s does not say %s", n.Name, want)
			}
		}
		known, err := n.Client.ClusterNodes(ctx).Result()
		if err != nil {
			return fmt.Errorf("ask %s for its nodes: %w", n.Name, err)
		}
		if strings.Contains(known, "fail") || strings.Contains(known, "handshake") {
			return fmt.Errorf("%s thinks that somebody is out", n.Name)
		}
	}
	return nil
}
