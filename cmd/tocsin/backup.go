package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tocsin-oncall/tocsin/server/app"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/config"
)

type backupCmd struct {
	Dir string `arg:"" placeholder:"DIR" help:"Directory to make. One that is there is left alone."`
}

// Run makes a back-up of the private Redis.
func (c *backupCmd) Run(ctx context.Context, s *session, g *grammar) error {
	cfg, file, err := g.load(s)
	if err != nil {
		return err
	}
	// The copy is looked into by a second Redis. Should there not be memory enough for
	// two, the kernel shall end that one, which inherits this, and not the one that pages.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // Linux only
	found, err := app.Backup(ctx, cfg, filepath.Clean(c.Dir))
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s holds what %s held, and a Redis has been started on it to see:\n\n", c.Dir, filepath.Join(cfg.DataDir, "redis"))
	t := s.facts()
	t.fact("open incidents", strconv.Itoa(found.Incidents))
	t.fact("events to decide", strconv.Itoa(found.Events))
	t.fact("people, devices", fmt.Sprintf("%d, %d", found.People, found.Devices))
	t.fact("services, policies", fmt.Sprintf("%d, %d", found.Services, found.Policies))
	t.fact("size", fmt.Sprintf("%.1f MB", float64(found.Bytes)/1e6))
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "\nKeep these too, in another place, because whoever has both can read its secrets:")
	for _, name := range apart(cfg) {
		fmt.Fprintf(s.out, "  %s\n", name)
	}
	_, err = fmt.Fprintf(s.out, "and the configuration (%s) with the keys and certificates that it names.\nRestore: docs/operations.md.\n", cmp.Or(file, "in the environment and flags"))
	return err
}

// apart names what a back-up is worth little without.
func apart(c config.Config) []string {
	all := []string{filepath.Join(c.DataDir, "master.key") + ": opens the secrets in it, as has been tried"}
	if c.MasterKey != "" {
		all[0] = "the master key in " + auth.MasterKeyEnv + ": opens the secrets in it, as has been tried"
	}
	for _, a := range c.PushApps() {
		if a.VAPIDKeyFile != "" {
			all = append(all, a.VAPIDKeyFile+": without it every browser has to subscribe anew")
		}
	}
	return all
}
