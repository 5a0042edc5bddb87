package store

import (
	"context"
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// The scripts. Each is a file that says what its keys, arguments and results
// are; they are addressed by their hash, so versions may run side by side.
var (
	//go:embed commit.lua
	commitSource string
	//go:embed append.lua
	appendSource string
	//go:embed begin_send.lua
	beginSendSource string
	//go:embed end_send.lua
	endSendSource string
	//go:embed receipt.lua
	receiptSource string
	//go:embed heartbeat.lua
	heartbeatSource string
	//go:embed turn.lua
	turnSource string
	//go:embed trim.lua
	trimSource string
	//go:embed allow.lua
	allowSource string
	//go:embed aside.lua
	asideSource string
	//go:embed word.lua
	wordSource string
	//go:embed bearer.lua
	bearerSource string
	//go:embed fence.lua
	fenceSource string
	//go:embed restore.lua
	restoreSource string
	//go:embed raise.lua
	raiseSource string
	//go:embed drill.lua
	drillSource string

	beginSendScript = redis.NewScript(beginSendSource) //nolint:gochecknoglobals // embedded script
	endSendScript   = redis.NewScript(endSendSource)   //nolint:gochecknoglobals // embedded script
	receiptScript   = redis.NewScript(receiptSource)   //nolint:gochecknoglobals // embedded script
	heartbeatScript = redis.NewScript(heartbeatSource) //nolint:gochecknoglobals // embedded script
	turnScript      = redis.NewScript(turnSource)      //nolint:gochecknoglobals // embedded script
	trimScript      = redis.NewScript(trimSource)      //nolint:gochecknoglobals // embedded script
	allowScript     = redis.NewScript(allowSource)     //nolint:gochecknoglobals // embedded script
	asideScript     = redis.NewScript(asideSource)     //nolint:gochecknoglobals // embedded script
	wordScript      = redis.NewScript(wordSource)      //nolint:gochecknoglobals // embedded script
	bearerScript    = redis.NewScript(bearerSource)    //nolint:gochecknoglobals // embedded script
	fenceScript     = redis.NewScript(fenceSource)     //nolint:gochecknoglobals // embedded script
	restoreScript   = redis.NewScript(restoreSource)   //nolint:gochecknoglobals // embedded script
	raiseScript     = redis.NewScript(raiseSource)     //nolint:gochecknoglobals // embedded script
	drillScript     = redis.NewScript(drillSource)     //nolint:gochecknoglobals // embedded script
)

// run executes one script on its own, loading it where it is not known.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	var cmd *redis.Cmd
	err := s.trips.alone(ctx, func(pipe redis.Pipeliner) { cmd = script.EvalSha(ctx, pipe, keys, args...) })
	switch {
	case redis.HasErrorPrefix(err, "NOSCRIPT"):
		return script.Eval(ctx, s.rdb, keys, args...)
	case err != nil: // whoever gave up must not look at what may still be written
		cmd = redis.NewCmd(ctx)
		cmd.SetErr(err)
	}
	return cmd
}

// allow runs one plain command at full memory too, where Redis itself would
// refuse it: whatever responders, timers and ownership need has to go on.
func (s *Store) allow(ctx context.Context, command, key string, args ...any) *redis.Cmd {
	return s.run(ctx, allowScript, []string{key}, append([]any{command}, args...)...)
}
