// Package machine is what a redis-server stands on as it can be: a disk that is
// slow, full, or without what was not synced when the power went, and a clock
// that is wrong. A shim in C, put between the server and the C library by the
// dynamic linker, does all of it but the loss, for which it notes what was
// synced; it is compiled at the start of a run.
//
// The clock is that of day only. What measures time keeps the right pace, as on
// a machine whose clock somebody sets.
package machine

import (
	"context"
	_ "embed"
	"encoding/binary"
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

// Machine is what one redis-server is run on. Its methods are for one goroutine at a time.
type Machine struct {
	dir     string // of the shim, of its orders and its notes
	library string
}

// New compiles the shim in a directory of its own. It needs a C compiler.
func New(ctx context.Context, dir string) (*Machine, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the shim: %w", err)
	}
	m := &Machine{dir: dir, library: filepath.Join(dir, "shim.so")}
	text := filepath.Join(dir, "shim.c")
	if err := os.WriteFile(text, source, 0o600); err != nil {
		return nil, fmt.Errorf("write the shim: %w", err)
	}
	//nolint:gosec // our own source, our own directory
	out, err := exec.CommandContext(ctx, "cc", "-O2", "-shared", "-fPIC", "-o", m.library, text, "-ldl").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("compile the shim (a C compiler is needed: apt-get install gcc): %w: %s", err, out)
	}
	return m, errors.Join(m.Heal(), m.Set(0))
}

// Env is what the environment of the redis-server needs beside the usual.
func (m *Machine) Env() []string {
	return []string{"LD_PRELOAD=" + m.library, "CHAOS_MACHINE=" + m.dir}
}

// Slow delays every sync from now on.
func (m *Machine) Slow(by time.Duration) error { return m.order(by, false) }

// Fill lets every write to a file fail from now on.
func (m *Machine) Fill() error { return m.order(0, true) }

// Set sets the clock: so much ahead of the right time, or behind it.
func (m *Machine) Set(ahead time.Duration) error {
	var text [8]byte
	binary.NativeEndian.PutUint64(text[:], uint64(ahead.Microseconds())) //nolint:gosec // the shim reads it as signed again
	// In place: the shim has the file mapped.
	f, err := os.OpenFile(filepath.Join(m.dir, "clock"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	_, err = f.WriteAt(text[:], 0)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// Heal ends Slow and Fill.
func (m *Machine) Heal() error { return m.order(0, false) }

func (m *Machine) order(delay time.Duration, full bool) error {
	bit := 0
	if full {
		bit = 1
	}
	name := filepath.Join(m.dir, "order")
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
func (m *Machine) CutPower(dir string) (lost int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !isData(path) {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		kept, err := m.synced(info)
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
func (m *Machine) synced(info fs.FileInfo) (int64, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("the file system has no inodes")
	}
	text, err := os.ReadFile(filepath.Join(m.dir, strconv.FormatUint(stat.Ino, 10)))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(text), 10, 64)
}
