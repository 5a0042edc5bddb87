package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]redis.UniversalOptions{
		"redis://localhost":                                     {Addrs: []string{"localhost:6379"}},
		"redis://u:p%40ss@10.0.0.1:7000/3":                      {Addrs: []string{"10.0.0.1:7000"}, Username: "u", Password: "p@ss", DB: 3},
		"redis://:secret@h?db=2":                                {Addrs: []string{"h:6379"}, Password: "secret", DB: 2},
		"rediss://[::1]:6380":                                   {Addrs: []string{"[::1]:6380"}},
		"unix:///run/redis.sock?db=1":                           {Addrs: []string{"/run/redis.sock"}, DB: 1},
		"redis+sentinel://a,b:1,c/mymaster?sentinel_password=x": {Addrs: []string{"a:26379", "b:1", "c:26379"}, MasterName: "mymaster", SentinelPassword: "x"},
		"redis+cluster://u:p@a:1,b":                             {Addrs: []string{"a:1", "b:6379"}, Username: "u", Password: "p", IsClusterMode: true},
		"rediss+cluster://a":                                    {Addrs: []string{"a:6379"}, IsClusterMode: true},
		"redis+sentinel://:p@a/m?db=4&sentinel_username=su":     {Addrs: []string{"a:26379"}, MasterName: "m", Password: "p", DB: 4, SentinelUsername: "su"},
	} {
		got, _, err := Options{URL: raw}.withDefaults().client()
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if tls := strings.HasPrefix(raw, "rediss"); (got.TLSConfig != nil) != tls {
			t.Errorf("%s: TLS is %v, want %v", raw, got.TLSConfig != nil, tls)
		}
		picked := redis.UniversalOptions{
			Addrs: got.Addrs, DB: got.DB, Username: got.Username, Password: got.Password, MasterName: got.MasterName,
			SentinelUsername: got.SentinelUsername, SentinelPassword: got.SentinelPassword, IsClusterMode: got.IsClusterMode,
		}
		if a, b := fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", picked); a != b {
			t.Errorf("%s:\n got %s\nwant %s", raw, b, a)
		}
	}
	for _, bad := range []string{
		"", "localhost", "http://h", "redis://", "redis://a,b", "redis://h:0", "redis://h:x", "redis://h/x", "redis://h?what=1",
		"unix://relative", "redis+sentinel://a,b", "redis+cluster://a/1", "redis+cluster://a,,b", "redis://%zz@h",
	} {
		err := CheckURL(bad)
		if f := fault.KindOf(err); f != fault.Invalid {
			t.Errorf("%q: got %v, want invalid", bad, err)
		}
		if err != nil && strings.Contains(bad, "%zz") && strings.Contains(err.Error(), "zz") {
			t.Errorf("%q: the error %v repeats what may be a password", bad, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	f.Add("redis+sentinel://u:p@a:1,b/m?db=1")
	f.Fuzz(func(t *testing.T, raw string) {
		if err := CheckURL(raw); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: got %v, want nil or invalid", raw, err)
		}
	})
}

func TestRedisThatIsOutIsUnavailable(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL(), func(o *Options) { o.Timeout = 200 * time.Millisecond })
	ctx := t.Context()
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	srv.Kill(t)
	for name, f := range map[string]func() error{
		"commit":    func() error { _, err := s.Commit(ctx, Commit{Before: in, After: in}); return err },
		"append":    func() error { return s.Append(ctx, []InboxEntry{{Service: in.Service}}) },
		"read":      func() error { _, err := s.Incident(ctx, in.ID); return err },
		"list":      func() error { _, err := s.List(ctx, Query{}, ""); return err },
		"heartbeat": func() error { _, err := s.Heartbeat(ctx, base, Member{}, nil); return err },
		"feed":      func() error { _, err := s.FeedTail(ctx); return err },
		"ping":      func() error { return s.Ping(ctx) },
		"writable":  func() error { return s.Writable(ctx) },
		"begin send": func() error {
			_, errs := s.BeginSend(ctx, base, []Send{sendTo(t, in.ID, 1, "iphone")})
			return errors.Join(errs...)
		},
		"open": func() error {
			_, err := Open(ctx, Options{URL: srv.URL(), Timeout: 200 * time.Millisecond})
			return err
		},
	} {
		if err := f(); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
	}
	// It comes back with all its data and none of its scripts.
	srv.Restart(t)
	got, err := s.Incident(ctx, in.ID)
	if err != nil || got.Revision != in.Revision {
		t.Fatalf("after the restart: got %+v, %v", got, err)
	}
	resolve(t, s, in, base)
}

