package demo

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// onceCommand is the demo itself, run as a child so that a test can kill it.
const onceCommand = "demo-once"

var update = flag.Bool("update", false, "write golden files")

// TestMain lets the test binary be the program that the demo runs as its
// server and its guard, so that the children have what the tests were built
// with: the race detector.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case ServeCommand:
			os.Exit(child(func(ctx context.Context) error {
				return Serve(ctx, os.Args[3], os.Args[5], "test", os.Stderr)
			}))
		case onceCommand:
			os.Exit(child(func(ctx context.Context) error {
				return Run(ctx, Options{Program: os.Args[0], Once: true, JSON: true, Out: os.Stdout})
			}))
		case GuardCommand:
			os.Exit(child(func(ctx context.Context) error {
				return Guard(ctx, os.Stdin, os.Args[3], os.Args[4] == "--remove=true")
			}))
		}
	}
	os.Exit(m.Run())
}

func child(run func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s (run with -update to accept):\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}

func readJSON(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
