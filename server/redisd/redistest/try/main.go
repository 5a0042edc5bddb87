// Command try starts a Sentinel set (a master with two replicas) or a cluster
// (three masters with a replica each) on loopback, says how to point tocsin at
// it and what to kill, and ends it all when it is interrupted.
//
//	try sentinel
//	try cluster
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kind := ""
	if len(os.Args) == 2 {
		kind = os.Args[1]
	}
	if err := run(ctx, kind); err != nil {
		fmt.Fprintln(os.Stderr, "try:", err)
		os.Exit(1)
	}
}

// run starts what was asked for and keeps it until ctx ends.
func run(ctx context.Context, kind string) error {
	safe := redistest.WithFsync(redisd.FsyncAlways)
	switch kind {
	case "sentinel":
		set, err := redistest.LaunchSentinel(ctx, 2, safe)
		if err != nil {
			return err
		}
		defer set.Stop()
		tell(set.URL(), set.Nodes)
	case "cluster":
		cluster, err := redistest.LaunchCluster(ctx, 3, 1, safe)
		if err != nil {
			return err
		}
		defer cluster.Stop()
		tell(cluster.URL(), append(append([]*redistest.Server{}, cluster.Masters...), cluster.Replicas...))
	default:
		return fmt.Errorf("%q is neither sentinel nor cluster", kind)
	}
	<-ctx.Done()
	return nil
}

func tell(url string, nodes []*redistest.Server) {
	fmt.Fprintf(os.Stdout, "Redis is up. In another terminal:\n\n"+
		"  TOCSIN_REDIS_DURABILITY=replicated TOCSIN_REDIS_URL='%s' bin/tocsin serve\n\nThe nodes, masters first; kill one and watch:\n\n", url)
	for _, n := range nodes {
		fmt.Fprintf(os.Stdout, "  kill -9 %d   # 127.0.0.1:%d, log in %s/redis.log\n", n.PID(), n.Port(), n.Dir())
	}
	fmt.Fprint(os.Stdout, "\nCtrl-C ends them all.\n")
}
