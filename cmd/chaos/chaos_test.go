package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/child"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/harm"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/night"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(child.Variable); path != "" {
		os.Exit(child.Main(path))
	}
	os.Exit(m.Run())
}

// TestAShortNight plays about a minute. Its bounds in time are wide, as other
// tests run beside it; that nothing is lost, doubled or out of order is held as
// strictly as ever.
func TestAShortNight(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := night.Run(ctx, night.Options{
		Seed: 20261128, For: 40 * time.Second, Instances: 2, Services: 4, Every: 1500 * time.Millisecond, Late: 20 * time.Second,
		Faults: []harm.Kind{
			harm.KillInstance, harm.KillAtPoint, harm.PauseInstance, harm.KillRedis, harm.CutPower, harm.FlushScripts, harm.FullMemory, harm.CutRedis,
			harm.SilentApple, harm.ChangeConfig,
		},
		Program: program, Dir: t.TempDir(), Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	r.Print(&told)
	t.Log(told.String())
	if len(r.Violations) > 0 {
		t.Errorf("%d promises were broken", len(r.Violations))
	}
	if r.Events == 0 || r.Incidents == 0 || r.Pages == 0 || r.Acks == 0 || r.Unaccepted > 0 || len(r.Faults) < 3 {
		t.Errorf("the night was too quiet to prove anything: %+v", r)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // in the error; "" is none
	}{
		{[]string{"--dir=" + t.TempDir()}, ""},
		{[]string{"--instances=4"}, "1 to 3"},
		{[]string{"--faults=earthquake"}, `no fault "earthquake"`},
		{[]string{"--faults=all,-cut-power", "--dir=" + t.TempDir()}, ""},
	} {
		var errs strings.Builder
		_, err := options(c.args, &errs)
		if got := err != nil; got != (c.want != "") || (got && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}
