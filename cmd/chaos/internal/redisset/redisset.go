package redisset

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/wire"
	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// Kind is how the servers stand together.
type Kind string

// The kinds.
const (
	Single   Kind = "single"   // one server
	Sentinel Kind = "sentinel" // a master, two replicas, and a Sentinel
	Cluster  Kind = "cluster"  // three masters with a replica each
)

// Kinds returns them all.
func Kinds() []Kind { return []Kind{Single, Sentinel, Cluster} }

// masters and nodes say how many servers a kind has.
func (k Kind) masters() int {
	if k == Cluster {
		return 3
	}
	return 1
}

func (k Kind) nodes() int {
	switch k {
	case Sentinel:
		return 3
	case Cluster:
		return 6
	default:
		return 1
	}
}

// Options of a Set.
type Options struct {
	Kind  Kind
	Dir   string // of everything that it keeps
	Fsync redisd.Fsync
}

// Set is the servers.
type Set struct {
	Nodes  []*Node
	Client redis.UniversalClient // through the cables, to whoever is master

	kind  Kind
	watch *sentinel // of Sentinel
}

// Launch starts the servers and returns when all of them are in step. Close
// what it returns, also with an error.
func Launch(ctx context.Context, o Options) (*Set, error) {
	s := &Set{kind: o.Kind}
	for i := range o.Kind.nodes() {
		n, err := newNode(ctx, i, o.Dir, o.Fsync, o.Kind)
		if err != nil {
			return s, err
		}
		s.Nodes = append(s.Nodes, n)
		if err := n.Start(ctx); err != nil {
			return s, err
		}
	}
	var err error
	switch o.Kind {
	case Sentinel:
		s.watch, err = s.underSentinel(ctx, o.Dir)
	case Cluster:
		err = s.intoCluster(ctx)
	case Single:
	}
	if err != nil {
		return s, err
	}
	s.Client = s.client()
	return s, s.Whole(ctx)
}

// client is one of the harness. It gives up soon: what it is asked for is asked again.
func (s *Set) client() redis.UniversalClient {
	o := &redis.UniversalOptions{
		MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, PoolSize: 4, ContextTimeoutEnabled: true,
		DialTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
	}
	switch s.kind {
	case Sentinel:
		o.Addrs, o.MasterName = []string{s.watch.address}, masterName
	case Cluster:
		o.Addrs, o.IsClusterMode = s.doors(), true
	case Single:
		o.Addrs = []string{s.Nodes[0].address}
	}
	return redis.NewUniversalClient(o)
}

func (s *Set) doors() []string {
	all := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		all[i] = n.door()
	}
	return all
}

// Uplink is where a cable to the set leads: to the server, or to the Sentinel,
// which tells the rest. A cluster is asked at all its doors at once and has none.
func (s *Set) Uplink() (address string, ok bool) {
	switch s.kind {
	case Sentinel:
		return s.watch.address, true
	case Cluster:
		return "", false
	default:
		return s.Nodes[0].address, true
	}
}

// URL is the address of the set, as redis.url takes it, through a cable that was
// laid to its Uplink.
func (s *Set) URL(cable string) string {
	switch s.kind {
	case Sentinel:
		return "redis+sentinel://" + cable + "/" + masterName
	case Cluster:
		return "redis+cluster://" + strings.Join(s.doors(), ",")
	default:
		return "redis://" + cable
	}
}

// EachMaster calls f for every server that is master.
func (s *Set) EachMaster(ctx context.Context, f func(*Node) error) error {
	masters, err := s.masters(ctx)
	if err != nil {
		return err
	}
	for _, n := range masters {
		if err := f(n); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) masters(ctx context.Context) ([]*Node, error) {
	var masters []*Node
	for _, n := range s.Nodes {
		at, err := n.stands(ctx)
		if err != nil {
			return nil, err
		}
		if at.master {
			masters = append(masters, n)
		}
	}
	return masters, nil
}

// Whole waits until every server answers, as many are masters as there should
// be, all others follow one, and those who watch over them know it: then the
// set can bear the next loss.
func (s *Set) Whole(ctx context.Context) error {
	return await(ctx, "the redis-servers are in step", func(ctx context.Context) error {
		masters := 0
		for _, n := range s.Nodes {
			at, err := n.stands(ctx)
			switch {
			case err != nil:
				return err
			case at.master:
				masters++
			case !at.linked:
				return fmt.Errorf("%s does not follow its master", n.Name)
			}
		}
		if masters != s.kind.masters() {
			return fmt.Errorf("%d servers are masters", masters)
		}
		switch s.kind {
		case Sentinel:
			return s.watch.agrees(ctx, s.Nodes)
		case Cluster:
			return s.agree(ctx)
		default:
			return nil
		}
	})
}

// Masters returns who is master now, in a fixed order.
func (s *Set) Masters(ctx context.Context) (masters []*Node, err error) {
	err = await(ctx, "every server says whether it is a master", func(ctx context.Context) error {
		masters, err = s.masters(ctx)
		return err
	})
	return masters, err
}

// Replicas returns who follows a master.
func (s *Set) Replicas(ctx context.Context, master *Node) []*Node {
	var all []*Node
	for _, n := range s.Nodes {
		if at, err := n.stands(ctx); err == nil && !at.master && at.of == port(master.door()) {
			all = append(all, n)
		}
	}
	return all
}

// Succeeded waits until one of the replicas of a master that is out has taken
// its place.
func (s *Set) Succeeded(ctx context.Context, replicas []*Node) (by *Node, err error) {
	err = await(ctx, "a replica has become master", func(ctx context.Context) error {
		for _, n := range replicas {
			if at, err := n.stands(ctx); err == nil && at.master {
				by = n
				return nil
			}
		}
		return errors.New("none has")
	})
	return by, err
}

// CutOff takes a server off the net: nobody reaches it, and it reaches nobody.
func (s *Set) CutOff(n *Node) {
	n.front.Pull()
	if n.bus != nil {
		n.bus.Pull()
	}
	for _, other := range s.Nodes {
		other.bar(n)
	}
}

// CutReplica ends a replica's replication.
func (s *Set) CutReplica(n *Node) {
	for _, other := range s.Nodes {
		other.front.Bar(n.origin)
	}
}

func (n *Node) bar(who *Node) {
	for _, c := range []*wire.Cable{n.front, n.bus} {
		if c != nil {
			c.Bar(who.origin)
		}
	}
}

// Mend plugs all cables.
func (s *Set) Mend() {
	for _, n := range s.Nodes {
		for _, c := range []*wire.Cable{n.front, n.bus} {
			if c != nil {
				c.Plug()
			}
		}
	}
}

// Close ends all of it.
func (s *Set) Close() error {
	var errs []error
	if s.Client != nil {
		errs = append(errs, s.Client.Close())
	}
	if s.watch != nil {
		errs = append(errs, s.watch.close())
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, n := range s.Nodes {
		all.Go(func() {
			err := n.close()
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// patience is for how long anything of the set may take. A Sentinel that sees its
// machine stand still does nothing for half a minute.
const patience = 5 * time.Minute

// await asks until there is no error.
func await(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(pollEvery):
		}
	}
}
