package redistest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Pair is a master and a replica without anybody who watches over them: what the
// replica lacks, and when it is promoted, is the test's to say.
type Pair struct {
	Master, Replica *Server

	link  *relay // between the two
	front *relay // from writers to the one that is master
}

// StartPair runs both for this test alone, in step.
func StartPair(tb testing.TB, opts ...Option) *Pair {
	tb.Helper()
	p := &Pair{}
	for _, s := range []**Server{&p.Master, &p.Replica} {
		node, err := launchAt(tb.Context(), opts...)
		if err != nil {
			tb.Fatalf("redis with a replica for the test: %v", err)
		}
		tb.Cleanup(node.remove)
		*s = node
	}
	p.link, p.front = startRelay(tb, p.Master.port), startRelay(tb, p.Master.port)
	if err := p.Replica.do(tb.Context(), "REPLICAOF", loopback, p.link.port()); err != nil {
		tb.Fatalf("make a replica: %v", err)
	}
	p.InStep(tb)
	return p
}

// URL returns the address of whichever is master.
func (p *Pair) URL() string { return "redis://" + address(p.front.port()) }

// InStep waits until the replica has everything.
func (p *Pair) InStep(tb testing.TB) {
	tb.Helper()
	c := p.Master.Client(tb)
	err := await(tb.Context(), "the replica is in step", func() bool {
		return p.Replica.inStep(tb.Context()) && c.Do(tb.Context(), "WAIT", 1, 100).Val() == int64(1)
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Cut ends the replication: what is written from now on is on the master alone.
func (p *Pair) Cut() { p.link.cut() }

// Promote kills the master and makes the replica what it was.
func (p *Pair) Promote(tb testing.TB) {
	tb.Helper()
	p.front.leadTo(p.Replica.port)
	p.Master.Kill(tb)
	if err := p.Replica.do(tb.Context(), "REPLICAOF", "NO", "ONE"); err != nil {
		tb.Fatalf("promote the replica: %v", err)
	}
}

// relay passes connections on.
type relay struct {
	l    net.Listener
	to   atomic.Pointer[string] // address
	work sync.WaitGroup

	mu    sync.Mutex
	ended bool
	open  []net.Conn
}

func startRelay(tb testing.TB, port string) *relay {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", address("0"))
	if err != nil {
		tb.Fatal(err)
	}
	r := &relay{l: l}
	r.leadTo(port)
	ctx := context.WithoutCancel(tb.Context()) // it ends with its listener
	r.work.Go(func() { r.run(ctx) })
	tb.Cleanup(func() {
		_ = l.Close()
		r.cut()
		r.work.Wait()
	})
	return r
}

func (r *relay) port() string {
	_, port, _ := net.SplitHostPort(r.l.Addr().String())
	return port
}

func (r *relay) leadTo(port string) {
	to := address(port)
	r.to.Store(&to)
}

func (r *relay) run(ctx context.Context) {
	for {
		in, err := r.l.Accept()
		if err != nil {
			return
		}
		out, err := (&net.Dialer{}).DialContext(ctx, "tcp", *r.to.Load())
		if err != nil {
			_ = in.Close()
			continue
		}
		if !r.hold(in, out) {
			continue
		}
		for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
			r.work.Go(func() {
				_, _ = io.Copy(way[1], way[0])
				_ = way[1].Close()
			})
		}
	}
}

// hold keeps connections, or ends them where no more are wanted.
func (r *relay) hold(cs ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, cs...)
	if r.ended {
		for _, c := range r.open {
			_ = c.Close()
		}
	}
	return !r.ended
}

// cut ends all connections and lets none in.
func (r *relay) cut() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.hold()
}
