package lab

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// build makes the program under test, with what it needs to be quick.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tocsin")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "github.com/tocsin-oncall/tocsin/cmd/tocsin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build tocsin: %v\n%s", err, out)
	}
	return program
}

// TestAnEventBecomesPushes is the laboratory as a whole: a seeded organisation,
// a server of its own, an event over the caller, and a push on each phone.
func TestAnEventBecomesPushes(t *testing.T) {
	t.Parallel()
	var pushes atomic.Int64
	pushed := make(chan int, 16)
	l, err := New(Options{
		Program: build(t), Dir: filepath.Join(t.TempDir(), "lab"),
		OnPush: func(r pushtest.Request) {
			if !IsPage(r) {
				return
			}
			pushes.Add(1)
			person, _ := PersonOf(r.Token)
			pushed <- person
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	err = l.Seed(t.Context(), func(s *Seed) error {
		return s.Apply(t.Context(), Organisation{Services: 3, People: 2, Devices: 2})
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := l.Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(ctx, s.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	status, err := c.Call(NewEvent(1).Request(7))
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("the event was answered %d, %v, want 202", status, err)
	}
	for range 2 {
		select {
		case person := <-pushed:
			if person != 1 {
				t.Errorf("person %d was paged, want 1", person)
			}
		case <-ctx.Done():
			t.Fatalf("%d pushes, want 2", pushes.Load())
		}
	}
	u, err := s.Usage()
	if err != nil || u.RSS == 0 || u.CPU() == 0 || u.FDs == 0 {
		t.Errorf("usage: got %+v, %v", u, err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("the server ended with %v: %s", err, s.process.tail())
	}
}

func TestParseHead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ head, size, status int }{
		"":                      {},
		"HTTP/1.1 202 Accepted": {},
		"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello":                  {44, 5, 202},
		"HTTP/1.1 503 Service Unavailable\r\nDate: x\r\nContent-Length: 0\r\n\r\n": {64, 0, 503},
		"HTTP/1.1 204 No Content\r\n\r\n":                                          {27, 0, 204},
	} {
		head, size, status, err := parseHead([]byte(text))
		if err != nil || head != want.head || size != want.size || status != want.status {
			t.Errorf("%q: got %d %d %d %v, want %+v", text, head, size, status, err, want)
		}
	}
	for _, text := range []string{"HTTP/1.1 abc X\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"} {
		if _, _, _, err := parseHead([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
