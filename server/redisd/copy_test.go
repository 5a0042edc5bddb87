package redisd_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// TestACopyIsABeginningOfTheHistory copies a server's data again and again while
// numbers are appended and the file is rewritten: every copy has the numbers from
// one on without a gap, those among them that had been answered when it was begun.
func TestACopyIsABeginningOfTheHistory(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	s, err := redisd.Start(t.Context(), redisd.Options{Dir: dir, Fsync: redisd.FsyncNo}) // written before the answer all the same
	if err != nil {
		t.Fatal(err)
	}
	supervise(t, s)
	c := client(t, s.Socket())
	var answered atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := int64(1); ctx.Err() == nil; n++ {
			if c.RPush(ctx, "numbers", n).Err() != nil {
				return // on a machine that stands still: the next number would be behind a gap of our own
			}
			answered.Store(n)
		}
	})
	defer writing.Wait()
	defer cancel()
	rewrites := 0
	for range 12 {
		if c.Do(ctx, "BGREWRITEAOF").Err() == nil { // refused while one runs
			rewrites++
		}
		before := answered.Load()
		to := t.TempDir()
		if _, err := redisd.Copy(ctx, dir, to); err != nil {
			t.Fatal(err)
		}
		got := numbers(t, to)
		for i, n := range got {
			if n != strconv.Itoa(i+1) {
				t.Fatalf("number %d of the copy is %s: there is a gap", i+1, n)
			}
		}
		if int64(len(got)) < before {
			t.Fatalf("the copy has %d numbers; %d had been answered before it was begun", len(got), before)
		}
	}
	if rewrites < 3 {
		t.Errorf("the file was rewritten %d times: too few for this test to mean anything", rewrites)
	}
}

// numbers loads a copy and returns what was appended.
func numbers(t *testing.T, copied string) []string {
	t.Helper()
	scratch := directory(t)
	s, err := redisd.Load(t.Context(), copied, scratch, redisd.Options{Fsync: redisd.FsyncNo})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	got, err := client(t, s.Socket()).LRange(t.Context(), "numbers", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestACopyOfAStoppedServer(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	s, err := redisd.Start(t.Context(), redisd.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := client(t, s.Socket()).RPush(t.Context(), "numbers", 1, 2).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if _, err := redisd.Copy(t.Context(), dir, to); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, to); strings.Join(got, " ") != "1 2" {
		t.Errorf("the copy has %q, want 1 and 2", got)
	}
	if _, err := redisd.Copy(t.Context(), dir, to); err == nil {
		t.Error("a second copy into the same directory was made: the first one could be mixed with it")
	}
}

func TestCopiesOfWhatIsNoData(t *testing.T) {
	t.Parallel()
	for name, manifest := range map[string]string{
		"empty":         "",
		"no order":      "file appendonly.aof.1.base.rdb\n",
		"another place": "file ../../etc/passwd seq 1 type b\n",
		"unknown kind":  "file appendonly.aof.1.base.rdb seq 1 type x\n",
		"only the past": "file appendonly.aof.1.base.rdb seq 1 type h\n",
		"not there":     "file appendonly.aof.1.base.rdb seq 1 type b\n",
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "appendonlydir"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "appendonlydir", "appendonly.aof.manifest"), []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		if size, err := redisd.Copy(t.Context(), dir, t.TempDir()); err == nil {
			t.Errorf("%s: %d bytes were copied, want an error", name, size)
		}
	}
}