func TestCallerThatStopsWaiting(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	srv.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Commit(ctx, Commit{Before: in, After: in}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("commit to a frozen Redis: got %v, want unavailable", err)
	}
	srv.Resume(t)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

func TestScriptsAreLoadedWhereTheyAreMissing(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	for range 3 {
		if err := s.rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		var cs []Commit
		for range 100 {
			cs = append(cs, begin(opened(freshService(t), base), "disk"))
		}
		for i, r := range s.CommitAll(t.Context(), cs) {
			if r.Err != nil || len(r.Work) != 1 {
				t.Fatalf("commit %d: got %+v", i, r)
			}
		}
		in := cs[0].After
		if got, err := s.BeginSend(t.Context(), base, []Send{sendTo(t, in.ID, in.Generation, "iphone")}); err != nil || got[0] == BegunStale {
			t.Fatalf("begin send: got %v, %v", got, err)
		}
	}
}

func TestForeignDataIsRefused(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	if err := s.rdb.HSet(t.Context(), formatKey, "partitions", "256").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{URL: srv.URL()})
	if fault.KindOf(err) != fault.Precondition {
		t.Errorf("open: got %v, want a failed precondition", err)
	}
}

func TestReplicatedCommitsWaitForAReplica(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	s := openAt(t, master.URL(), func(o *Options) { o.Replicated, o.WaitTimeout = true, 100*time.Millisecond })
	ctx := t.Context()
	service := freshService(t)

	// No replica: commits go on and say so, events are refused.
	in, done := mustCommit(t, s, begin(opened(service, base), "disk"))
	if !done.Short {
		t.Error("without a replica: got a confirmed commit, want a short one")
	}
	if err := s.Append(ctx, []InboxEntry{{Service: service}}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("append without a replica: got %v, want unavailable", err)
	}

	port := freePort(t)
	if err := s.rdb.ConfigSet(ctx, "port", port).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.ConfigSet(ctx, "protected-mode", "no").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.ConfigSet(ctx, "repl-diskless-sync-delay", "0").Err(); err != nil {
		t.Fatal(err)
	}
	replica := redistest.Start(t).Client(t)
	if err := replica.ReplicaOf(ctx, "127.0.0.1", port).Err(); err != nil {
		t.Fatal(err)
	}
	for s.rdb.Do(ctx, "WAIT", 1, 100).Val() != int64(1) {
		if ctx.Err() != nil {
			t.Fatal("the replica never came up")
		}
	}
	// Here the replica does answer, and has the time that a busy machine takes.
	s = openAt(t, master.URL(), func(o *Options) { o.Replicated, o.WaitTimeout = true, 2*time.Second })
	after, done := mustCommit(t, s, Commit{Before: in, After: resolved(in, base)})
	if done.Short {
		t.Error("with a replica: got a short commit, want a confirmed one")
	}
	raw, err := replica.Get(ctx, incidentKey(PartitionOf(string(service)), in.ID)).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := decodeIncident(in.ID, raw); err != nil || got.Revision != after.Revision {
		t.Errorf("on the replica: got %+v, %v, want revision %d", got, err, after.Revision)
	}
	if err := s.Append(ctx, []InboxEntry{{Service: service}}); err != nil {
		t.Errorf("append with a replica: %v", err)
	}
}

func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

