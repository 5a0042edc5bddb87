package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// DeadAfter is how long an instance may be silent before its partitions are
// taken over.
const DeadAfter = 3 * time.Second

// Member is one instance of the server.
type Member struct {
	Instance string    `json:"-"`
	Name     string    `json:"name,omitempty"` // of its machine
	Version  string    `json:"version,omitempty"`
	Address  string    `json:"address,omitempty"`
	Schema   int       `json:"schema,omitempty"` // newest that it reads; set by Heartbeat
	Started  time.Time `json:"started"`
	Seen     time.Time `json:"-"` // last heartbeat
}

// Lease says who owns a partition. Ownership serves order and latency only: what
// is correct is decided by commits.
type Lease struct {
	Owner string // instance; empty: nobody
	Epoch uint64 // rises whenever the owner changes
}

// Membership is who lives, who owns what, and in which schema they write.
type Membership struct {
	Members []Member // by instance
	Leases  [Partitions]Lease
	Schema  SchemaState
}

// Heartbeat says that this instance lives, drops who has been silent for
// DeadAfter, renews and takes the partitions wanted, as far as no live member
// has them, and gives back all others. It raises the schema when that is due. An
// instance that cannot read what is stored owns nothing. Call it once a second.
func (s *Store) Heartbeat(ctx context.Context, now time.Time, me Member, want []Partition) (Membership, error) {
	me.Schema = Schema
	about, err := json.Marshal(me)
	if err != nil {
		return Membership{}, fmt.Errorf("describe this instance: %w", err)
	}
	m, err := s.heartbeat(ctx, now, me, string(about), want)
	s.alone.Store(err == nil && len(m.Members) == 1 && m.Members[0].Instance == s.o.Instance)
	if err == nil {
		s.written(m.Schema)
	}
	return m, err
}

// Leave gives back all partitions and the membership at once.
func (s *Store) Leave(ctx context.Context, now time.Time) error {
	_, err := s.heartbeat(ctx, now, Member{}, "", nil)
	return err
}

func (s *Store) heartbeat(ctx context.Context, now time.Time, me Member, about string, want []Partition) (Membership, error) {
	args := []any{
		fmt.Sprintf("%013d", now.UnixMilli()), s.o.Instance, about, DeadAfter.Milliseconds(),
		me.Schema, me.Version, s.schema.Load(), s.o.WayBack.Milliseconds(),
	}
	for _, p := range want {
		args = append(args, p.String())
	}
	reply, err := s.run(ctx, heartbeatScript, []string{membersKey, leasesKey, formatKey}, args...).Slice()
	if err != nil {
		return Membership{}, failed(err, "heartbeat")
	}
	if len(reply) != 3 {
		return Membership{}, fault.New(fault.Internal, "HEARTBEAT_REPLY", "the heartbeat script answered something else")
	}
	format, _ := reply[2].([]any)
	m := membership(flat(reply[0]), flat(reply[1]))
	m.Schema = s.schemaState(format)
	return m, nil
}

// Membership returns who lives, and who owns what, as the last heartbeats left it.
func (s *Store) Membership(ctx context.Context) (Membership, error) {
	members, err := s.rdb.HGetAll(ctx, membersKey).Result()
	if err != nil {
		return Membership{}, failed(err, "read the members")
	}
	leases, err := s.rdb.HGetAll(ctx, leasesKey).Result()
	if err != nil {
		return Membership{}, failed(err, "read the leases")
	}
	format, err := s.rdb.HMGet(ctx, formatKey, schemaFields...).Result()
	if err != nil {
		return Membership{}, failed(err, "read the schema")
	}
	m := membership(members, leases)
	m.Schema = s.schemaState(format)
	return m, nil
}

func membership(members, leases map[string]string) Membership {
	var m Membership
	for instance, v := range members {
		seen, err := strconv.ParseInt(v[:min(13, len(v))], 10, 64)
		if err != nil {
			continue // written by something that is not a member
		}
		member := Member{Instance: instance, Seen: at(seen)}
		_ = json.Unmarshal([]byte(v[13:]), &member) // its name is all that is needed
		m.Members = append(m.Members, member)
	}
	slices.SortFunc(m.Members, func(a, b Member) int { return cmp.Compare(a.Instance, b.Instance) })
	for part, v := range leases {
		p, err1 := strconv.Atoi(part)
		epoch, err2 := strconv.ParseUint(v[:min(10, len(v))], 10, 64)
		if err1 != nil || err2 != nil || p < 0 || p >= Partitions {
			continue
		}
		m.Leases[p] = Lease{Owner: v[min(10, len(v)):], Epoch: epoch}
	}
	return m
}

// flat reads a list of names and values.
func flat(v any) map[string]string {
	list, _ := v.([]any)
	m := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].(string)
		m[name], _ = list[i+1].(string)
	}
	return m
}

// turnKept outlives every retry of the decision that claims a turn.
const turnKept = 24 * time.Hour

// ClaimTurn returns whose turn it is at a round-robin level for an incident, and
// moves the turn on. Asking again for the same incident gives the same person,
// unless that one is no longer among the members. No members: nobody.
func (s *Store) ClaimTurn(
	ctx context.Context, policy escalation.PolicyID, level int, in incident.ID, members []roster.UserID,
) (roster.UserID, error) {
	user, err := s.turn(ctx, policy, level, in, members, turnKept)
	return user, failed(err, "claim a turn at level %d of policy %s", level+1, policy)
}

