package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// An incarnation is one life of a Redis server as a master: it ends with its
// process, and another begins when a replica is promoted. Redis names it (its
// replication id).
//
// The scripts that write what may not be lost are loaded under the name of the
// incarnation, so that a server that has become master since does not know them
// and answers NOSCRIPT before anything is written: whether what was acknowledged
// is all there is looked into first. It costs nothing as long as all is well, and
// no path around it exists, neither a retry within the client nor a redirection.
type incarnation struct {
	id             string
	commit, append *redis.Script
}

func newIncarnation(id string) *incarnation {
	named := func(source string) *redis.Script { return redis.NewScript(source + "-- for " + id + "\n") }
	return &incarnation{id: id, commit: named(commitSource), append: named(appendSource)}
}

// homes remembers which incarnations have been looked into.
type homes struct {
	looking sync.Mutex // one look at a time

	mu      sync.Mutex
	settled map[*redis.Client]*incarnation
	last    map[string]string // hash tag to the incarnation that it was last found in
	config  configHome
	pending []*kept       // commits that build on what is not there yet
	letFor  time.Duration // how long others have to write again what they know: each looks so often
	stats   FailoverStats

	doubt chan struct{}   // has room for one: look now
	ended context.Context //nolint:containedctx // the life of the store
	close context.CancelFunc
}

// configHome says how often the configuration log has come to another master,
// and how far it had come then.
type configHome struct {
	turns uint64
	fence Position
}

func (h *homes) configTurn() (uint64, Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.config.turns, h.config.fence
}

// newHomes makes what remembers nothing yet; timeout is that of one exchange, in
// which whoever waits for a failover to be made good has to get on.
func newHomes(timeout time.Duration) *homes {
	h := &homes{settled: map[*redis.Client]*incarnation{}, last: map[string]string{}, letFor: min(watchEvery, timeout), doubt: make(chan struct{}, 1)}
	h.ended, h.close = context.WithCancel(context.Background())
	return h
}

// of returns what is known of the node, nil for nothing.
func (h *homes) of(node *redis.Client) *incarnation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settled[node]
}

// forget has the node looked into again, if it is still thought to be that.
func (h *homes) forget(node *redis.Client, was *incarnation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled[node] == was {
		delete(h.settled, node)
	}
}

// doubted asks for a look at all masters soon.
func (h *homes) doubted() {
	select {
	case h.doubt <- struct{}{}:
	default:
	}
}

// waiting reports whether commits wait for what they build on.
func (h *homes) waiting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pending) > 0
}

// errNotMaster is the answer of a node that has no writes to offer.
var errNotMaster = fault.New(fault.Unavailable, "STORE_NO_MASTER", "the node is not a master now").After(retryAfter)

// settleWithin bounds one look with everything that has to be written again.
const settleWithin = 30 * time.Second

// incarnation returns what the node is, after what is missing there has been
// written again.
func (s *Store) incarnation(node *redis.Client) (*incarnation, error) {
	if i := s.homes.of(node); i != nil {
		return i, nil
	}
	s.homes.looking.Lock()
	defer s.homes.looking.Unlock()
	if i := s.homes.of(node); i != nil {
		return i, nil // another lane was faster
	}
	// The look outlives the batch that it was begun for: others need it as well.
	ctx, cancel := context.WithTimeout(s.homes.ended, settleWithin)
	defer cancel()
	conn := node.Conn() // one connection, and so one server, from the first question to the last write
	defer func() { _ = conn.Close() }()
	i, err := s.lookInto(ctx, conn)
	if err != nil {
		return nil, failed(err, "look into a master of Redis")
	}
	s.homes.mu.Lock()
	s.homes.settled[node] = i
	s.homes.mu.Unlock()
	return i, nil
}

// lookInto finds out which incarnation is behind the connection, notes how far it
// had come, and writes what it lacks.
func (s *Store) lookInto(ctx context.Context, conn *redis.Conn) (*incarnation, error) {
	id, err := identify(ctx, conn)
	if err != nil {
		return nil, err
	}
	fences, err := s.fence(ctx, conn, id)
	if err != nil {
		return nil, failed(err, "note how far it had come")
	}
	i := newIncarnation(id)
	for _, script := range []*redis.Script{i.commit, i.append} {
		if err := script.Load(ctx, conn).Err(); err != nil {
			return nil, failed(err, "load a script")
		}
	}
	moved := s.moved(id, fences)
	if len(moved) == 0 {
		return i, nil
	}
	back, err := s.replay(ctx, conn, i, moved)
	if err != nil {
		return nil, failed(err, "write again what was lost")
	}
	s.arrived(id, moved)
	s.homes.count(func(stats *FailoverStats) { stats.Failovers, stats.Restored = stats.Failovers+1, stats.Restored+back })
	s.o.Log.WarnContext(ctx, "redis has another master, or started again", slog.Int("slots", len(moved)), slog.Int("written_again", back))
	s.letOthers(ctx, conn, i)
	return i, nil
}

