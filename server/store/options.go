package store

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Options say where Redis is and how it is used. Only URL is required.
type Options struct {
	// URL is one of
	//
	//	redis://[user:password@]host[:port][/db]
	//	rediss://…                                   the same over TLS
	//	unix:///path/to/socket[?db=n]
	//	redis+sentinel://[user:password@]host[:port],host…/master-name[?db=n]
	//	redis+cluster://[user:password@]host[:port],host…
	//
	// rediss+sentinel and rediss+cluster use TLS. Sentinels that have a password
	// of their own take it from ?sentinel_username= and ?sentinel_password=.
	URL string
	TLS *tls.Config // for the rediss forms; nil: the system's roots

	// Replicated waits for one replica before a commit counts as made. A short
	// wait refuses events; for everything else it is reported and goes on.
	Replicated bool

	// WayBack is how long after the last instance of an older version was seen
	// everything is still written so that it could read it. 0: not at all.
	WayBack time.Duration

	Instance string       // names this process among the members; empty: random
	Log      *slog.Logger // nil: discarded
	Now      func() time.Time

	DialTimeout time.Duration // 0: 2 s
	Timeout     time.Duration // of one exchange; 0: 3 s
	WaitTimeout time.Duration // for the replica; 0: 1 s
	PoolSize    int           // connections; 0: 48
	Lanes       int           // batches in flight, for commits and for events each; 0: 3
	InboxLimit  int           // accepted events that may wait in one partition; 0: 20,000

	// Ring is how many bytes of what was acknowledged in the last minute are kept
	// in memory, to be written again where a failover has lost it. 0: none; right
	// for a Redis that has no replica and loses nothing when it is killed.
	Ring int
	// Patience is how long a write waits for a failover to end before it fails.
	// 0: 5 s behind Sentinel and in a cluster, and not at all for a single server.
	Patience time.Duration

	// Step is told of every durable step of a page, before and after it is
	// taken: "before commit", "after commit". Tests end the process there. nil
	// in every real server.
	Step func(point string)
}

// withDefaults fills what was left out.
func (o Options) withDefaults() Options {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&o.DialTimeout, 2*time.Second)
	set(&o.Timeout, 3*time.Second)
	set(&o.WaitTimeout, time.Second)
	if o.PoolSize <= 0 {
		o.PoolSize = 48
	}
	if o.Lanes <= 0 {
		o.Lanes = 3
	}
	if o.InboxLimit <= 0 {
		o.InboxLimit = 20_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // stamps dead letters and measures the reference clock; decisions get theirs
	}
	if o.Instance == "" {
		o.Instance = NewNonce()
	}
	return o
}

// forms are the schemes of URL: which kind of Redis, and whether over TLS.
//
//nolint:gochecknoglobals // look-up table
var forms = map[string]struct {
	kind string
	tls  bool
}{
	"redis": {"single", false}, "rediss": {"single", true}, "unix": {"unix", false},
	"redis+sentinel": {"sentinel", false}, "rediss+sentinel": {"sentinel", true},
	"redis+cluster": {"cluster", false}, "rediss+cluster": {"cluster", true},
}

// CheckURL reports what is wrong with a Redis URL, without connecting.
func CheckURL(raw string) error {
	_, _, err := Options{URL: raw}.withDefaults().client()
	return err
}

func urlFault(format string, args ...any) error {
	return fault.InvalidField("redis.url", format, args...)
}

