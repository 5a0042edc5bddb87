package redisd

import (
	"bufio"
	"bytes"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Redis gets this share of the memory. The rest is for the copy that a
// rewrite of the append-only file makes of changed pages, and for tocsin.
const (
	memoryShareNum, memoryShareDen = 60, 100
	memoryUnknown                  = 1 << 30 // where no /proc tells how much there is
	memoryLeast                    = 64 << 20
)

// MaxMemory returns the maxmemory, in bytes, for a server on this machine: 60 %
// of its [Memory].
func MaxMemory(root fs.FS) int64 {
	total, known := Memory(root)
	if !known {
		total = memoryUnknown
	}
	return max(total/memoryShareDen*memoryShareNum, memoryLeast)
}

// Memory returns how many bytes of memory the machine has or its control group
// allows, whichever is less, and whether either is told. root is the root file
// system, os.DirFS("/").
func Memory(root fs.FS) (bytes int64, known bool) {
	total, known := memTotal(root)
	if n, ok := cgroupLimit(root); ok && (!known || n < total) {
		return n, true
	}
	return total, known
}

// memTotal reads proc(5) meminfo, whose unit is the kibibyte.
func memTotal(root fs.FS) (int64, bool) {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0, false
	}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		rest, ok := strings.CutPrefix(s.Text(), "MemTotal:")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		return n << 10, err == nil
	}
	return 0, false
}

// cgroupLimit returns the least limit on the way from our control group to
// the root, in version 2 (memory.max) and version 1 (memory.limit_in_bytes).
// Inside a container the path of /proc/self/cgroup may not exist under the
// mount: walking up to the root finds the container's own limit there.
func cgroupLimit(root fs.FS) (int64, bool) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	var least int64
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		part := strings.SplitN(s.Text(), ":", 3)
		if len(part) != 3 {
			continue
		}
		base, name := "sys/fs/cgroup", "memory.max"
		if strings.Contains(","+part[1]+",", ",memory,") {
			base, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if part[0] != "0" {
			continue
		}
		for dir := path.Clean("/" + part[2]); ; dir = path.Dir(dir) {
			if n, ok := readBytes(root, path.Join(base, dir, name)); ok && (least == 0 || n < least) {
				least = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return least, least > 0
}

func readBytes(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is no number: no limit
	return n, err == nil && n > 0
}
