package world

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/harm"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
)

const (
	fullFor  = 8 * time.Second        // memory is full for so long at least
	wrongFor = 12 * time.Second       // a clock of Redis is wrong for so long at least: instances look at it every 5 s
	slowSync = 250 * time.Millisecond // by which a slow disk delays each sync
)

// breakRedis does what a harm does to the redis-servers. With several masters it
// does it to one of them, by the number of the harm.
func (w *World) breakRedis(ctx context.Context, h harm.Harm, l *ledger.Harm) error {
	w.tampered.Add(1)
	masters, err := w.Redis.Masters(ctx)
	if err != nil {
		return err
	}
	n := masters[h.Number%len(masters)]
	l.Detail = n.Name
	last := func() { pause(ctx, h.Lasts) }
	switch h.Kind {
	case harm.KillRedis:
		n.Kill()
		last()
		err = n.Start(ctx)
	case harm.PauseRedis:
		n.Pause()
		last()
		n.Resume()
	case harm.CutPower:
		var lost int64
		if lost, err = n.CutPower(); err == nil {
			last()
			err = n.Start(ctx)
		}
		l.Detail += fmt.Sprintf(", %d bytes had not been synced", lost)
	case harm.FlushScripts:
		err = w.Redis.EachMaster(ctx, func(n *redisset.Node) error { return n.FlushScripts(ctx) })
	case harm.FullMemory:
		err = w.limit(ctx, 1<<20)
		pause(ctx, h.Lasts+fullFor) // long enough for somebody to acknowledge in it
		err = errors.Join(err, w.limit(ctx, 0))
	case harm.SlowDisk:
		err = n.SlowDisk(slowSync)
		last()
		err = errors.Join(err, n.HealDisk(ctx))
	case harm.FullDisk:
		err = n.FillDisk()
		last()
		err = errors.Join(err, n.HealDisk(ctx))
	case harm.RedisClock:
		err = n.SetClock(-h.Off)
		pause(ctx, h.Lasts+wrongFor)
		err = errors.Join(err, n.SetClock(0))
	default:
		return w.breakSet(ctx, n, h, l)
	}
	return err
}

// breakSet does what can be done to a master and its replicas.
func (w *World) breakSet(ctx context.Context, master *redisset.Node, h harm.Harm, l *ledger.Harm) (err error) {
	replicas := w.Redis.Replicas(ctx, master)
	if len(replicas) == 0 {
		return fmt.Errorf("%s has no replica", master.Name)
	}
	replica := replicas[h.Number%len(replicas)]
	switch h.Kind {
	case harm.KillMaster:
		master.Kill()
		err = w.succession(ctx, replicas, h, l)
		err = errors.Join(err, master.Start(ctx))
	case harm.FreezeMaster:
		master.Pause()
		err = w.succession(ctx, replicas, h, l)
		master.Resume()
	case harm.CutMaster:
		w.Redis.CutOff(master)
		err = w.succession(ctx, replicas, h, l)
		w.Redis.Mend()
	case harm.KillReplica:
		replica.Kill()
		pause(ctx, h.Lasts)
		l.Detail, err = replica.Name, replica.Start(ctx)
	case harm.PauseReplica:
		replica.Pause()
		pause(ctx, h.Lasts)
		replica.Resume()
		l.Detail = replica.Name
	case harm.CutReplica:
		w.Redis.CutReplica(replica)
		pause(ctx, h.Lasts)
		w.Redis.Mend()
		l.Detail = replica.Name
	default:
		return fmt.Errorf("nothing does %s", h.Kind)
	}
	return err
}

// succession waits until a replica is master and the instances know it, and then
// as long as the harm lasts.
func (w *World) succession(ctx context.Context, replicas []*redisset.Node, h harm.Harm, l *ledger.Harm) error {
	by, err := w.Redis.Succeeded(ctx, replicas)
	if err != nil {
		return err
	}
	l.Detail += fmt.Sprintf(", followed by %s after %s", by.Name, time.Since(l.From).Round(10*time.Millisecond))
	err = w.served(ctx)
	l.Served = time.Now()
	pause(ctx, h.Lasts)
	return err
}

// limit sets how much memory every server may use: a replica is a master to be.
func (w *World) limit(ctx context.Context, bytes int64) error {
	for _, n := range w.Redis.Nodes {
		if err := n.Limit(ctx, bytes); err != nil {
			return err
		}
	}
	return nil
}

// stallOf is how long a redis-server may keep its callers waiting before it
// counts as standing still.
const stallOf = time.Second

// WatchRedis notes when a redis-server stood still and nobody had done it: it did
// not answer, and used no processor in that time. It returns when ctx ends.
func (w *World) WatchRedis(ctx context.Context) {
	var all sync.WaitGroup
	for _, n := range w.Redis.Nodes {
		all.Go(func() {
			for last, used, tampered := time.Now(), n.Used(), w.tampered.Load(); ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
				if n.Client.Ping(ctx).Err() != nil {
					continue
				}
				now, uses, tampers := time.Now(), n.Used(), w.tampered.Load()
				if gap := now.Sub(last); gap > stallOf && tampers == tampered && tampers%2 == 0 && uses-used < gap/2 {
					w.o.Ledger.Harm(ledger.Harm{From: last, Until: now, Served: now, Kind: ledger.Stall, Target: n.Name})
				}
				last, used, tampered = now, uses, tampers
			}
		})
	}
	all.Wait()
}
