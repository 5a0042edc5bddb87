package store

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// A master with a replica under one Sentinel: the master dies, the replica is
// promoted, and the store goes on there.
func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	ports := []string{freePort(t), freePort(t), freePort(t)}
	onTCP := func(port string) redistest.Option {
		return redistest.WithDirectives("port "+port, "bind 127.0.0.1", "repl-diskless-sync-delay 0")
	}
	master := redistest.Start(t, onTCP(ports[0]))
	replica := redistest.Start(t, onTCP(ports[1])).Client(t)
	if err := replica.ReplicaOf(ctx, "127.0.0.1", ports[0]).Err(); err != nil {
		t.Fatal(err)
	}
	sentinel := startSentinel(t, ports[2], ports[0])
	until(t, "the Sentinel sees the replica", func() bool {
		return len(sentinel.Replicas(ctx, "page").Val()) == 1
	})

	s := openAt(t, "redis+sentinel://127.0.0.1:"+ports[2]+"/page", func(o *Options) { o.Timeout = 500 * time.Millisecond })
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	until(t, "the replica has the commit", func() bool {
		return replica.Exists(ctx, incidentKey(PartitionOf(string(in.Service)), in.ID)).Val() == 1
	})
	master.Kill(t)
	after := resolved(in, base)
	until(t, "the commit goes to the promoted replica", func() bool {
		_, err := s.Commit(ctx, Commit{Before: in, After: after})
		if err != nil && fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("commit during the failover: got %v, want unavailable", err)
		}
		return err == nil
	})
	until(t, "it is read there", func() bool {
		got, err := s.Incident(ctx, in.ID)
		if err != nil && fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("read during the failover: got %v, want unavailable", err)
		}
		return err == nil && got.Revision == 2
	})
}

func startSentinel(t *testing.T, port, master string) *redis.SentinelClient {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := "port " + port + "\nbind 127.0.0.1\nsentinel monitor page 127.0.0.1 " + master + " 1\n" +
		"sentinel down-after-milliseconds page 500\nsentinel failover-timeout page 2000\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, conf, "--sentinel") // ends with the test
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was killed
	c := redis.NewSentinelClient(&redis.Options{Addr: "127.0.0.1:" + port, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	until(t, "the Sentinel answers", func() bool { return c.Ping(t.Context()).Err() == nil })
	return c
}

// until asks again until it holds; what it asks takes its time.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after a minute: %s does not hold", what)
		}
	}
}
