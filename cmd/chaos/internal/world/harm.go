package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/harm"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/wire"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// Do breaks something, mends it after the harm's time, and returns when
// everything works again, with what there is to write down of it.
func (w *World) Do(ctx context.Context, h harm.Harm) (ledger.Harm, error) {
	l := ledger.Harm{From: time.Now(), Kind: string(h.Kind), Target: h.String()}
	err := w.do(ctx, h, &l)
	if err == nil && l.Served.IsZero() {
		err = w.served(ctx)
		l.Served = time.Now()
	}
	if err == nil {
		err = w.Redis.Whole(ctx)
	}
	if w.tampered.Load()%2 == 1 {
		w.tampered.Add(1)
	}
	l.Until = time.Now()
	if err != nil {
		return l, fmt.Errorf("%s: %w", h, err)
	}
	return l, nil
}

func (w *World) do(ctx context.Context, h harm.Harm, l *ledger.Harm) (err error) {
	in := w.Instances[h.Instance%len(w.Instances)]
	last := func() { pause(ctx, h.Lasts) }
	switch h.Kind {
	case harm.KillInstance:
		in.Kill()
		last()
		err = in.Start(ctx, 0)
	case harm.KillAtPoint:
		l.Detail, err = w.killAt(ctx, in, h)
	case harm.PauseInstance:
		in.Pause()
		last()
		in.Resume()
	case harm.RestartInstance:
		err = errors.Join(in.Stop(), in.Start(ctx, 0))
	case harm.WrongClock:
		in.Kill()
		if err = in.Start(ctx, h.Off); err == nil {
			err = in.Ready(ctx)
		}
		last()
		err = errors.Join(err, in.Stop(), in.Start(ctx, 0))
	case harm.RollingUpgrade:
		err = w.upgrade(ctx, h, l)
	case harm.CutClients:
		w.cut(ctx, in.Clients, h)
	case harm.CutRedis:
		w.cut(ctx, in.Redis, h)
	case harm.CutApple:
		w.cut(ctx, in.Apple, h)
	case harm.SilentMail:
		w.mail.mute.Store(true)
		last()
		w.mail.mute.Store(false)
	case harm.RefusingMail:
		w.mail.refuse.Store(true)
		last()
		w.mail.refuse.Store(false)
	case harm.SilentApple, harm.SlowApple, harm.RefusingApple, harm.SilentGoogle, harm.RefusingGoogle:
		w.weather(ctx, h)
	default:
		err = w.breakRedis(ctx, h, l)
	}
	return err
}

// cut pulls, freezes or cuts a cable, by the number of the harm.
func (w *World) cut(ctx context.Context, c *wire.Cable, h harm.Harm) {
	switch h.Number % 3 {
	case 0:
		c.Cut()
	case 1:
		c.Pull()
		pause(ctx, h.Lasts)
	default:
		c.Freeze()
		pause(ctx, h.Lasts)
	}
	c.Plug()
}

// killAt has an instance die at a point of the next page that passes it.
func (w *World) killAt(ctx context.Context, in *Instance, h harm.Harm) (string, error) {
	detail := "at " + h.Point
	select {
	case <-in.KillAt(h.Point):
	case <-time.After(h.Lasts): // nothing of this instance passed it
		detail = "not reached " + h.Point
		in.Kill()
	case <-ctx.Done():
		return detail, ctx.Err()
	}
	return detail, in.Start(ctx, 0)
}

// weather lets a push service be silent, slow or refuse for a while.
func (w *World) weather(ctx context.Context, h harm.Harm) {
	apple, google := &w.Apple.Service, &w.Google.Service
	var service *pushtest.Service
	var answer pushtest.Answer
	switch h.Kind {
	case harm.SilentApple:
		service, answer = apple, pushtest.Break(pushtest.Silence)
	case harm.SlowApple:
		service, answer = apple, pushtest.After(3*time.Second, pushtest.Accept())
	case harm.RefusingApple:
		service, answer = apple, pushtest.Reject(503, "ServiceUnavailable")
	case harm.SilentGoogle:
		service, answer = google, pushtest.Break(pushtest.Silence)
	case harm.RefusingGoogle:
		service, answer = google, pushtest.Reject(503, "UNAVAILABLE")
	default:
		return
	}
	service.Always("", answer)
	pause(ctx, h.Lasts)
	service.Heal("")
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
