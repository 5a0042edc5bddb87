package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// outOfBand pages the administrators directly when Redis is out: nothing can be
// recorded or decided then, but everything that a push needs is in memory.
type outOfBand struct {
	ping   func(ctx context.Context) error
	admins func() []notify.Phone
	send   func(ctx context.Context, d push.Delivery) push.Result
	after  time.Duration
	every  time.Duration // between looks
	now    func() time.Time
	log    *slog.Logger
}

const outOfBandLife = 10 * time.Minute // a push is tried for so long

// run watches Redis until ctx ends. Each outage is told of once.
func (o *outOfBand) run(ctx context.Context) error {
	var since time.Time // of the outage; zero: none
	told := false
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		looked, cancel := context.WithTimeout(ctx, probeWait)
		err := o.ping(looked)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if told {
				o.log.InfoContext(ctx, "redis answers again", slog.String("out_for", time.Since(since).Round(time.Second).String()))
			}
			since, told = time.Time{}, false
		case since.IsZero():
			since = time.Now()
		case !told && time.Since(since) >= o.after:
			told = true
			o.tell(ctx, err)
		}
	}
}

// tell pushes to every phone of every administrator.
func (o *outOfBand) tell(ctx context.Context, cause error) {
	phones := o.admins()
	o.log.ErrorContext(ctx, "redis is out: paging the administrators directly", slog.Int("phones", len(phones)), slog.Any("cause", cause))
	var wg sync.WaitGroup
	for _, p := range phones {
		wg.Go(func() {
			r := o.send(ctx, push.Delivery{Message: o.message(), Device: p.Push, Persist: true}) // there is no other way: it waits for a service that is out
			if r.End != push.EndAccepted {
				o.log.ErrorContext(ctx, "administrator not reached", slog.String("user", string(p.User)), slog.String("reason", r.Outcome.Reason))
			}
		})
	}
	wg.Wait()
}

func (o *outOfBand) message() push.Message {
	now := o.now()
	return push.Message{
		Kind: push.KindPage, DeliveryID: newUUID(), Title: "tocsin cannot reach its Redis",
		Body:       "Events are refused and nobody is paged until it is back. Look at the server.",
		CollapseID: "out-of-band", Sound: push.SoundCritical, Level: push.LevelCritical, At: now, Deadline: now.Add(outOfBandLife),
		HighUrgency: true, Severity: "critical",
	}
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// adminPhones returns the phones of the administrators that can be pushed to.
func adminPhones(p people) []notify.Phone {
	var phones []notify.Phone
	for u := range p.directory.Snapshot().Users() {
		if u.Role != roster.Admin || u.Inactive {
			continue
		}
		for _, phone := range p.Phones(u.ID) {
			if phone.Pageable() && phone.Push.Token != "" {
				phones = append(phones, phone)
			}
		}
	}
	return phones
}

// noLog is the configuration log while Redis cannot be reached at all: the
// directory then starts from its copy on disk.
type noLog struct{}

var errNoLog = fault.New(fault.Unavailable, "REDIS_OUT", "Redis cannot be reached")

var _ directory.Log = noLog{}

func (noLog) Load(context.Context, func(directory.Stored) error) (string, error) { return "", errNoLog }

func (noLog) After(context.Context, string, time.Duration) ([]directory.Entry, error) {
	return nil, errNoLog
}

func (noLog) Apply(context.Context, []directory.Change, [][]byte) error {
	return errNoLog
}
