package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/doctor"
	"github.com/tocsin-oncall/tocsin/server/config"
)

type doctorCmd struct {
	output
}

// Run looks for what is wrong, and fails when something is.
func (c *doctorCmd) Run(ctx context.Context, s *session, g *grammar) error {
	cfg, file, err := g.load(s)
	if problems, bad := errors.AsType[config.Problems](err); bad {
		return c.print(s, misconfigured(problems))
	}
	if err != nil {
		return err
	}
	return c.print(s, doctor.Run(ctx, doctor.Input{Config: cfg, File: file, Now: s.now, Ask: s.asker(cfg)}))
}

func misconfigured(problems config.Problems) []doctor.Finding {
	all := make([]doctor.Finding, len(problems))
	for i, p := range problems {
		all[i] = doctor.Finding{Level: doctor.Fail, Check: "configuration", Cause: p.String(), Cure: "see docs/configuration.md; the other checks need a configuration that can be read"}
	}
	return all
}

func (c *doctorCmd) print(s *session, all []doctor.Finding) error {
	worst := doctor.Worst(all)
	if c.json() {
		e := json.NewEncoder(s.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err := e.Encode(struct {
			Worst    doctor.Level     `json:"worst"`
			Findings []doctor.Finding `json:"findings"`
		}{worst, all})
		if err != nil {
			return err
		}
	} else {
		s.findings(all)
	}
	if worst == doctor.Fail {
		return exited(exitError)
	}
	return nil
}

func (s *session) findings(all []doctor.Finding) {
	count := map[doctor.Level]int{}
	width := 0
	for _, f := range all {
		count[f.Level]++
		width = max(width, len(f.Check))
	}
	for _, f := range all {
		fmt.Fprintf(s.out, "%-4s  %-*s  %s\n", f.Level, width, f.Check, clean(f.Cause))
		if f.Cure != "" {
			fmt.Fprintf(s.out, "      %-*s  -> %s\n", width, "", clean(f.Cure))
		}
	}
	fmt.Fprintf(s.out, "\n%d fine, %d to look at, %d to mend.\n", count[doctor.OK], count[doctor.Warn], count[doctor.Fail])
}

// asker returns how to ask the server on this machine; nil when none runs.
func (s *session) asker(cfg config.Config) doctor.Ask {
	path, err := filepath.Abs(filepath.Join(cfg.DataDir, adminSocket))
	if err != nil {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return func(ctx context.Context) (a doctor.Answer, err error) {
		conn, err := connection{}.connect(s, "unix://"+path, insecure.NewCredentials(), nil)
		if err != nil {
			return a, err
		}
		defer func() { _ = conn.Close() }()
		a, err = answer(ctx, conn)
		if err != nil {
			return a, errors.New(explain(err))
		}
		return a, nil
	}
}

func answer(ctx context.Context, conn *grpc.ClientConn) (a doctor.Answer, err error) {
	if a.Status, err = api.NewOperatorServiceClient(conn).GetStatus(ctx, &api.GetStatusRequest{}); err != nil {
		return a, err
	}
	settings, err := api.NewConfigurationServiceClient(conn).GetSettings(ctx, &api.GetSettingsRequest{Name: "settings"})
	if err != nil {
		return a, err
	}
	for _, name := range settings.GetCatchAll() {
		u, err := api.NewUserServiceClient(conn).GetUser(ctx, &api.GetUserRequest{Name: name})
		if err != nil {
			return a, err
		}
		a.CatchAll = append(a.CatchAll, u)
	}
	return a, nil
}
