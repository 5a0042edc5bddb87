// Package disk is the disk of a redis-server as it can be: slow, full, or
// without what was not synced when the power went. A shim in C, put between
// the server and the C library by the dynamic linker, does the first two and
// notes what the third needs; it is compiled at the start of a run.
package disk

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed shim/shim.c
var source []byte

// Disk is what one redis-server is run on. Its methods are for one goroutine at a time.
type Disk struct {
	dir     string // of the shim, of its orders and its notes
	library string
}

// New compiles the shim in a directory of its own. It needs a C compiler.
func New(ctx context.Context, dir string) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the shim: %w", err)
	}
	d := &Disk{dir: dir, library: filepath.Join(dir, "shim.so")}
	text := filepath.Join(dir, "shim.c")
	if err := os.WriteFile(text, source, 0o600); err != nil {
		return nil, fmt.Errorf("write the shim: %w", err)
	}
	//nolint:gosec // our own source, our own directory
	out, err := exec.CommandContext(ctx, "cc", "-O2", "-shared", "-fPIC", "-o", d.library, text, "-ldl").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("compile the shim (a C compiler is needed: apt-get install gcc): %w: %s", err, out)
	}
	return d, d.Heal()
}

// Env is what the environment of the redis-server needs beside the usual.
func (d *Disk) Env() []string { return []string{"LD_PRELOAD=" + d.library, "CHAOS_DISK=" + d.dir} }

// Slow delays every sync from now on.
func (d *Disk) Slow(by time.Duration) error { return d.order(by, false) }

// Fill lets every write to a file fail from now on.
func (d *Disk) Fill() error { return d.order(0, true) }

// Heal ends Slow and Fill.
func (d *Disk) Heal() error { return d.order(0, false) }

func (d *Disk) order(delay time.Duration, full bool) error {
	bit := 0
	if full {
		bit = 1
	}
	name := filepath.Join(d.dir, "order")
	if err := os.WriteFile(name+".new", fmt.Appendf(nil, "%d %d\n", delay.Microseconds(), bit), 0o600); err != nil {
		return fmt.Errorf("order the disk: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil { // the shim never reads half of it
		return fmt.Errorf("order the disk: %w", err)
	}
	return nil
}

// CutPower leaves of the files below dir only what was synced, which is the
// worst that a loss of power may do to them. Their server must have been killed
// before. It returns how many bytes are gone.
func (d *Disk) CutPower(dir string) (lost int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !isData(path) {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		kept, err := d.synced(info)
		if err != nil || kept >= info.Size() {
			return err
		}
		lost += info.Size() - kept
		return os.Truncate(path, kept)
	})
	if err != nil {
		return lost, fmt.Errorf("cut the power of %s: %w", dir, err)
	}
	return lost, nil
}

// isData reports whether Redis loads the file at its start.
func isData(path string) bool {
	return strings.HasSuffix(path, ".aof") || strings.HasSuffix(path, ".manifest") || strings.HasSuffix(path, ".rdb")
}

// synced is how much of a file is on the disk for certain.
func (d *Disk) synced(info fs.FileInfo) (int64, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("the file system has no inodes")
	}
	text, err := os.ReadFile(filepath.Join(d.dir, strconv.FormatUint(stat.Ino, 10)))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(text), 10, 64)
}
