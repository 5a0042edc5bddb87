package night_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRollingUpgrade plays a night between two builds: all but one server go to
// the next version, back and there again while events come in, the last one wakes
// up too old, and an old one is refused; nothing is lost or paged twice.
func TestRollingUpgrade(t *testing.T) {
	dir := t.TempDir()
	build := func(name string, args ...string) string {
		program := filepath.Join(dir, name)
		args = append([]string{"build", "-buildvcs=false", "-o", program}, append(args, "github.com/tocsin-oncall/tocsin/cmd/chaos")...)
		if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil { //nolint:gosec // the compiler
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
		return program
	}
	before, next := build("before"), build("next", "-tags=schemanext")
	out, err := exec.CommandContext(t.Context(), next, "--before="+before, "--faults=rolling-upgrade", "--for=5s", "--seed=3", //nolint:gosec // just built
		"--late=20s", "--dir="+filepath.Join(dir, "night")).CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "no promise was broken") || !strings.Contains(string(out), "woke up too old") {
		t.Errorf("the upgrade: %v", err)
	}
}
