package redisd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Binary is a redis-server that can be run.
type Binary struct {
	Path         string
	Valkey       bool
	Major, Minor int
}

func (b Binary) String() string {
	name := "Redis"
	if b.Valkey {
		name = "Valkey"
	}
	return fmt.Sprintf("%s %d.%d at %s", name, b.Major, b.Minor, b.Path)
}

// Faults about the program. Their text is the whole instruction.
var (
	errMissing = fault.New(fault.Precondition, "REDIS_MISSING",
		"redis-server is not on the PATH: install it (apt-get install redis-server, dnf install redis, brew install redis), or give a server's address with --redis-url")
	errTooOld = fault.New(fault.Precondition, "REDIS_TOO_OLD",
		"redis-server is older than 7.0: install Redis 7.0 or later, or Valkey 8, or give a server's address with --redis-url")
)

// versionLine is what `redis-server --version` starts with; Valkey says its own name.
var versionLine = regexp.MustCompile(`^(Redis|Valkey) server v=(\d+)\.(\d+)`)

// Find looks for redis-server, then valkey-server, on the PATH, or takes
// path when it is not empty, and checks the version. The faults are
// Precondition with the reasons REDIS_MISSING and REDIS_TOO_OLD.
func Find(ctx context.Context, path string) (Binary, error) {
	names := []string{"redis-server", "valkey-server"}
	if path != "" {
		names = []string{path}
	}
	var found string
	for _, name := range names {
		p, err := exec.LookPath(name)
		if err == nil {
			found = p
			break
		}
	}
	if found == "" {
		return Binary{}, errMissing
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, found, "--version").Output()
	if err != nil {
		return Binary{}, fmt.Errorf("ask %s for its version: %w", found, err)
	}
	b, err := parseVersion(string(out))
	if err != nil {
		return Binary{}, fmt.Errorf("version of %s: %w", found, err)
	}
	b.Path = found
	if b.Major < 7 {
		return Binary{}, errTooOld.With("path", found).With("version", fmt.Sprintf("%d.%d", b.Major, b.Minor))
	}
	return b, nil
}

func parseVersion(line string) (Binary, error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return Binary{}, fmt.Errorf("it says %.80q, which is no version line of Redis or Valkey", line)
	}
	major, err1 := strconv.Atoi(m[2])
	minor, err2 := strconv.Atoi(m[3])
	return Binary{Valkey: m[1] == "Valkey", Major: major, Minor: minor}, errors.Join(err1, err2)
}
