package store

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	replayChunk = 256                   // writes in one pipeline
	pendingFor  = 5 * time.Second       // how long a commit waits for what it builds on: another instance has it
	pendingLook = 25 * time.Millisecond // between two looks for it while nobody is let in
	backKept    = 2 * ringKept          // how long it is known that an event was brought back
)

// replay writes again what this instance had acknowledged and the node does not
// have: events first, then commits, in the order of their answers. It returns how
// many writes there were.
func (s *Store) replay(ctx context.Context, conn *redis.Conn, i *incarnation, fences map[string]string) (int, error) {
	var appends, commits []*kept
	for _, k := range s.ring.all() {
		tag := tagOf(k.keys[0])
		switch fence, here := fences[tag]; {
		case !here:
		case k.proof != nil:
			commits = append(commits, k)
		case k.beyond(fence):
			appends = append(appends, k)
		}
	}
	back, err := s.restore(ctx, conn, appends)
	if err != nil {
		return back, err
	}
	more, pending, err := s.commitAgain(ctx, conn, i, commits)
	if err != nil {
		return back, err
	}
	now := s.o.Now()
	for _, k := range pending {
		k.since = now
	}
	s.homes.mu.Lock()
	s.homes.pending = append(s.homes.pending, pending...)
	s.homes.mu.Unlock()
	return back + more, nil
}

// tagOf returns the hash tag of a key with its braces.
func tagOf(key string) string { return key[:strings.IndexByte(key, '}')+1] }

// beyond reports whether the append is behind the last id of an inbox. What one
// script appended is there as a whole or not at all.
func (k *kept) beyond(fence string) bool {
	last, err := parsePosition(fence)
	if err != nil {
		return false
	}
	for _, id := range k.ids {
		if at, err := parsePosition(id); err == nil && last.before(at) {
			return true
		}
	}
	return false
}

// restore brings events back, those of one inbox in the order of their ids.
func (s *Store) restore(ctx context.Context, conn *redis.Conn, appends []*kept) (int, error) {
	slices.SortStableFunc(appends, func(a, b *kept) int {
		return cmp.Or(cmp.Compare(a.keys[0], b.keys[0]), comparePositions(a.ids, b.ids))
	})
	back := 0
	for some := range slices.Chunk(appends, replayChunk) {
		pipe := conn.Pipeline()
		cmds := make([]*redis.Cmd, len(some))
		for i, k := range some {
			keys, args := s.restoring(k)
			cmds[i] = restoreScript.Eval(ctx, pipe, keys, args...)
		}
		wait := s.wait(ctx, pipe)
		_, _ = pipe.Exec(ctx) // each command has its own error
		for i, k := range some {
			ids, err := cmds[i].Slice()
			if err != nil {
				return back, failed(err, "bring %d events back", len(k.ids))
			}
			if now := texts(ids); strings.Join(now, "") != "" {
				back++
				k.ids = now
				s.wakes.tell(k.wake)
			}
		}
		s.unconfirmed(ctx, wait)
	}
	return back, nil
}

// restoring makes the call that brings an append back. Its arguments were: how
// many keys and entries it has and what is asked besides, then the index of a mark and the entry.
func (s *Store) restoring(k *kept) (keys []string, args []any) {
	keys = slices.Clone(k.keys)
	args = []any{int(backKept.Seconds()), int(seenKept.Seconds())}
	p := k.wake.Partition
	for i, id := range k.ids {
		if id == "" {
			continue
		}
		keys = append(keys, p.key("back:", s.o.Instance+":"+strconv.FormatUint(k.n, 10)+":"+strconv.Itoa(i)))
		args = append(args, id, len(keys), k.args[appendHead+2*i], k.args[appendHead+1+2*i])
	}
	return keys, args
}

// comparePositions orders appends by their first ids.
func comparePositions(a, b []string) int {
	first := func(ids []string) Position {
		for _, id := range ids {
			if at, err := parsePosition(id); err == nil {
				return at
			}
		}
		return Position{}
	}
	x, y := first(a), first(b)
	switch {
	case x.before(y):
		return -1
	case y.before(x):
		return 1
	}
	return 0
}

// standing is how a commit is found after a failover.
type standing uint8

const (
	survived standing = iota + 1
	behind            // its document is older than what it was decided on, or just that: it can be made again
	replaced          // somebody else's commit is in its place
	built             // its document is newer: others have decided on it, or without it
)

// stands compares the head of a record with what the commit left.
func (p *proof) stands(head string) standing {
	revision, nonce := uint64(0), ""
	if len(head) >= prefixLen {
		revision, _ = strconv.ParseUint(head[:10], 10, 64)
		nonce = head[prefixLen-nonceLen : prefixLen]
	}
	switch {
	case p.gone && head == "":
		return survived
	case p.gone && revision == p.revision:
		return behind
	case p.gone:
		return replaced
	case revision < p.revision:
		return behind
	case revision > p.revision:
		return built
	case nonce == p.nonce:
		return survived
	}
	return replaced
}

