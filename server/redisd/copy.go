package redisd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// The append-only file of a server: a directory with a manifest that names its
// parts in the order in which they are read.
const (
	aofDir      = "appendonlydir"
	aofManifest = "appendonly.aof.manifest"
)

// openAttempts is how often the parts are looked for again when a rewrite of the
// append-only file has just removed them. A rewrite takes much longer than a look.
const openAttempts = 10

// Copy copies the append-only file of the server in dir into the directory to,
// and returns its size in bytes. The server may run meanwhile: it is asked for
// nothing, so there is nothing to undo whenever Copy ends.
//
// The copy is the beginning of the server's history: all that was in the file
// when Copy began, and what was written meanwhile up to some point. All parts
// are open before the first is read, so a rewrite that removes them takes nothing
// away. The last command in it may be cut short, which a server that starts on
// it cuts off.
func Copy(ctx context.Context, dir, to string) (int64, error) {
	parts, err := openParts(filepath.Join(dir, aofDir))
	if err != nil {
		return 0, fmt.Errorf("open the append-only file in %s: %w", dir, err)
	}
	defer func() {
		for _, p := range parts {
			_ = p.file.Close() // was only read
		}
	}()
	to = filepath.Join(to, aofDir)
	if err := os.Mkdir(to, 0o700); err != nil {
		return 0, fmt.Errorf("make the directory of the copy: %w", err)
	}
	var size int64
	var manifest strings.Builder
	for _, p := range parts {
		info, err := p.file.Stat()
		if err != nil {
			return 0, fmt.Errorf("copy the append-only file: %w", err)
		}
		from := io.LimitReader(p.file, info.Size()) // it goes on growing
		if err := write(ctx, filepath.Join(to, p.name), from); err != nil {
			return 0, fmt.Errorf("copy the append-only file: %w", err)
		}
		size += info.Size()
		manifest.WriteString(p.line + "\n")
	}
	if err := write(ctx, filepath.Join(to, aofManifest), strings.NewReader(manifest.String())); err != nil {
		return 0, fmt.Errorf("write the manifest of the copy: %w", err)
	}
	return size, SyncDir(to)
}

// part is a line of the manifest, and the file that it names.
type part struct {
	line string
	name string
	file *os.File
}

// openParts opens all files of the append-only file in dir.
func openParts(dir string) ([]part, error) {
	for attempt := 1; ; attempt++ {
		text, err := os.ReadFile(filepath.Join(dir, aofManifest))
		if err != nil {
			return nil, err
		}
		parts, err := parseManifest(string(text))
		if err != nil {
			return nil, err
		}
		err = openAll(dir, parts)
		if err == nil {
			return parts, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || attempt == openAttempts {
			return nil, err
		}
	}
}

// openAll opens all parts or none.
func openAll(dir string, parts []part) error {
	for i := range parts {
		f, err := os.Open(filepath.Join(dir, parts[i].name))
		if err != nil {
			for _, p := range parts[:i] {
				_ = p.file.Close() // was not even read
			}
			return err
		}
		parts[i].file = f
	}
	return nil
}

// parseManifest reads the lines of a manifest, "file NAME seq N type T", which
// newer servers may go on after. The types are b for everything up to a rewrite,
// i for what came after it, and h for what Redis is about to remove and is left out here.
func parseManifest(text string) ([]part, error) {
	var parts []part
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "file" || f[2] != "seq" || f[4] != "type" || filepath.Base(f[1]) != f[1] || strings.HasPrefix(f[1], ".") {
			return nil, manifestFault(line)
		}
		switch f[5] {
		case "b", "i":
			parts = append(parts, part{line: line, name: f[1]})
		case "h":
		default:
			return nil, manifestFault(line)
		}
	}
	if len(parts) == 0 {
		return nil, manifestFault("")
	}
	return parts, nil
}

func manifestFault(line string) error {
	return fault.New(fault.Precondition, "AOF_MANIFEST", fmt.Sprintf(
		"%s is not of a form that is known: it was written by a newer Redis, or is damaged", aofManifest), "line", line)
}

// write makes a file that is on disk when write returns.
func write(ctx context.Context, name string, from io.Reader) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, reader(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return from.Read(b)
	}))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

type reader func(b []byte) (int, error)

// Read implements io.Reader.
func (r reader) Read(b []byte) (int, error) { return r(b) }

// SyncDir makes what was created or renamed in a directory survive a loss of power.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Load starts a server on a copy that Copy has made, to look into it. The
// server keeps its other files in scratch, which is made for it. Stop ends it.
func Load(ctx context.Context, copied, scratch string, opts Options) (*Server, error) {
	copied, err := filepath.Abs(filepath.Join(copied, aofDir))
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(copied, filepath.Join(scratch, aofDir)); err != nil {
		return nil, err
	}
	opts.Dir = scratch
	return Start(ctx, opts)
}
