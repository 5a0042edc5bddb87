// Package harm is what is done to the installation: which kinds there are,
// and the schedule of a run, which follows from its seed alone.
package harm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/child"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
)

// Kind is one way of breaking something.
type Kind string

// The kinds. Those of instances pick one; the instance is back afterwards. Those
// of Redis pick a master, where there are several.
const (
	KillInstance    Kind = "kill-instance"    // SIGKILL, and a start
	KillAtPoint     Kind = "kill-at-point"    // SIGKILL at a named step of a page, and a start
	PauseInstance   Kind = "pause-instance"   // SIGSTOP, SIGCONT
	RestartInstance Kind = "restart-instance" // SIGTERM, and a start
	WrongClock      Kind = "wrong-clock"      // a start with a clock that is minutes off, and one with the right one
	KillRedis       Kind = "kill-redis"       // SIGKILL, and a start
	PauseRedis      Kind = "pause-redis"      // SIGSTOP, SIGCONT
	CutPower        Kind = "cut-power"        // SIGKILL, what was not synced is gone, and a start
	FlushScripts    Kind = "flush-scripts"    // SCRIPT FLUSH
	FullMemory      Kind = "full-memory"      // maxmemory far below what is used, for a while
	SlowDisk        Kind = "slow-disk"        // each sync takes long, for a while
	FullDisk        Kind = "full-disk"        // writes fail, Redis exits and is started when there is room
	RedisClock      Kind = "redis-clock"      // its clock is minutes off, for a while
	CutClients      Kind = "cut-clients"      // the cables from monitors and phones to one instance
	CutRedis        Kind = "cut-redis"        // the cable from one instance to Redis, or to the Sentinel
	CutApple        Kind = "cut-apple"        // the cable from one instance to APNs
	SilentApple     Kind = "silent-apple"     // APNs takes requests and answers none
	SlowApple       Kind = "slow-apple"       // APNs answers after seconds
	RefusingApple   Kind = "refusing-apple"   // APNs answers 503
	SilentGoogle    Kind = "silent-google"
	RefusingGoogle  Kind = "refusing-google"
	SilentMail      Kind = "silent-mail"
	RefusingMail    Kind = "refusing-mail"
	RollingUpgrade  Kind = "rolling-upgrade" // from the version before to this one, back and forth, under load
	ChangeConfig    Kind = "change-config"   // nothing is broken: the organisation changes meanwhile
	Storm           Kind = "storm"           // one service's monitor sends as fast as it can, for a while
)

// Those of a set of redis-servers. What lasts does so beyond the promotion of
// a replica, where there is one.
const (
	KillMaster   Kind = "kill-master"   // SIGKILL until a replica is master, and a start
	FreezeMaster Kind = "freeze-master" // SIGSTOP until a replica is master, and SIGCONT: it thinks that it still is one
	CutMaster    Kind = "cut-master"    // off the net until a replica is master
	KillReplica  Kind = "kill-replica"  // SIGKILL, and a start
	PauseReplica Kind = "pause-replica" // SIGSTOP, SIGCONT
	CutReplica   Kind = "cut-replica"   // its replication ends, for a while
)

// All returns every kind that there is with such redis-servers, in a fixed order.
func All(of redisset.Kind) []Kind {
	all := []Kind{
		KillInstance, KillAtPoint, PauseInstance, RestartInstance, WrongClock, KillRedis, PauseRedis, CutPower, FlushScripts, FullMemory,
		SlowDisk, FullDisk, CutClients, CutRedis, CutApple, SilentApple, SlowApple, RefusingApple, SilentGoogle, RefusingGoogle,
		SilentMail, RefusingMail, ChangeConfig, RedisClock, Storm, RollingUpgrade,
	}
	if of == redisset.Single {
		return all
	}
	if of == redisset.Cluster { // it has many doors, and no cable of one instance leads to all of them
		all = slices.DeleteFunc(all, func(k Kind) bool { return k == CutRedis })
	}
	return append(all, KillMaster, FreezeMaster, CutMaster, KillReplica, PauseReplica, CutReplica)
}