// A cluster refuses whatever reaches over the border of a slot, even on one node
// that has them all: the whole API is exercised there.
func TestWholeAPIOnACluster(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	srv := redistest.Start(t, redistest.WithDirectives(
		"port "+port, "bind 127.0.0.1", "cluster-enabled yes", "cluster-announce-ip 127.0.0.1", "cluster-announce-port "+port,
	))
	node := srv.Client(t)
	ctx := t.Context()
	if err := node.ClusterAddSlotsRange(ctx, 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(node.ClusterInfo(ctx).Val(), "cluster_state:ok") {
		if ctx.Err() != nil {
			t.Fatal("the cluster never came up")
		}
	}
	for _, replicated := range []bool{false, true} {
		s := openAt(t, "redis+cluster://127.0.0.1:"+port, func(o *Options) { o.Replicated, o.WaitTimeout = replicated, time.Millisecond })
		if err := s.rdb.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		exercise(t, s, replicated)
	}
}

// exercise calls everything once.
func exercise(t *testing.T, s *Store, replicated bool) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	var wg sync.WaitGroup
	for range 20 { // over many partitions at once
		wg.Go(func() {
			_, err := s.Commit(ctx, begin(opened(freshService(t), base), "disk"))
			check("commit", err)
		})
	}
	wg.Wait()
	service := freshService(t)
	p := PartitionOf(string(service))
	err := s.Append(ctx, []InboxEntry{{Service: service, Key: "disk"}, {Service: "other"}})
	if !replicated || fault.KindOf(err) != fault.Unavailable {
		check("append", err)
	}
	inbox, err := s.Inbox(ctx, p, 10)
	check("inbox", err)
	c := begin(opened(service, base), "disk")
	for _, e := range inbox {
		c.Inbox = append(c.Inbox, e.ID)
	}
	c.Request = &Request{ID: "r" + string(service), Answer: []byte("x")}
	in, done := mustCommit(t, s, c)
	send := sendTo(t, in.ID, in.Generation, "iphone")
	other := opened(freshService(t), base)
	mustCommit(t, s, begin(other, "disk"))
	begun, errs := s.BeginSend(ctx, base, []Send{send, sendTo(t, other.ID, other.Generation, "iphone")})
	if check("begin send", errors.Join(errs...)); errs == nil && (begun[0] != BegunGo || begun[1] != BegunGo) {
		t.Errorf("begin send: got %v, want go", begun)
	}
	check("record", s.RecordDelivery(ctx, send.Doc, send.Delivery))
	_, err = s.Receipt(ctx, Receipt{Delivery: send.Delivery.ID, State: incident.DeliveryReceived, At: base})
	check("receipt", err)
	check("work failed", ignore(s.WorkFailed(ctx, p, done.Work[0].ID)))
	check("dead letter", s.DeadLetterWork(ctx, done.Work[0], "x"))
	letters, err := s.DeadLetters(ctx, p, "", 10)
	check("dead letters", err)
	for _, l := range letters {
		check("retry", s.Retry(ctx, p, l.ID))
	}
	in = resolve(t, s, in, base)
	check("archive", s.Archive(ctx, in.ID, nil))
	check("archive closed", ignore(s.ArchiveClosed(ctx, p, base.Add(time.Hour), 10, nil)))
	now, err := s.Incident(ctx, in.ID)
	check("read", err)
	mustCommit(t, s, Commit{Before: now, After: now})
	check("list", ignore(s.List(ctx, Query{}, "")))
	check("expire", ignore(s.Expire(ctx, p, time.Now().Add(time.Hour), 10)))
	cursor, err := s.FeedTail(ctx)
	check("feed tail", err)
	_, _, err = s.Feeds(ctx, cursor, 10)
	check("feed", err)
	check("trim feed", s.TrimFeed(ctx, p, base))
	check("unlink", s.Unlink(ctx, service, "disk", in.ID))
	check("linked", ignore(s.LinkedAll(ctx, []LinkedKey{{service, "disk"}, {"other", "x"}})))
	check("heartbeat", ignore(s.Heartbeat(ctx, base, Member{}, All())))
	check("next turn", ignore(s.NextTurn(ctx, "p", 0, []roster.UserID{"ann", "bob"})))
	check("turn", ignore(s.ClaimTurn(ctx, "p", 0, in.ID, []roster.UserID{"ann", "bob"})))
	check("number", ignore(s.NextNumber(ctx)))
	check("config", ignore(s.ConfigApply(ctx, base, []ConfigChange{{Kind: "user", ID: string(service)}}, []byte("audit"))))
	check("config load", ignore(s.ConfigLoad(ctx, func(ConfigRecord) error { return nil })))
	check("trim config", s.TrimConfigLog(ctx))
	check("dropped", s.NoteDropped(ctx, Dropped{Service: service}, Dropped{Service: "other"}))
	check("once", s.PutOnce(ctx, string(service), nil, time.Minute))
	check("drill", ignore(s.PutDrill(ctx, drill.New(drill.ID(service), "ann", base, time.Minute))))
	check("drills", ignore(s.OpenDrills(ctx)))
	check("forget drills", s.ForgetDrills(ctx, base.Add(drillsKept+time.Hour), 10))
	check("reading", s.KeepReading(ctx, "ann", Reading{Tried: base, Error: "x"}))
	check("wake", s.Wake(ctx, Wake{Partition: p, Kinds: WakeWork}))
	check("stats", ignore(s.Stats(ctx)))
	check("pulse", ignore(s.Pulse(ctx, All())))
	check("info", ignore(s.Info(ctx)))
	check("disarm", s.Disarm(ctx, IncidentDoc(in.ID)))
	_, _, err = s.Clock(ctx)
	check("clock", err)
	for _, err := range s.Export(ctx, base.Add(-time.Hour), base.Add(time.Hour)) {
		check("export", err)
	}
}

func ignore[T any](_ T, err error) error { return err }
