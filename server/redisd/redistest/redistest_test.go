package redistest_test

import (
	"os"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

func TestSharedServerAnswers(t *testing.T) {
	c := redistest.Shared(t).Client(t)
	if got, err := c.Ping(t.Context()).Result(); got != "PONG" || err != nil {
		t.Fatalf("ping = %q, %v; want PONG", got, err)
	}
	if got, want := redistest.URL(t), "unix://"+redistest.Shared(t).Socket(); got != want {
		t.Fatalf("URL = %s, want %s", got, want)
	}
}

func TestDataSurvivesKillAndRestart(t *testing.T) {
	s := redistest.Start(t, redistest.WithFsync(redisd.FsyncAlways), redistest.WithMaxMemory(64<<20))
	c := s.Client(t)
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a killed server answered")
	}
	s.Restart(t)
	if got, err := c.Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Fatalf("get after restart = %q, %v; want v", got, err)
	}
	for name, want := range map[string]string{"appendfsync": "always", "maxmemory": "67108864", "maxmemory-policy": "noeviction"} {
		got, err := c.ConfigGet(t.Context(), name).Result()
		if err != nil || got[name] != want {
			t.Errorf("%s = %q, %v; want %q", name, got[name], err, want)
		}
	}
}
