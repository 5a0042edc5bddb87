// Command tocsin is the whole of tocsin: the server, and the commands that talk to one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // shifts and quiet hours have a zone on machines without a zone database, too

	"github.com/mattn/go-isatty"
	"github.com/redis/go-redis/v9"
)

// version is set by the linker: git describe.
var version = ""

func main() {
	redis.SetLogger(silence{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &session{
		args: os.Args[1:], env: os.Environ(), out: os.Stdout, err: os.Stderr, now: time.Now, zone: time.Local,
		terminal: isatty.IsTerminal(os.Stdout.Fd()), build: readBuild(version),
	})
	stop()
	os.Exit(code)
}

// silence keeps the Redis client from writing to standard error by itself:
// what goes wrong comes back as an error, and whoever gets that says it once.
type silence struct{}

// Printf implements the client's logger.
func (silence) Printf(context.Context, string, ...any) {}
