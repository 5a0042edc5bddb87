package directory

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
)

// The copy on disk is a file of sealed frames: first the whole configuration,
// then a frame for each time something changed, until it is written anew. A
// frame that was cut by a crash ends the file.
const (
	diskMagic   = "tocsin directory 1\n"
	diskPurpose = "directory on disk"
	diskEvery   = 10 * time.Second // how often what changed is written
	frameSize   = 1000             // records in a frame of the whole
	maxFrame    = 256 << 20        // bytes; more is a damaged length
	minRewrite  = 1 << 20          // bytes appended before the file is written anew
)

// diskCopy keeps the configuration in a file.
type diskCopy struct {
	path   string
	sealer auth.Sealer

	mu      sync.Mutex // guards pending and whole
	pending []Entry    // changes since the last write
	whole   bool       // the file has to be written anew

	// The following belong to the one goroutine that writes.
	id       [16]byte
	frames   uint64
	base     int64
	appended int64
}

// frame is the content of a sealed frame.
type frame struct {
	Position string       `json:"position,omitempty"` // set where the configuration is complete
	Records  []diskRecord `json:"records"`
}

type diskRecord struct {
	Kind     Kind            `json:"k"`
	ID       string          `json:"i"`
	Revision uint64          `json:"r"`
	Created  int64           `json:"c,omitempty"` // Unix ms
	Updated  int64           `json:"u,omitempty"`
	Payload  json.RawMessage `json:"p,omitempty"` // none: the record is gone
}

func newDiskCopy(path string, keys auth.Keyring) *diskCopy {
	return &diskCopy{path: path, sealer: keys.Sealer(diskPurpose), whole: true}
}

func (c *diskCopy) changed(entries []Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.whole {
		c.pending = append(c.pending, entries...)
	}
}

func (c *diskCopy) replaced() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole, c.pending = true, nil
}

// read calls f with every record of the file and returns the position that
// they stand at. No file is no records.
func (c *diskCopy) read(f func(Stored) error) (position string, n int, err error) {
	file, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	defer file.Close() //nolint:errcheck // only read
	in := bufio.NewReaderSize(file, 1<<16)
	head := make([]byte, len(diskMagic)+len(c.id))
	if _, err := io.ReadFull(in, head); err != nil || string(head[:len(diskMagic)]) != diskMagic {
		return "", 0, fmt.Errorf("%s is not a copy of the directory", c.path)
	}
	id := [16]byte(head[len(diskMagic):])
	for i := uint64(0); ; i++ {
		fr, err := c.readFrame(in, id, i)
		if err != nil {
			if position != "" { // what follows the last whole state was being written in a crash
				return position, n, nil
			}
			return "", 0, fmt.Errorf("read frame %d of %s: %w", i, c.path, err)
		}
		if fr.Position != "" {
			position = fr.Position
		}
		for _, r := range fr.Records {
			n++
			if err := f(r.stored()); err != nil {
				return "", 0, err
			}
		}
	}
}

func (c *diskCopy) readFrame(in io.Reader, id [16]byte, i uint64) (frame, error) {
	var fr frame
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return fr, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return fr, fmt.Errorf("a frame of %d bytes", n)
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(in, sealed); err != nil {
		return fr, err
	}
	plain, err := c.sealer.Open(sealed, frameName(id, i))
	if err != nil {
		return fr, err
	}
	return fr, json.Unmarshal(plain, &fr)
}

func frameName(id [16]byte, i uint64) string {
	return fmt.Sprintf("frame/%s/%d", hex.EncodeToString(id[:]), i)
}

func (r diskRecord) stored() Stored {
	return Stored{
		Key: Key{r.Kind, r.ID}, Revision: r.Revision,
		Created: time.UnixMilli(r.Created).UTC(), Updated: time.UnixMilli(r.Updated).UTC(), Payload: r.Payload,
	}
}

func toDisk(s Stored) diskRecord {
	return diskRecord{
		Kind: s.Kind, ID: s.ID, Revision: s.Revision, Created: s.Created.UnixMilli(), Updated: s.Updated.UnixMilli(), Payload: s.Payload,
	}
}

// writeFrame appends a frame to w and returns its size in bytes.
func (c *diskCopy) writeFrame(w io.Writer, fr frame) (int64, error) {
	plain, err := json.Marshal(fr)
	if err != nil {
		return 0, err
	}
	sealed, err := c.sealer.Seal(plain, frameName(c.id, c.frames))
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(sealed)))); err != nil { //nolint:gosec // far below 4 GiB
		return 0, err
	}
	_, err = w.Write(sealed)
	c.frames++
	return int64(4 + len(sealed)), err
}

// write brings the file up to the snapshot, which is not older than the
// changes it was told of.
func (c *diskCopy) write(snapshot func() *Snapshot) error {
	c.mu.Lock()
	pending, whole := c.pending, c.whole
	c.pending, c.whole = nil, false
	c.mu.Unlock()
	whole = whole || (len(pending) > 0 && c.appended > max(minRewrite, c.base))
	var err error
	switch {
	case whole:
		err = c.writeWhole(snapshot())
	case len(pending) > 0:
		err = c.writeChanges(pending)
	}
	if err != nil {
		c.replaced() // whatever is in the file now, the next write begins anew
		return fmt.Errorf("write %s: %w", c.path, err)
	}
	return nil
}

func (c *diskCopy) writeWhole(s *Snapshot) (err error) {
	if s.position == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(c.path), ".directory-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	rand.Read(c.id[:]) // never fails
	c.frames, c.base, c.appended = 0, 0, 0
	out := bufio.NewWriterSize(tmp, 1<<16)
	if _, err := out.WriteString(diskMagic + string(c.id[:])); err != nil {
		return err
	}
	if err := c.writeRecords(out, s); err != nil {
		return err
	}
	if err := errors.Join(out.Flush(), tmp.Sync()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), c.path); err != nil {
		return err
	}
	return tmp.Close()
}

func (c *diskCopy) writeRecords(w io.Writer, s *Snapshot) error {
	var fr frame
	flush := func() error {
		n, err := c.writeFrame(w, fr)
		c.base += n
		fr.Records = fr.Records[:0]
		return err
	}
	for _, t := range s.records {
		for _, r := range t.all() {
			payload, err := encode(r)
			if err != nil {
				return err
			}
			m := r.meta()
			fr.Records = append(fr.Records, toDisk(Stored{
				Key: r.key(), Revision: m.Revision, Created: m.Created, Updated: m.Updated, Payload: payload,
			}))
			if len(fr.Records) == frameSize {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	fr.Position = s.position
	return flush()
}

func (c *diskCopy) writeChanges(entries []Entry) error {
	fr := frame{Position: entries[len(entries)-1].Position}
	for _, e := range entries {
		fr.Records = append(fr.Records, toDisk(e.Stored))
	}
	file, err := os.OpenFile(c.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	n, err := c.writeFrame(file, fr)
	c.appended += n
	return errors.Join(err, file.Sync(), file.Close())
}

// keepDisk writes what changed every few seconds, and once more at the end.
func (d *Directory) keepDisk(ctx context.Context) {
	t := time.NewTicker(diskEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		if err := d.disk.write(d.Snapshot); err != nil {
			d.logger.WarnContext(ctx, "configuration cannot be kept on disk", slog.Any("cause", err))
		}
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if err := d.disk.write(d.Snapshot); err != nil {
		d.logger.WarnContext(ctx, "configuration cannot be kept on disk", slog.Any("cause", err))
	}
}
