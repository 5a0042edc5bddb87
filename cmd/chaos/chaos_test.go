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
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := night.Run(ctx, night.Options{
		Seed: 20261128, For: 40 * time.Second, Instances: 2, Services: 4, Every: 1500 * time.Millisecond, Late: 20 * time.Second,
		Faults: []harm.Kind{
			harm.KillInstance, harm.KillAtPoint, harm.PauseInstance, harm.KillRedis, harm.CutPower, harm.FlushScripts, harm.SilentApple,
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
		{[]string{"--fsync=sometimes"}, "always, everysec and no"},
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
		if got.Checked == 0 {
			t.Errorf("kills %t: none of the contests could be checked: %+v", kills, got)
		}
	}
}