// identify returns the name of the incarnation that the connection leads to.
func identify(ctx context.Context, conn *redis.Conn) (string, error) {
	raw, err := conn.Info(ctx, "replication").Result()
	if err != nil {
		return "", failed(err, "ask who it is")
	}
	info := parseInfo(raw)
	if info["role"] != "master" || info["master_replid"] == "" {
		return "", errNotMaster
	}
	return info["master_replid"], nil
}

// configTag is the hash tag of the configuration.
const configTag = "{c}"

func (p Partition) tag() string { return "{" + tags[p] + "}" }

// fence notes for each hash tag that the node serves how far its stream had come:
// the inbox of a partition, the log of the configuration. The counters beside
// that are raised to what was given out here.
func (s *Store) fence(ctx context.Context, conn *redis.Conn, id string) (map[string]string, error) {
	pipe := conn.Pipeline()
	cmds := map[string]*redis.Cmd{
		configTag: fenceScript.Eval(ctx, pipe, []string{configLogKey, configFenceKey}, id),
	}
	for _, p := range All() {
		cmds[p.tag()] = fenceScript.Eval(ctx, pipe, []string{inboxKey(p), fenceKey(p)}, id)
	}
	s.numbers.mu.Lock()
	number := s.numbers.last
	s.numbers.mu.Unlock()
	raised := raiseScript.Eval(ctx, pipe, []string{configRevisionKey, numberKey}, s.revision.Load(), number)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := raised.Err(); err != nil && !elsewhere(err) {
		return nil, err
	}
	fences := map[string]string{}
	for tag, cmd := range cmds {
		last, err := cmd.Text()
		if elsewhere(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		fences[tag] = last
	}
	return fences, nil
}

// elsewhere reports whether another node of the cluster serves the slot.
func elsewhere(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "CLUSTERDOWN Hash slot not served")
}

// moved returns the fences of the tags that were in another incarnation when they
// were last seen. What was written to one that stayed is behind its fence as
// well, and must not be written again.
func (s *Store) moved(id string, fences map[string]string) map[string]string {
	s.homes.mu.Lock()
	defer s.homes.mu.Unlock()
	moved := map[string]string{}
	for tag, fence := range fences {
		switch was := s.homes.last[tag]; was {
		case "":
			s.homes.last[tag] = id // the first look: nothing was acknowledged before it
		case id:
		default:
			moved[tag] = fence
		}
	}
	return moved
}

// arrived remembers where the tags are, now that nothing is missing there.
func (s *Store) arrived(id string, fences map[string]string) {
	s.homes.mu.Lock()
	defer s.homes.mu.Unlock()
	for tag, fence := range fences {
		if at, err := parsePosition(fence); err == nil && tag == configTag && s.homes.last[tag] != id {
			s.homes.config = configHome{turns: s.homes.config.turns + 1, fence: at}
		}
		s.homes.last[tag] = id
	}
}

// watchEvery is how often the masters are looked at: an event that a failover
// has lost pages nobody until then, unless something is written before.
const watchEvery = time.Second

// doubtPause keeps a doubt from looking all the time.
const doubtPause = 200 * time.Millisecond

// watch looks at the masters until the store is closed.
func (s *Store) watch() {
	ctx := s.homes.ended
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.homes.doubt:
			if pause(ctx, doubtPause) != nil {
				return
			}
		}
		s.look(ctx)
		if s.homes.waiting() {
			s.homes.doubted()
		}
	}
}

// look compares every master with what is known of it. A master that does not
// answer is looked at again when it does.
func (s *Store) look(ctx context.Context) {
	visit := func(ctx context.Context, node *redis.Client) error {
		ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
		defer cancel()
		conn := node.Conn()
		id, err := identify(ctx, conn)
		_ = conn.Close()
		if err != nil {
			return nil // out, or no master any more: who writes is told
		}
		if i := s.homes.of(node); i != nil && i.id != id {
			s.homes.forget(node, i)
		}
		if _, err := s.incarnation(node); err != nil { //nolint:contextcheck // it has a deadline of its own
			s.o.Log.WarnContext(ctx, "a master of Redis could not be looked into", slog.Any("err", err))
			return nil
		}
		s.again(ctx, node)
		return nil
	}
	_ = s.masters(ctx, visit) // visit returns no error; a cluster without a map is out
}

// FailoverStats tell what failovers did, since the store was opened.
type FailoverStats struct {
	Failovers int // masters that changed, or started again
	Restored  int // acknowledged writes that were lost there, and were written again
	// Lost counts what people did that was lost there and could not be done again.
	Lost     int
	LastLost time.Time
	// Unconfirmed counts commits that went on although no replica had them in
	// time (durability "replicated").
	Unconfirmed     int
	LastUnconfirmed time.Time
}

// FailoverStats returns what failovers did.
func (s *Store) FailoverStats() FailoverStats {
	s.homes.mu.Lock()
	defer s.homes.mu.Unlock()
	return s.homes.stats
}

func (h *homes) count(f func(*FailoverStats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.stats)
}
