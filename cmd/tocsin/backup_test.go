package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// TestBackupSaysWhatToKeep backs up an installation in which nothing has happened yet.
func TestBackupSaysWhatToKeep(t *testing.T) {
	dir, err := os.MkdirTemp("", "tocsin") //nolint:usetesting // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if _, _, err := auth.LoadKeyring(filepath.Join(dir, "master.key"), ""); err != nil {
		t.Fatal(err)
	}
	private, err := redisd.Start(t.Context(), redisd.Options{Dir: filepath.Join(dir, "redis")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := private.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	to := filepath.Join(t.TempDir(), "tonight")
	shown := strings.NewReplacer(dir, "/var/lib/tocsin", to, "/backup/tonight")
	for _, c := range []struct {
		name string
		args []string
	}{
		{"backup", []string{"backup", "--data-dir", dir, to}},
		{"backup-again", []string{"backup", "--data-dir", dir, to}},
		{"backup-elsewhere", []string{"backup", "--data-dir", dir, "--set", "redis.url=redis://redis.example.com", to + "2"}},
	} {
		got, _ := command(t, []string{"TOCSIN_CONFIG=/dev/null"}, c.args...)
		golden(t, c.name, shown.Replace(got))
	}
}
