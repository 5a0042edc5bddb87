package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/child"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/harm"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/night"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{})
	if path := os.Getenv(child.Variable); path != "" {
		os.Exit(child.Main(path))
	}
	os.Exit(m.Run())
}

// TestAShortNight plays about a minute. Its bounds in time are wide, as other
// tests run beside it; that nothing is lost, doubled or out of order is held as
// strictly as ever.
func TestAShortNight(t *testing.T) {
	play(t, night.Options{
		For: 40 * time.Second, Least: 3,
		Faults: []harm.Kind{
			harm.KillInstance, harm.KillAtPoint, harm.PauseInstance, harm.KillRedis, harm.CutPower, harm.FlushScripts, harm.SilentApple,
		},
	})
}

// TestAShortNightOfFailovers: masters are killed, stop, and lose their power,
// and with durability replicated nothing that was answered is gone.
func TestAShortNightOfFailovers(t *testing.T) {
	for _, kind := range []redisset.Kind{redisset.Sentinel, redisset.Cluster} {
		t.Run(string(kind), func(t *testing.T) {
			play(t, night.Options{
				Redis: kind, For: 15 * time.Second, Least: 3, Faults: []harm.Kind{harm.KillMaster, harm.FreezeMaster, harm.CutPower},
			})
		})
	}
}

func play(t *testing.T, o night.Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Seed, o.Instances, o.Services, o.Every, o.Late = 20261128, 2, 4, 1500*time.Millisecond, 20*time.Second
	o.Program, o.Dir, o.Log = program, t.TempDir(), t.Output()
	r, err := night.Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	r.Print(&told)
	t.Log(told.String())
	if len(r.Violations) > 0 {
		t.Errorf("%d promises were broken", len(r.Violations))
	}
	if r.Events == 0 || r.Incidents == 0 || r.Pages == 0 || r.Acks == 0 || r.Unaccepted > 0 {
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
		{[]string{"--fsync=sometimes"}, "always, everysec and no"},
		{[]string{"--redis=ring"}, "single, sentinel and cluster"},
		{[]string{"--redis=sentinel", "--faults=kill-master", "--dir=" + t.TempDir()}, ""},
		{[]string{"--faults=kill-master"}, `no fault "kill-master" with --redis=single`},
		{[]string{"--faults=earthquake"}, `no fault "earthquake"`},
		{[]string{"--faults=all,-cut-power", "--dir=" + t.TempDir()}, ""},
		{[]string{"--faults=rolling-upgrade"}, "--before"},
		{[]string{"--before=" + t.TempDir()}, "-tags schemanext"},
	} {
		var errs strings.Builder
		_, err := options(c.args, &errs)
		if got := err != nil; got != (c.want != "") || (got && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}

// TestOneIncidentIsInOneOrder: clients race for an incident through several
// servers, and what they were answered has an order in which each answer
// follows from those before it; also when a server is killed meanwhile.
func TestOneIncidentIsInOneOrder(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, kills := range []bool{false, true} {
		o := night.Options{Seed: 7, Instances: 2, Services: 4, Program: program, Dir: t.TempDir(), Log: t.Output()}
		got, err := night.Contest(t.Context(), o, 6, kills)
		if err != nil {
			t.Fatal(err)
		}
		for _, history := range got.Broken {
			t.Errorf("kills %t: there is no order of", kills)
			for _, c := range history {
				t.Logf("%s to %s client %d %s %s: %+v unknown %t refused %t",
					c.Began.Format("05.000000"), c.Ended.Format("05.000000"), c.Client, c.Verb, c.Who, c.Saw, c.Unknown, c.Refused)
			}
		}
		if got.Calls == got.Unknown {
			t.Errorf("kills %t: none of %d calls was answered", kills, got.Calls)
		}
	}
}