// Parse reads a comma-separated list of kinds: "all", "none", kinds, and kinds
// with a minus that are left out of all.
func Parse(list string, of redisset.Kind) ([]Kind, error) {
	var kinds []Kind
	all := All(of)
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		name, without := strings.CutPrefix(word, "-")
		switch {
		case word == "all":
			kinds = slices.Clone(all)
		case word == "none" || word == "":
			kinds = nil
		case !slices.Contains(all, Kind(name)):
			return nil, fmt.Errorf("there is no fault %q with --redis=%s; there are all, none, %s", name, of, words(all))
		case without:
			if len(kinds) == 0 {
				kinds = slices.Clone(all)
			}
			kinds = slices.DeleteFunc(kinds, func(k Kind) bool { return k == Kind(name) })
		default:
			kinds = append(kinds, Kind(name))
		}
	}
	return kinds, nil
}

func words(kinds []Kind) string {
	var all []string
	for _, k := range kinds {
		all = append(all, string(k))
	}
	return strings.Join(all, ", ")
}

// Harm is one thing that will be done.
type Harm struct {
	Number   int
	After    time.Duration // since the one before it was over
	Kind     Kind
	Instance int           // of those that there are
	Lasts    time.Duration // until it is mended
	Point    string        // of KillAtPoint
	Off      time.Duration // of clocks: behind; negative: ahead
}

// String is the harm as the report tells it.
func (h Harm) String() string {
	text := fmt.Sprintf("#%d %s", h.Number, h.Kind)
	switch h.Kind {
	case KillAtPoint:
		text += fmt.Sprintf(" of instance %d %s", h.Instance, h.Point)
	case WrongClock:
		text += fmt.Sprintf(" of instance %d by %s", h.Instance, -h.Off)
	case RedisClock:
		text += fmt.Sprintf(" by %s", -h.Off)
	case KillInstance, PauseInstance, RestartInstance, CutClients, CutRedis, CutApple:
		text += fmt.Sprintf(" of instance %d", h.Instance)
	default:
	}
	return text + " for " + h.Lasts.String()
}

// Schedule is the sequence of harms of a run. They come one at a time: what is
// promised is promised for one fault at a time, and each promise can then be
// held against the fault that was under way.
type Schedule struct {
	rng       *rand.Rand
	kinds     []Kind
	left      []Kind // of the present round, so that a short run has many kinds
	instances int
	made      int
}

// New makes the schedule of a seed.
func New(seed uint64, kinds []Kind, instances int) *Schedule {
	return &Schedule{rng: rand.New(rand.NewPCG(seed, 1)), kinds: kinds, instances: instances} //nolint:gosec // to be repeatable is what it is for
}

// Next returns the next harm; false when there are no kinds.
func (s *Schedule) Next() (Harm, bool) {
	if len(s.kinds) == 0 {
		return Harm{}, false
	}
	if len(s.left) == 0 {
		s.left = slices.Clone(s.kinds)
		s.rng.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
	}
	s.made++
	// Every number is drawn for every kind, so that a kind's own does not move those of the rest.
	h := Harm{
		Number: s.made, Kind: s.left[0], After: s.between(300*time.Millisecond, 3*time.Second),
		Instance: s.rng.IntN(s.instances), Lasts: s.between(200*time.Millisecond, 5*time.Second),
		Point: child.Points()[s.rng.IntN(len(child.Points()))], Off: s.between(2*time.Minute, 20*time.Minute),
	}
	if s.rng.IntN(2) == 0 {
		h.Off = -h.Off
	}
	s.left = s.left[1:]
	return h, true
}

func (s *Schedule) between(least, most time.Duration) time.Duration {
	return (least + time.Duration(s.rng.Int64N(int64(most-least)))).Round(10 * time.Millisecond)
}