// NextTurn returns whose turn it would be at a round-robin level, and leaves it there.
func (s *Store) NextTurn(ctx context.Context, policy escalation.PolicyID, level int, members []roster.UserID) (roster.UserID, error) {
	user, err := s.turn(ctx, policy, level, "", members, 0)
	return user, failed(err, "look at the turn at level %d of policy %s", level+1, policy)
}

func (s *Store) turn(
	ctx context.Context, policy escalation.PolicyID, level int, in incident.ID, members []roster.UserID, kept time.Duration,
) (roster.UserID, error) {
	if len(members) == 0 {
		return "", nil
	}
	args := append([]any{int(kept.Seconds())}, anys(each(members, text[roster.UserID]))...)
	user, err := s.run(ctx, turnScript, []string{turnKey(policy, level), turnClaimKey(policy, level, in)}, args...).Text()
	return roster.UserID(user), err
}

// PutOnce keeps a value for a time, to be taken once. Exists when the key is taken.
func (s *Store) PutOnce(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	set, err := s.rdb.SetNX(ctx, onceKey(PartitionOf(key), key), value, ttl).Result()
	if err == nil && !set {
		return fault.New(fault.Exists, "ONCE_EXISTS", "the key is in use")
	}
	return failed(err, "keep a value to be taken once")
}

// Keep keeps a value for a time, in place of what the key had. Peek reads it.
func (s *Store) Keep(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return failed(s.rdb.Set(ctx, onceKey(PartitionOf(key), key), value, ttl).Err(), "keep a value")
}

// Take returns a value and forgets it: of several callers one gets it. NotFound
// when it was taken, has lapsed or never was.
func (s *Store) Take(ctx context.Context, key string) ([]byte, error) {
	b, err := s.rdb.GetDel(ctx, onceKey(PartitionOf(key), key)).Bytes()
	if isNil(err) {
		return nil, onceGone()
	}
	return b, failed(err, "take a value")
}

// Peek returns a value and keeps it.
func (s *Store) Peek(ctx context.Context, key string) ([]byte, error) {
	b, err := s.rdb.Get(ctx, onceKey(PartitionOf(key), key)).Bytes()
	if isNil(err) {
		return nil, onceGone()
	}
	return b, failed(err, "look at a value")
}

func onceGone() error {
	return fault.New(fault.NotFound, "ONCE_GONE", "it was used before, has lapsed, or never was")
}

// TouchDevice changes fields of the last word of a device: its heartbeat, what
// it can show. It is no configuration: many devices say something every day.
// Fields that are not named stay, so that two that write at once lose nothing.
// The names are those of [roster.Word]; instants are given as time.Time.
func (s *Store) TouchDevice(ctx context.Context, id roster.DeviceID, set map[string]any) error {
	_, err := s.touch(ctx, id, "", time.Time{}, set)
	return err
}

// ClaimDevice is TouchDevice for whoever finds the instant in a field as it was;
// zero is absent. Of several that try at once, one is told true.
func (s *Store) ClaimDevice(ctx context.Context, id roster.DeviceID, field string, was time.Time, set map[string]any) (bool, error) {
	return s.touch(ctx, id, field, was, set)
}

func (s *Store) touch(ctx context.Context, id roster.DeviceID, field string, was time.Time, set map[string]any) (bool, error) {
	set = maps.Clone(set)
	for name, v := range set {
		if at, ok := v.(time.Time); ok {
			set[name] = at.UTC() // in the form that [storedTime] compares with
		}
	}
	patch, err := json.Marshal(set)
	if err != nil {
		return false, fmt.Errorf("encode the word of device %s: %w", id, err)
	}
	done, err := s.run(ctx, wordScript, []string{devicesKey(PartitionOf(string(id)))}, string(id), patch, field, storedTime(was)).Int()
	return done == 1, failed(err, "keep the word of device %s", id)
}

// storedTime is an instant as JSON has it, "" for none.
func storedTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Devices returns the last words of devices. Those that never said anything are
// absent, and so is what cannot be read: the next word takes its place.
func (s *Store) Devices(ctx context.Context, ids ...roster.DeviceID) (map[roster.DeviceID]roster.Word, error) {
	words := make(map[roster.DeviceID]roster.Word, len(ids))
	byPartition := map[Partition][]string{}
	for _, id := range ids {
		p := PartitionOf(string(id))
		byPartition[p] = append(byPartition[p], string(id))
	}
	for p, fields := range byPartition {
		list, err := s.rdb.HMGet(ctx, devicesKey(p), fields...).Result()
		if err != nil {
			return nil, failed(err, "read the words of %d devices", len(ids))
		}
		for i, v := range list {
			var w roster.Word
			if v, ok := v.(string); ok && json.Unmarshal([]byte(v), &w) == nil {
				words[roster.DeviceID(fields[i])] = w
			}
		}
	}
	return words, nil
}

// ForgetDevice drops the last word of a device.
func (s *Store) ForgetDevice(ctx context.Context, id roster.DeviceID) error {
	err := s.rdb.HDel(ctx, devicesKey(PartitionOf(string(id))), string(id)).Err()
	return failed(err, "forget device %s", strings.ToValidUTF8(string(id), ""))
}
