package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	clockWarn = time.Second
	clockFail = time.Minute // provider tokens and links are refused beyond it
)

// redis checks the server that keeps the incidents, and the clock by which the instances agree.
func redis(ctx context.Context, in Input) []Finding {
	url, early := address(ctx, in.Config)
	if early != nil {
		return []Finding{*early}
	}
	roots, err := rootsOf(in.Config.Redis.CAFile)
	if err != nil {
		return []Finding{fail("redis", "check redis.ca_file", "%v", err)}
	}
	o := store.Options{URL: url, TLS: roots, Now: in.Now, DialTimeout: 3 * time.Second, Timeout: 3 * time.Second, PoolSize: 2}
	s, err := store.Open(ctx, o)
	if errors.Is(err, store.ErrOutgrown) {
		return []Finding{fail("schema", "start that version, or restore a back-up from before the upgrade", "this version cannot serve here: %v", err)}
	}
	if err != nil {
		return []Finding{fail("redis", "check redis.url, the password and the network between here and there", "it cannot be used: %v", err)}
	}
	defer func() { _ = s.Close() }()
	var all []Finding
	info, err := s.Info(ctx)
	if err != nil {
		all = append(all, fail("redis", "look into Redis's log", "it cannot be asked about itself: %v", err))
	} else {
		all = append(all, settings(info, in.Config.Redis.Durability)...)
	}
	all = append(all, replication(ctx, s, info["kind"], in.Config.Redis.Durability)...)
	if err := s.Writable(ctx); err != nil {
		all = append(all, fail("redis writes", "look into Redis's log: a full disk, a replica, or a user without rights", "it refuses writes: %v", err))
	}
	if m, err := s.Membership(ctx); err == nil {
		all = append(all, schema(m.Schema))
	}
	offset, within, err := s.Clock(ctx)
	if err != nil {
		return append(all, fail("clock", "look into Redis's log", "the reference clock cannot be read: %v", err))
	}
	return append(all, clock(offset, within))
}

// schema says in which form everything is stored, and how long the way back is open.
func schema(state store.SchemaState) Finding {
	if state.To == 0 {
		return ok("schema", "what is stored is in schema %d, this version reads up to %d", state.Written, store.Schema)
	}
	return ok("schema", "what is stored is in schema %d and rises to %d at %s: until then the version before can be started again",
		state.Written, state.To, state.At.UTC().Format("2006-01-02 15:04:05 MST"))
}

// address returns where Redis is, or the finding that ends the matter.
func address(ctx context.Context, c config.Config) (string, *Finding) {
	if !c.Private() {
		return c.Redis.URL, nil
	}
	binary, err := redisd.Find(ctx, c.Redis.Program)
	if err != nil {
		f := fail("redis", "install it, or set redis.url", "%v", err)
		return "", &f
	}
	dir, err := filepath.Abs(filepath.Join(c.DataDir, "redis"))
	if err != nil {
		f := fail("redis", "name another data_dir", "%v", err)
		return "", &f
	}
	socket := redisd.Socket(dir)
	if err := redisd.Ping(ctx, socket); err != nil {
		f := ok("redis", "%s will be started by tocsin serve", binary)
		if _, exists := os.Stat(socket); exists == nil && !refused(err) {
			f = warn("redis", "wait until it has loaded its data, then run doctor again", "the private server does not serve yet: %v", err)
		}
		return "", &f
	}
	return "unix://" + socket, nil
}

// refused reports whether nobody listens on the socket any more.
func refused(err error) bool { return strings.Contains(err.Error(), "connection refused") }

// settings judges what Redis says of itself (INFO and CONFIG GET).
func settings(info map[string]string, durability string) []Finding {
	var all []Finding
	version := cmp.Or(info["valkey_version"], info["redis_version"])
	name := "Redis"
	if info["valkey_version"] != "" {
		name = "Valkey"
	}
	if major, err := strconv.Atoi(before(version, ".")); err != nil || major < 7 {
		all = append(all, fail("redis", "upgrade to Redis 7.0 or later, or Valkey 8", "%s %s is too old", name, version))
	} else {
		all = append(all, ok("redis", "%s %s, %s", name, version, kindText(info["kind"])))
	}
	all = append(all, persistence(info, durability), memory(info))
	return all
}

// replication looks at the replicas where there should be any.
func replication(ctx context.Context, s *store.Store, kind, durability string) []Finding {
	masters, err := s.Replication(ctx)
	if err != nil {
		return []Finding{warn("redis replicas", "look at INFO replication by hand", "the servers do not say what replicas they have: %v", err)}
	}
	alone := len(masters) == 1 && len(masters[0].Replicas) == 0
	if alone && durability != "replicated" && kind != "sentinel" {
		return nil
	}
	return []Finding{replicas(masters, durability)}
}

func kindText(kind string) string {
	switch kind {
	case "unix":
		return "one server on a Unix socket"
	case "sentinel":
		return "behind Sentinel"
	case "cluster":
		return "a cluster"
	default:
		return "one server"
	}
}

func before(s, sep string) string {
	head, _, _ := strings.Cut(s, sep)
	return head
}

