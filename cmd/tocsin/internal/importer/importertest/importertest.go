// Package importertest is what the tests of all sources share.
package importertest

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Autumn is 90 days in which the clocks of Europe and America change, in
// different weeks.
func Autumn() importer.Window {
	from := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	return importer.Window{From: from, To: from.Add(90 * 24 * time.Hour)}
}

// Files reads the answers in a folder.
func Files(t testing.TB, folder string) []importer.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no answers in %s: %v", folder, err)
	}
	var files []importer.File
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, importer.File{Name: strings.TrimSuffix(filepath.Base(name), ".json"), Text: text})
	}
	return files
}

// Check holds the document and the report of an import against golden files,
// applies the document to an empty directory, and sees that what was applied
// says the same over the window as the report does.
func Check(t *testing.T, im *importer.Import, w importer.Window, folder string, update bool) []importer.Parity {
	t.Helper()
	text, err := im.Document.YAML()
	if err != nil {
		t.Fatal(err)
	}
	parity, err := im.Compare(w)
	if err != nil {
		t.Fatal(err)
	}
	var report bytes.Buffer
	if _, err := (importer.Report{Import: im, Window: w, Parity: parity}).WriteTo(&report); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join(folder, "golden.yaml"), text, update)
	golden(t, filepath.Join(folder, "golden.txt"), report.Bytes(), update)
	applied := apply(t, text, w)
	for _, p := range parity {
		var here []importer.Shift
		for _, id := range p.Here {
			turns, err := applied.Turns(schedule.ID(id))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range turns.Stints(w.From, w.To) {
				here = append(here, importer.Shift{Start: s.Start, End: s.End, User: string(s.User)})
			}
		}
		if diff := cmp.Diff(p.Differences, importer.Differences(p.There, here, w)); diff != "" {
			t.Errorf("schedule %s: what was applied differs from what was reported (-reported +applied):\n%s", p.Name, diff)
		}
	}
	return parity
}

func golden(t *testing.T, path string, got []byte, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// apply applies a document to an empty directory at the beginning of the window.
func apply(t *testing.T, text []byte, w importer.Window) *directory.Snapshot {
	t.Helper()
	keys, err := auth.NewKeyring([32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.Open(t.Context(), directory.Options{
		Log: &memory{}, Keys: keys, Now: func() time.Time { return w.From }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.ApplyDocument(t.Context(), directory.By{}, text, directory.ApplyOptions{}); err != nil {
		t.Fatalf("the document is refused: %v\n%s", err, text)
	}
	return d.Snapshot()
}

// memory is a log of configuration for one test, written by it alone.
type memory struct{ entries []directory.Entry }

// Load has nothing: the log is empty when it is opened.
func (m *memory) Load(context.Context, func(directory.Stored) error) (string, error) { return "0", nil }

// After returns what was applied since.
func (m *memory) After(_ context.Context, position string, _ time.Duration) ([]directory.Entry, error) {
	at, err := strconv.Atoi(position)
	if err != nil || at > len(m.entries) {
		return nil, fault.New(fault.OutOfRange, "CURSOR", "no such position")
	}
	return m.entries[at:], nil
}

// Apply takes every change.
func (m *memory) Apply(_ context.Context, changes []directory.Change, _ [][]byte) error {
	for _, c := range changes {
		c.Revision = c.Was + 1
		m.entries = append(m.entries, directory.Entry{Position: strconv.Itoa(len(m.entries) + 1), Stored: c.Stored})
	}
	return nil
}
