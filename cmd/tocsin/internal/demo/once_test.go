package demo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOnce plays the whole story, with the real server and a real Redis.
func TestOnce(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	began := time.Now()
	err = Run(t.Context(), Options{Program: program, Once: true, JSON: true, Out: &out})
	if err != nil {
		t.Errorf("the story: %v\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := len((&story{stage: &stage{}}).steps())
	if len(lines) != want {
		t.Errorf("%d steps were reported, want %d", len(lines), want)
	}
	for i, line := range lines {
		var s stepJSON
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("line %d is no JSON: %v", i+1, err)
		}
		if !s.OK || s.Step != i+1 || s.Of != want || len(s.Seen) == 0 {
			t.Errorf("step %d of %d: %s", i+1, want, line)
		}
	}
	if took := time.Since(began); took > 90*time.Second {
		t.Errorf("it took %s, want under 90 s", took)
	}
}

// TestKilledDemoLeavesNothing kills the demo in the middle of the story.
func TestKilledDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, onceCommand)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid, dir := 0, ""
	where := regexp.MustCompile(`pid (\d+) at .*, all of it in ([^"]+)"`)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := where.FindStringSubmatch(lines.Text()); m != nil {
			if pid, err = strconv.Atoi(m[1]); err != nil {
				t.Fatal(err)
			}
			dir = m[2]
		}
		if strings.Contains(lines.Text(), "rings") {
			break
		}
	}
	redis, err := redisPID(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	redisNumber, err := strconv.Atoi(redis)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := os.Stat(dir)
		left := anyAlive([]int{pid, redisNumber})
		if errors.Is(err, os.ErrNotExist) && !left {
			return
		}
		if time.Now().After(deadline) {
			for _, p := range []int{pid, redisNumber} {
				_ = syscall.Kill(p, syscall.SIGKILL)
			}
			t.Fatalf("30 s after the demo was killed: processes left %t, directory %v", left, err)
		}
		rest(t.Context(), 50*time.Millisecond)
	}
}

func TestNoRedis(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Run(t.Context(), Options{Once: true, Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "make demo installs it") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line that says what to do", err)
	}
}
