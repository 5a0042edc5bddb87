package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/harm"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// wayBack is how long an older version can be started again.
const wayBack = 3 * time.Second

// outgrownLook is how long an instance is watched that is too old for what is
// stored, and mostLines how much it may say meanwhile.
const (
	outgrownLook = 3 * time.Second
	mostLines    = 20
)

// first is the program with which the instances begin.
func (w *World) first() string {
	if w.o.Before != "" {
		return w.o.Before
	}
	return w.o.Program
}

// upgrade takes the instances from the version before to this one while events
// come in: all but one go there, back, and there again; the last one hangs until
// the schema has risen, wakes up too old, and is refused when it is started anew.
func (w *World) upgrade(ctx context.Context, h harm.Harm, l *ledger.Harm) error {
	last := w.Instances[len(w.Instances)-1]
	others := w.Instances[:len(w.Instances)-1]
	if last.program == w.o.Program {
		l.Detail = "all are upgraded"
		return w.roll(ctx, h, w.Instances, w.o.Program)
	}
	for _, program := range []string{w.o.Program, w.o.Before, w.o.Program} {
		if err := w.roll(ctx, h, others, program); err != nil {
			return err
		}
	}
	if len(others) == 0 {
		l.Detail = "one instance goes there, back, and there"
		for _, program := range []string{w.o.Program, w.o.Before, w.o.Program} {
			if err := w.roll(ctx, h, w.Instances, program); err != nil {
				return err
			}
		}
		return w.risen(ctx)
	}
	last.Pause()
	if err := w.risen(ctx); err != nil {
		return err
	}
	last.Resume()
	said, err := last.outgrown(ctx)
	if err != nil {
		return err
	}
	l.Detail = fmt.Sprintf("the last one woke up too old, and said %d lines in %s", said, outgrownLook)
	if err := errors.Join(last.Stop(), last.Start(ctx, 0)); err != nil {
		return err
	}
	select {
	case <-last.running().Gone():
	case <-time.After(startPatience):
		return fmt.Errorf("instance %d runs on what only a newer version reads", last.Number)
	}
	return w.roll(ctx, h, w.Instances[len(others):], w.o.Program)
}

// roll restarts instances with a program, one after the other.
func (w *World) roll(ctx context.Context, h harm.Harm, instances []*Instance, program string) error {
	for _, in := range instances {
		if err := in.Stop(); err != nil {
			return err
		}
		in.program = program
		if err := errors.Join(in.Start(ctx, 0), in.Ready(ctx)); err != nil {
			return err
		}
		pause(ctx, h.Lasts/2)
	}
	return nil
}

// risen waits until everything is written in the newest schema.
func (w *World) risen(ctx context.Context) error {
	for deadline := time.Now().Add(startPatience); ; {
		written, err := w.Redis.Client.HGet(ctx, "{m}:format", "schema").Int()
		switch {
		case err == nil && written == store.Schema:
			return nil
		case time.Now().After(deadline):
			return errors.Join(fmt.Errorf("the schema is %d after %s, want %d", written, startPatience, store.Schema), err)
		}
		pause(ctx, pollEvery)
	}
}

// outgrown waits until the instance says that it is too old, and returns how
// many lines it logs in a while after that.
func (in *Instance) outgrown(ctx context.Context) (lines int, err error) {
	err = in.running().Until(ctx, "too old", pollEvery, startPatience, func(ctx context.Context) error {
		err := lab.Ready(ctx, in.client, in.config.Listen)
		if err == nil {
			return errors.New("it is ready")
		}
		return in.saysSchema(ctx)
	})
	if err != nil {
		return 0, err
	}
	before, err := in.logged()
	if err != nil {
		return 0, err
	}
	pause(ctx, outgrownLook)
	after, err := in.logged()
	if err == nil && after-before > mostLines {
		err = fmt.Errorf("instance %d is too old and logged %d lines in %s", in.Number, after-before, outgrownLook)
	}
	return after - before, err
}

// saysSchema reports whether readiness fails for the schema.
func (in *Instance) saysSchema(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+in.config.Listen+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	res, err := in.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && !bytes.Contains(text, []byte("schema")) {
		err = fmt.Errorf("/readyz says %s", text)
	}
	return err
}

// logged counts what the instance has said by itself: that callers are told to
// come again is as often as they call.
func (in *Instance) logged() (lines int, err error) {
	text, err := os.ReadFile(filepath.Join(in.dir, "tocsin.log"))
	return bytes.Count(text, []byte("\n")) - bytes.Count(text, []byte(`msg="call answered"`)), err
}
