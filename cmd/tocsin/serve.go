package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tocsin-oncall/tocsin/server/app"
	"github.com/tocsin-oncall/tocsin/server/config"
)

type serveCmd struct {
	Listen    string `placeholder:"ADDRESS" help:"Address of gRPC, HTTP and events. Default: :8080."`
	Redis     string `name:"redis-url" placeholder:"URL" help:"Redis to keep incidents in. Default: a private one in the data directory."`
	PublicURL string `placeholder:"URL" help:"How phones and people reach this server."`
}

// Run serves until SIGTERM or Ctrl-C, and then comes to rest. SIGHUP makes it
// read certificates, push apps and their keys again.
func (c *serveCmd) Run(ctx context.Context, s *session, g *grammar) error {
	var flags []config.Setting
	for _, f := range []config.Setting{
		{Flag: "--listen", Key: "listen", Value: c.Listen},
		{Flag: "--redis-url", Key: "redis.url", Value: c.Redis},
		{Flag: "--public-url", Key: "public_url", Value: c.PublicURL},
	} {
		if f.Value != "" {
			flags = append(flags, f)
		}
	}
	cfg, _, err := g.load(s, flags...)
	if err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	return app.Run(ctx, app.Options{
		Config: cfg, Version: s.build.Version, Log: app.NewLog(cfg.Log, s.err), Reload: hangup,
		Reread: func() (config.Config, error) {
			again, _, err := g.load(s, flags...)
			return again, err
		},
	})
}