func persistence(info map[string]string, durability string) Finding {
	const check = "redis durability"
	aof, known := info["config:appendonly"]
	if !known {
		aof = map[string]string{"1": "yes", "0": "no"}[info["aof_enabled"]]
	}
	fsync := info["config:appendfsync"]
	switch {
	case aof == "no":
		return fail(check, "set appendonly yes: what was accepted is lost with the process otherwise", "appendonly is off")
	case info["aof_last_write_status"] == "err" || info["aof_last_bgrewrite_status"] == "err":
		return fail(check, "look into Redis's log; usually the disk is full", "the last write to the append-only file failed")
	case fsync == "":
		return warn(check, "make sure at the provider that appendonly is on, and what appendfsync is", "the server does not let its settings be read")
	case fsync == "no", durability == "fsync" && fsync != "always":
		return warn(check, "set appendfsync always, or durability everysec to say that it is meant",
			"appendfsync is %s and durability is %s: events that were answered may be lost with the power", fsync, durability)
	}
	return ok(check, "appendonly yes, appendfsync %s, durability %s", fsync, durability)
}

func memory(info map[string]string) Finding {
	const check = "redis memory"
	used, err1 := strconv.ParseUint(info["used_memory"], 10, 64)
	most, err2 := strconv.ParseUint(cmp.Or(info["maxmemory"], info["config:maxmemory"]), 10, 64)
	policy := cmp.Or(info["maxmemory_policy"], info["config:maxmemory-policy"])
	if errors.Join(err1, err2) != nil {
		return warn(check, "look at it by hand", "the server does not say how much it uses")
	}
	switch {
	case policy != "" && policy != "noeviction":
		return fail(check, "set maxmemory-policy noeviction", "maxmemory-policy is %s: Redis throws open incidents away when memory runs short", policy)
	case most == 0:
		return warn(check, "set maxmemory to about 60 % of the machine's", "there is no maxmemory: when memory runs out the system kills Redis instead of it refusing events; %s used", bytesText(used))
	case used > most/100*85:
		return fail(check, "raise maxmemory, or lower retention.keep_closed", "%s of %s used: events will be refused soon", bytesText(used), bytesText(most))
	case used > most/100*75:
		return warn(check, "raise maxmemory, or lower retention.keep_closed", "%s of %s used", bytesText(used), bytesText(most))
	}
	return ok(check, "%s of %s used, noeviction", bytesText(used), bytesText(most))
}

// lagWarn is how long a replica that is well is silent at most: they report every second.
const lagWarn = 5 * time.Second

// replicas judges whether a failover would lose something, and whether the loss
// of a replica would stop more than it has to.
func replicas(masters []store.Master, durability string) Finding {
	const check = "redis replicas"
	if len(masters) == 0 {
		return fail(check, "name the master in redis.url, or use redis+sentinel://", "redis.url leads to a replica")
	}
	fewest, most, behind := len(masters[0].Replicas), 0, int64(0)
	for _, m := range masters {
		n := len(m.Replicas)
		fewest, most = min(fewest, n), max(most, n)
		if n == 0 && durability == "replicated" {
			return fail(check, "attach a replica, or set redis.durability to fsync", "durability is replicated and %s has no replica: every event for it is answered 503", m.Addr)
		}
		if n > 0 && m.MinReplicas >= n {
			return warn(check, "set min-replicas-to-write 0, or attach another replica",
				"min-replicas-to-write of %s is %d with %d replicas: losing one stops acknowledgements too", m.Addr, m.MinReplicas, n)
		}
		for _, r := range m.Replicas {
			if !r.Online || r.Lag > lagWarn {
				return warn(check, "look at that server and the network between the two", "replica %s of %s is not in step: %s", r.Addr, m.Addr, standing(r))
			}
			behind = max(behind, r.Behind)
		}
	}
	switch {
	case durability == "replicated" && fewest == 1:
		return warn(check, "attach another replica to each master",
			"one replica: when it or its master is lost, events are answered 503 until there are two nodes again; all else goes on")
	case durability != "replicated" && fewest > 0:
		return ok(check, "%s, %d bytes behind; with durability %s a failover may lose what they lack, and the instances write again what they know of it", countText(fewest, most), behind, durability)
	}
	return ok(check, "%s, %d bytes behind", countText(fewest, most), behind)
}

func standing(r store.Replica) string {
	if !r.Online {
		return "it is still copying"
	}
	return fmt.Sprintf("not heard of for %s", r.Lag)
}

func countText(fewest, most int) string {
	if fewest == most {
		return fmt.Sprintf("%d for each master", fewest)
	}
	return fmt.Sprintf("%d to %d for each master", fewest, most)
}

func clock(offset, within time.Duration) Finding {
	const check = "clock"
	away := max(offset.Abs()-within, 0)
	said := fmt.Sprintf("%s from the reference node, measured to %s", away.Round(time.Millisecond), within.Round(time.Millisecond))
	cure := "run a time service (systemd-timesyncd, chrony) on this machine and on Redis's"
	switch {
	case away > clockFail:
		return fail(check, cure, "%s: push services and links refuse what it signs", said)
	case away > clockWarn:
		return warn(check, cure, "%s", said)
	}
	return ok(check, "%s", said)
}

// rootsOf returns TLS settings that trust the authority in the file; nil for no file.
func rootsOf(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the system's roots
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in PEM form in it", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
