// Package doctor looks for what keeps an installation from paging somebody, or
// will one day: settings, clock, credentials, gateways, files. Every finding
// names its cause and its cure. It changes nothing.
package doctor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// Level is how bad a finding is.
type Level uint8

// The levels. The zero Level is the worst, so that a forgotten one shows.
const (
	Fail Level = iota // pages are lost or will be: mend it now
	Warn              // it works, less safely than it could
	OK
)

func (l Level) String() string {
	switch l {
	case OK:
		return "OK"
	case Warn:
		return "WARN"
	default:
		return "FAIL"
	}
}

// MarshalText writes the name of the level.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is the result of one check.
type Finding struct {
	Level Level  `json:"level"`
	Check string `json:"check"`          // what was looked at: "redis", "push oncall ios production"
	Cause string `json:"cause"`          // what was found
	Cure  string `json:"cure,omitempty"` // what to do about it; empty when OK
}

// Input is what there is to look at.
type Input struct {
	Config config.Config
	File   string // the configuration file in use; "" = none
	Now    func() time.Time
	Ask    Ask // asks the server on this machine; nil = none is running
}

// each bounds every single check, so that doctor ends also on a dead network.
const each = 10 * time.Second

// check is a group of findings about one thing.
type check func(ctx context.Context, in Input) []Finding

// Run makes all checks at once and returns their findings in a fixed order.
func Run(ctx context.Context, in Input) []Finding {
	checks := []check{files, redis, listener, server, mail, webhooks, deadMan, wayOut}
	for _, app := range in.Config.PushApps() {
		checks = append(checks, pushApp(app))
	}
	results := make([][]Finding, len(checks))
	var group sync.WaitGroup
	for i, c := range checks {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, each)
			defer cancel()
			results[i] = c(ctx, in)
		})
	}
	group.Wait()
	var all []Finding
	for _, r := range results {
		all = append(all, r...)
	}
	return all
}

// Worst returns the worst level of the findings.
func Worst(all []Finding) Level {
	worst := OK
	for _, f := range all {
		worst = min(worst, f.Level)
	}
	return worst
}

func ok(check, format string, args ...any) Finding {
	return Finding{Level: OK, Check: check, Cause: fmt.Sprintf(format, args...)}
}

func warn(check, cure, format string, args ...any) Finding {
	return Finding{Level: Warn, Check: check, Cause: fmt.Sprintf(format, args...), Cure: cure}
}

func fail(check, cure, format string, args ...any) Finding {
	return Finding{Level: Fail, Check: check, Cause: fmt.Sprintf(format, args...), Cure: cure}
}

// wayOut says whether a page can leave the house at all.
func wayOut(_ context.Context, in Input) []Finding {
	const cure = "add push.apps to the configuration: docs/push.md says how to get the keys"
	switch {
	case len(in.Config.Push.Apps) > 0:
		return nil
	case in.Config.SMTP.Host == "":
		return []Finding{fail("push", cure, "no app and no mail server are configured: nobody can be reached, whatever their contact methods say")}
	default:
		return []Finding{warn("push", cure, "no app is configured: nobody's phone can be reached, and mail wakes nobody")}
	}
}

func webhooks(_ context.Context, in Input) []Finding {
	w := in.Config.Webhooks
	if w.Plain && len(w.Allow) == 0 {
		return []Finding{warn("webhooks", "remove webhooks.allow_http, or name the addresses in webhooks.allow", "webhooks.allow_http has no effect without webhooks.allow")}
	}
	return nil
}

func deadMan(_ context.Context, in Input) []Finding {
	if in.Config.DeadMan.URL == "" {
		return []Finding{warn("dead man", "set dead_man.url to a check at a service outside that alarms when the calls stop",
			"nobody outside would notice the death of this machine")}
	}
	return []Finding{ok("dead man", "called every %s while the server is ready", in.Config.DeadMan.Interval)}
}