// standings finds out how commits stand. One that keeps an answer has survived
// if its answer has, whatever became of its document since.
func standings(ctx context.Context, conn redis.Cmdable, commits []*kept) ([]standing, error) {
	pipe := conn.Pipeline()
	heads := make([]func() (string, error), len(commits))
	answers := make([]*redis.IntCmd, len(commits))
	for i, k := range commits {
		if k.proof.field != "" {
			heads[i] = pipe.HGet(ctx, k.proof.key, k.proof.field).Result
		} else {
			heads[i] = pipe.GetRange(ctx, k.proof.key, 0, prefixLen-1).Result
		}
		if k.proof.request != "" {
			answers[i] = pipe.Exists(ctx, k.proof.request)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	list := make([]standing, len(commits))
	for i, k := range commits {
		head, err := heads[i]()
		if err != nil && !isNil(err) {
			return nil, failed(err, "read where %s stands", k.proof.what)
		}
		list[i] = k.proof.stands(head)
		if answers[i] == nil {
			continue
		}
		switch there, err := answers[i].Result(); {
		case err != nil:
			return nil, failed(err, "look for the answer about %s", k.proof.what)
		case there == 1:
			list[i] = survived
		case list[i] == built:
			list[i] = replaced
		}
	}
	return list, nil
}

// commitAgain makes those commits again that are lost, in order. Those that
// build on what is not there are returned: another instance may bring it back.
func (s *Store) commitAgain(ctx context.Context, conn *redis.Conn, i *incarnation, commits []*kept) (int, []*kept, error) {
	back := 0
	var pending []*kept
	for some := range slices.Chunk(commits, replayChunk) {
		list, err := standings(ctx, conn, some)
		if err != nil {
			return back, nil, err
		}
		var lost []*kept
		for k, stands := range list {
			switch stands {
			case behind:
				lost = append(lost, some[k])
			case replaced:
				pending = append(pending, some[k])
			case survived, built:
			}
		}
		if len(lost) == 0 {
			continue
		}
		n, missed, err := s.sendAgain(ctx, conn, i, lost)
		back += n
		if err != nil {
			return back, nil, err
		}
		pending = append(pending, missed...)
	}
	return back, pending, nil
}

func (s *Store) sendAgain(ctx context.Context, conn *redis.Conn, i *incarnation, lost []*kept) (back int, missed []*kept, err error) {
	pipe := conn.Pipeline()
	cmds := make([]*redis.Cmd, len(lost))
	for k, c := range lost { // one by one, in their order
		cmds[k] = i.commit.EvalSha(ctx, pipe, c.keys, c.args...)
	}
	wait := s.wait(ctx, pipe)
	_, _ = pipe.Exec(ctx) // each command has its own error
	for k, c := range lost {
		replies, err := cmds[k].Slice()
		if err != nil {
			return back, nil, failed(err, "commit %s again", c.proof.what)
		}
		if err, ok := replies[0].(error); ok {
			return back, nil, failed(err, "commit %s again", c.proof.what)
		}
		switch reply, _ := replies[0].([]any); reply[0] {
		case int64(codeCommitted):
			back++
			s.wakes.tell(c.wake)
		case int64(codeMissed):
			missed = append(missed, c)
		}
	}
	s.unconfirmed(ctx, wait)
	return back, missed, nil
}

// unconfirmed reports that what was written again is on one machine only.
func (s *Store) unconfirmed(ctx context.Context, wait *redis.IntCmd) {
	if wait != nil && wait.Val() < 1 {
		s.o.Log.WarnContext(ctx, "what a failover had lost was written again, and no replica has confirmed it")
	}
}

// again tries the commits once more that build on what was not there, and gives
// those up whose time is over.
func (s *Store) again(ctx context.Context, node *redis.Client) {
	s.homes.looking.Lock()
	defer s.homes.looking.Unlock()
	i := s.homes.of(node)
	if i == nil || !s.homes.waiting() {
		return
	}
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	s.pendingAgain(ctx, conn, i)
}

// letOthers gives other instances the time to write again what they know, before
// anybody here decides on what is there now: who decides without what somebody
// was told is done stands in its place. It makes what builds on theirs again as
// soon as it can be. Who is alone waits for nobody.
func (s *Store) letOthers(ctx context.Context, conn *redis.Conn, i *incarnation) {
	if s.alone.Load() {
		return
	}
	given, cancel := context.WithTimeout(ctx, s.homes.letFor)
	defer cancel()
	for pause(given, pendingLook) == nil {
		if s.homes.waiting() {
			s.pendingAgain(ctx, conn, i)
		}
	}
}

// pendingAgain makes those commits again that wait and whose server this is.
func (s *Store) pendingAgain(ctx context.Context, conn *redis.Conn, i *incarnation) {
	s.homes.mu.Lock()
	all := s.homes.pending
	s.homes.mu.Unlock()
	var mine, others []*kept
	for _, k := range all {
		if s.homes.lastOf(tagOf(k.keys[0])) == i.id {
			mine = append(mine, k)
		} else {
			others = append(others, k)
		}
	}
	back, pending, err := s.commitAgain(ctx, conn, i, mine)
	if err != nil {
		return // all of them are tried again
	}
	now, lost := s.o.Now(), 0
	for _, k := range pending {
		if now.Sub(k.since) < pendingFor {
			others = append(others, k)
			continue
		}
		// What events and timers had decided is decided anew: the event and the
		// timer are as old again as the document.
		if k.proof.told {
			lost++
			s.o.Log.ErrorContext(ctx, "what somebody did was lost in a failover and could not be done again",
				slog.String("to", k.proof.what), slog.Uint64("revision", k.proof.revision))
		}
	}
	s.homes.mu.Lock()
	s.homes.pending = others
	s.homes.stats.Restored += back
	if lost > 0 {
		s.homes.stats.Lost, s.homes.stats.LastLost = s.homes.stats.Lost+lost, now
	}
	s.homes.mu.Unlock()
}

func (h *homes) lastOf(tag string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[tag]
}
