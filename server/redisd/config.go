package redisd

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// The files of one server inside its directory.
const (
	lockFile   = "tocsin.lock"
	configFile = "redis.conf"
	socketFile = "redis.sock"
	pidFile    = "redis.pid"
	logFile    = "redis.log"
)

// Fsync is Redis's appendfsync: how much of what was answered survives the
// loss of power. The death of a process loses nothing under any of them.
type Fsync string

// The three settings that Redis knows.
const (
	FsyncAlways   Fsync = "always"   // nothing that was answered is lost
	FsyncEverySec Fsync = "everysec" // about the last second may be lost
	FsyncNo       Fsync = "no"       // what the kernel has not written yet; for tests only
)

// maxSocketPath is the longest path that fits sockaddr_un on every system
// that we run on: 104 bytes with its final zero on macOS and the BSDs.
const maxSocketPath = 103

// Config is what is written into redis.conf.
type Config struct {
	Dir       string   // absolute
	Fsync     Fsync    // "" = always
	MaxMemory int64    // bytes, 0 = no limit
	Extra     []string // further directives, one a line; they win over ours
}

// Socket returns the path of the Unix socket of the server in dir.
func Socket(dir string) string { return filepath.Join(dir, socketFile) }

// rewriteFloor is how long the append-only file gets before Redis writes it anew.
// A rewrite takes a core for seconds, and whoever acknowledges meanwhile waits; a
// file of this length is read in five seconds.
const rewriteFloor = "256mb"

// Text returns the content of redis.conf.
//
// No snapshot points: the append-only file with its RDB preamble is the one
// copy. No eviction: an evicted incident is a page that nobody gets, so
// Redis refuses writes instead, and only the inbox's script lets itself be
// refused.
func (c Config) Text() string {
	fsync := c.Fsync
	if fsync == "" {
		fsync = FsyncAlways
	}
	var b strings.Builder
	b.WriteString("# Written by tocsin at every start: a change made here is lost.\n")
	for _, d := range [][2]string{
		{"port", "0"},
		{"unixsocket", quote(Socket(c.Dir))},
		{"unixsocketperm", "700"},
		{"dir", quote(c.Dir)},
		{"pidfile", quote(filepath.Join(c.Dir, pidFile))},
		{"logfile", quote(filepath.Join(c.Dir, logFile))},
		{"daemonize", "no"},
		{"appendonly", "yes"},
		{"appendfsync", string(fsync)},
		{"no-appendfsync-on-rewrite", "no"},
		{"aof-use-rdb-preamble", "yes"},
		{"auto-aof-rewrite-min-size", rewriteFloor},
		{"save", `""`},
		{"maxmemory", strconv.FormatInt(c.MaxMemory, 10)},
		{"maxmemory-policy", "noeviction"},
	} {
		fmt.Fprintf(&b, "%s %s\n", d[0], d[1])
	}
	for _, line := range c.Extra {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// quote writes s as a double-quoted word of a redis.conf, in which only the
// quote and the backslash are special for a path.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