// client parses the URL; the string is the kind of Redis.
func (o Options) client() (*redis.UniversalOptions, string, error) {
	scheme, rest, ok := strings.Cut(o.URL, "://")
	form, known := forms[scheme]
	if !ok || !known {
		return nil, "", urlFault("must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://")
	}
	u := o.universal()
	if form.tls {
		u.TLSConfig = o.TLS
		if u.TLSConfig == nil {
			u.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	if form.kind == "unix" {
		return o.unix(u, rest)
	}

	// net/url refuses a comma-separated list with ports, so the hosts are taken out first.
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	userinfo, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, hosts = authority[:i+1], authority[i+1:]
	}
	parsed, err := url.Parse("redis://" + userinfo + "host" + tail)
	if err != nil {
		return nil, "", urlFault("is not a URL; write special characters of the password as %%XX")
	}
	u.Username = parsed.User.Username()
	u.Password, _ = parsed.User.Password()
	port := "6379"
	if form.kind == "sentinel" {
		port = "26379"
	}
	if u.Addrs, err = addresses(hosts, port); err != nil {
		return nil, "", err
	}
	if err := o.path(u, form.kind, strings.Trim(parsed.Path, "/"), parsed.Query()); err != nil {
		return nil, "", err
	}
	return u, form.kind, nil
}

// path reads what follows the hosts: a database, or the master's name.
func (o Options) path(u *redis.UniversalOptions, kind, path string, query url.Values) error {
	db := query.Get("db")
	switch kind {
	case "single":
		if len(u.Addrs) > 1 {
			return urlFault("names several hosts: use redis+sentinel:// or redis+cluster://")
		}
		if path != "" {
			db = path
		}
	case "sentinel":
		if path == "" {
			return urlFault("must name the master in its path: redis+sentinel://host,host/master-name")
		}
		u.MasterName = path
		u.SentinelUsername, u.SentinelPassword = query.Get("sentinel_username"), query.Get("sentinel_password")
	case "cluster":
		u.IsClusterMode = true
		if path != "" || db != "" {
			return urlFault("a cluster has neither a path nor a database")
		}
	}
	for name := range query {
		if name != "db" && (kind != "sentinel" || !strings.HasPrefix(name, "sentinel_")) {
			return urlFault("has an unknown parameter %q", name)
		}
	}
	return database(u, db)
}

func (o Options) unix(u *redis.UniversalOptions, rest string) (*redis.UniversalOptions, string, error) {
	path, query, _ := strings.Cut(rest, "?")
	if !strings.HasPrefix(path, "/") {
		return nil, "", urlFault("must be unix:///absolute/path")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, "", urlFault("has unreadable parameters")
	}
	u.Addrs = []string{path}
	u.Username, u.Password = values.Get("username"), values.Get("password")
	return u, "unix", database(u, values.Get("db"))
}

func database(u *redis.UniversalOptions, db string) error {
	if db == "" {
		return nil
	}
	n, err := strconv.Atoi(db)
	if err != nil || n < 0 || n > 1<<16 {
		return urlFault("has %q where the number of a database belongs", db)
	}
	u.DB = n
	return nil
}

// addresses splits a list of hosts and adds the port where none is given.
func addresses(hosts, port string) ([]string, error) {
	var list []string
	for h := range strings.SplitSeq(hosts, ",") {
		if h == "" {
			return nil, urlFault("has an empty host")
		}
		if i := strings.LastIndexByte(h, ':'); i < 0 || strings.HasSuffix(h, "]") {
			h += ":" + port
		} else if n, err := strconv.Atoi(h[i+1:]); err != nil || n < 1 || n > 65535 {
			return nil, urlFault("has %q where a port belongs", h[i+1:])
		}
		list = append(list, h)
	}
	return list, nil
}

// universal are the settings that all kinds share. Retries are safe because a
// retried commit finds its own nonce, and an event that comes twice folds.
func (o Options) universal() *redis.UniversalOptions {
	return &redis.UniversalOptions{
		ClientName: "tocsin", Protocol: 2, DisableIdentity: true,
		MaxRetries: 2, MinRetryBackoff: 10 * time.Millisecond, MaxRetryBackoff: 300 * time.Millisecond,
		DialTimeout: o.DialTimeout, DialerRetries: 1, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout,
		ContextTimeoutEnabled: true, PoolSize: o.PoolSize, PoolTimeout: o.Timeout,
		ConnMaxIdleTime: 5 * time.Minute,
	}
}

// dial makes the client. It does not connect yet.
func (o Options) dial() (redis.UniversalClient, string, error) {
	u, kind, err := o.client()
	if err != nil {
		return nil, "", fmt.Errorf("read the Redis URL: %w", err)
	}
	switch kind {
	case "cluster":
		c := u.Cluster()
		c.MaxRedirects = 5
		return redis.NewClusterClient(c), kind, nil
	case "sentinel":
		return redis.NewFailoverClient(u.Failover()), kind, nil
	case "unix":
		single := u.Simple()
		single.Network = "unix"
		return redis.NewClient(single), kind, nil
	}
	return redis.NewClient(u.Simple()), kind, nil
}
