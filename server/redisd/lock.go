package redisd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Lock is the sole right to a directory. The kernel gives it back when the
// process that holds it ends, however it ends.
type Lock struct{ file *os.File }

// TakeLock takes the lock of dir, which exists. When another process has it,
// the fault is Precondition with the reason DIRECTORY_LOCKED and names that process.
func TakeLock(dir string) (*Lock, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // close-on-exec: the child must not keep the lock alive
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, held(dir, path)
	}
	if err := writePID(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &Lock{file: f}, nil
}

func held(dir, path string) error {
	text, _ := os.ReadFile(path) // the holder may be about to write it: then no number is named
	who := "another process"
	pid := strings.TrimSpace(string(text))
	if pid != "" {
		who = "process " + pid
	}
	return fault.New(fault.Precondition, "DIRECTORY_LOCKED", fmt.Sprintf(
		"the data directory %s is in use by tocsin, %s: stop that one first, or give this one another --data-dir", dir, who),
		"directory", dir, "pid", pid)
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Release gives the lock back. The file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Release() error { return l.file.Close() }
