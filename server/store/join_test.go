package store

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// together carries out calls in one execution of a script.
func together(t *testing.T, s *Store, source string, head []any, calls ...*call) {
	t.Helper()
	script := redis.NewScript(source)
	if err := script.Load(t.Context(), s.rdb).Err(); err != nil {
		t.Fatal(err)
	}
	all := s.join(calls)
	if len(all) != 1 {
		t.Fatalf("the calls are %d executions, want one", len(all))
	}
	pipe := s.rdb.Pipeline()
	all[0].queue(t.Context(), pipe, script, head)
	_, _ = pipe.Exec(t.Context()) // answer tells
	all[0].answer()
}

// planned is the call of a plan that p fills.
func planned(fill func(p *plan)) *call {
	p := newPlan()
	fill(p)
	return p.call(Wake{})
}

func codeOf(c *call) any {
	if list, ok := c.reply.([]any); ok && len(list) > 0 {
		return list[0]
	}
	return c.err
}

func TestJoinedCommitsStandForThemselves(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	for _, key := range []string{"{a}:text", "{a}:badset"} {
		if err := s.rdb.Set(ctx, key, "no hash and no set", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	entry, err := s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "{a}:in", Values: []string{"e", "x"}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]*call{
		"first": planned(func(p *plan) {
			p.guard(ErrKeyMoved, "field", "{a}:dd", "k", "")
			p.guard(ErrInboxGone, "take", "{a}:in", entry, "")
			p.write("HSET", "{a}:dd", "k", "first")
			p.write("ZADD", "{a}:set", 1, "first")
		}),
		"sees the first": planned(func(p *plan) {
			p.guard(ErrKeyMoved, "field", "{a}:dd", "k", "")
			p.write("HSET", "{a}:dd", "k", "second")
		}),
		"entry taken": planned(func(p *plan) {
			p.guard(ErrInboxGone, "take", "{a}:in", entry, "")
			p.write("HSET", "{a}:dd", "taken", "twice")
		}),
		"damaged guard": planned(func(p *plan) {
			p.guard(ErrKeyMoved, "field", "{a}:text", "k", "")
			p.write("HSET", "{a}:dd", "damaged", "guard")
		}),
		"damaged write": planned(func(p *plan) { p.write("HSET", "{a}:text", "k", "v") }),
		"damaged set":   planned(func(p *plan) { p.write("ZADD", "{a}:badset", 1, "m") }),
		"other partition": planned(func(p *plan) {
			p.write("ZADD", "{b}:set", 1, "here")
			p.write("XADD", "{b}:feed", "*", "f", "1")
			p.write("XADD", "{b}:feed", "*", "f", "2")
		}),
		"takes out and puts in": planned(func(p *plan) {
			p.write("ZREM", "{a}:set", "first")
			p.write("ZADD", "{a}:set", 2, "last")
		}),
	}
	order := []string{
		"first", "sees the first", "entry taken", "damaged guard", "damaged write", "damaged set", "other partition", "takes out and puts in",
	}
	list := make([]*call, len(order))
	for i, name := range order {
		list[i] = calls[name]
	}
	together(t, s, commitSource, nil, list...)

	for name, want := range map[string]int64{
		"first": codeCommitted, "sees the first": codeMissed, "entry taken": codeMissed, "other partition": codeCommitted, "takes out and puts in": codeCommitted,
	} {
		if got := codeOf(calls[name]); got != want {
			t.Errorf("%s: got %v, want code %d", name, got, want)
		}
	}
	for _, name := range []string{"damaged guard", "damaged write", "damaged set"} {
		if c := calls[name]; !redis.HasErrorPrefix(c.err, "WRONGTYPE") {
			t.Errorf("%s: got %v, %v, want WRONGTYPE", name, c.reply, c.err)
		}
	}
	if ids, _ := calls["other partition"].reply.([]any); len(ids) != 3 {
		t.Errorf("the other partition's commit came back with %v, want its code and two ids", ids)
	}
	if got, err := s.rdb.HGetAll(ctx, "{a}:dd").Result(); err != nil || len(got) != 1 || got["k"] != "first" {
		t.Errorf("the keys are %v, %v, want only what the first wrote", got, err)
	}
	if got, err := s.rdb.ZRangeWithScores(ctx, "{a}:set", 0, -1).Result(); err != nil || len(got) != 1 || got[0].Member != "last" || got[0].Score != 2 {
		t.Errorf("the set is %v, %v, want what was put in last", got, err)
	}
}

// TestPutOffLendsItsConditionToNobody: a document is put off only if it has a
// timer, and that says nothing of the timers that others set in the same execution.
func TestPutOffLendsItsConditionToNobody(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	putOff := func(member string) *call {
		return planned(func(p *plan) { p.write("ZADD", "{a}:tm", "XX", 700, member) })
	}
	arm := func(member string) *call {
		return planned(func(p *plan) { p.write("ZADD", "{a}:tm", 900, member) })
	}
	if err := s.rdb.ZAdd(t.Context(), "{a}:tm", redis.Z{Score: 1, Member: "poison"}).Err(); err != nil {
		t.Fatal(err)
	}
	calls := []*call{putOff("poison"), arm("before"), putOff("poison"), putOff("none"), arm("after")}
	together(t, s, commitSource, nil, calls...)
	for i, c := range calls {
		if codeOf(c) != int64(codeCommitted) {
			t.Errorf("call %d: %v, %v", i, c.reply, c.err)
		}
	}
	got, err := s.rdb.ZRangeWithScores(t.Context(), "{a}:tm", 0, -1).Result()
	want := []redis.Z{{Score: 700, Member: "poison"}, {Score: 900, Member: "after"}, {Score: 900, Member: "before"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the timers are %v, %v, want %v", got, err, want)
	}
}

func TestJoinedAppendsStandForThemselves(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	if err := s.rdb.Set(t.Context(), inboxKey(2), "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	entry := InboxEntry{Service: "shop", Key: "k"}
	signed := entry
	signed.Event.SenderID = "one"
	fits, full, damaged := s.appendCall(0, []InboxEntry{signed, signed, entry}), s.appendCall(1, []InboxEntry{entry, entry, entry, entry}), s.appendCall(2, []InboxEntry{entry})
	last := s.appendCall(3, []InboxEntry{entry})
	together(t, s, appendSource, []any{3, 60}, fits, full, damaged, last)

	ids, _ := fits.reply.([]any)
	if len(ids) != 3 || ids[0] == "" || ids[1] != "" || ids[2] == "" {
		t.Errorf("three events, of which two are one: got ids %v, %v", ids, fits.err)
	}
	if full.reply != int64(-1) {
		t.Errorf("more than the inbox may hold: got %v, %v, want -1", full.reply, full.err)
	}
	if !redis.HasErrorPrefix(damaged.err, "WRONGTYPE") {
		t.Errorf("an inbox that is none: got %v, %v, want WRONGTYPE", damaged.reply, damaged.err)
	}
	if ids, _ := last.reply.([]any); len(ids) != 2 || ids[0] == "" || ids[1] != "" {
		t.Errorf("the last: got %v, %v, want an id, and that its key leads nowhere", last.reply, last.err)
	}
	for p, want := range map[Partition]int64{0: 2, 1: 0, 3: 1} {
		if n, err := s.rdb.XLen(t.Context(), inboxKey(p)).Result(); err != nil || n != want {
			t.Errorf("inbox %d has %d entries (%v), want %d", p, n, err, want)
		}
	}
}

func TestCallsAreJoinedWithinLimits(t *testing.T) {
	t.Parallel()
	calls := func(n, size int) []*call {
		list := make([]*call, n)
		for i := range list {
			list[i] = &call{keys: []string{inboxKey(Partition(i % 3))}, size: size}
		}
		return list
	}
	for name, c := range map[string]struct {
		kind  string
		calls []*call
		want  int
	}{
		"one":                   {"single", calls(1, 100), 1},
		"as many as fit":        {"single", calls(joinedCalls, 100), 1},
		"one more":              {"single", calls(joinedCalls+1, 100), 2},
		"large ones":            {"single", calls(4, joinedBytes/2), 2},
		"one that is too large": {"single", calls(1, 3*joinedBytes), 1},
		"slots in a cluster":    {"cluster", calls(6, 100), 3},
		"many for each slot":    {"cluster", calls(3*joinedCalls+1, 100), 4},
	} {
		all := (&Store{kind: c.kind}).join(c.calls)
		n := 0
		for _, j := range all {
			n += len(j.calls)
		}
		if len(all) != c.want || n != len(c.calls) {
			t.Errorf("%s: got %d executions of %d calls, want %d of %d", name, len(all), n, c.want, len(c.calls))
		}
	}
}
