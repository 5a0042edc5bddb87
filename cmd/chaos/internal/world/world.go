// Package world is everything that a run consists of: redis-servers, some
// tocsin instances as processes, cables between them, the push services with
// phones behind them, and a mail server; and the ways of breaking each of it.
package world

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// teamID and keyID are how the simulated Apple knows an instance: each is of a
// team of its own, so that it can be seen who sent a page. Several keys of one
// team are more than Apple bears; whose bundle it is, the simulated one does not
// ask unless it is told.
func teamID(instance int) string { return fmt.Sprintf("TEAM00000%d", instance) }

func keyID(instance int) string { return fmt.Sprintf("KEY000000%d", instance) }

// Options of a World.
type Options struct {
	Dir       string // of everything that is kept
	Program   string // run with child.Variable set, it serves
	Before    string // the same of the version before, with which the instances begin; "": none
	Instances int
	Services  int
	Redis     redisset.Kind
	Fsync     redisd.Fsync // of every redis-server
	Slow      bool         // no timer of an incident comes in a run: levels take an hour
	Ledger    *ledger.Ledger
	// NewPhone makes the phone of a person.
	NewPhone func(person string, name string) *pushtest.Phone
}

// World is the whole of it. Its harms are for one goroutine at a time.
type World struct {
	Redis     *redisset.Set
	Instances []*Instance
	Apple     *pushtest.APNs
	Google    *pushtest.FCM
	Services  []Service
	People    []*Person

	o         Options
	mail      *mailer
	memory    string       // directory of Redis
	tampered  atomic.Int64 // odd while a harm is done to Redis
	masterKey string
	holders   map[string]string // person by token
}

// New makes it, sets the organisation up and starts all of it. Close it, also
// after an error.
func New(ctx context.Context, o Options) (*World, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, by its documentation
	w := &World{
		o: o, masterKey: base64.StdEncoding.EncodeToString(key), holders: map[string]string{},
		Services: services(o.Services), People: people(o.Services),
	}
	for _, f := range []func(context.Context) error{w.openPushServices, w.startRedis, w.settle, w.startInstances} {
		if err := f(ctx); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *World) path(parts ...string) string {
	return filepath.Join(append([]string{w.o.Dir}, parts...)...)
}

func (w *World) openPushServices(context.Context) error {
	var err error
	if w.Apple, err = pushtest.NewAPNs(pushtest.APNsOptions{KeepLog: -1, OnRequest: func(r pushtest.Request) { w.note("apns", r) }}); err != nil {
		return fmt.Errorf("simulate APNs: %w", err)
	}
	if w.Google, err = pushtest.NewFCM(pushtest.FCMOptions{KeepLog: -1, OnRequest: func(r pushtest.Request) { w.note("fcm", r) }}); err != nil {
		return fmt.Errorf("simulate FCM: %w", err)
	}
	if w.mail, err = openMailer(w.o.Ledger.Mail); err != nil {
		return err
	}
	if err := os.MkdirAll(w.path("push"), 0o700); err != nil {
		return fmt.Errorf("make the directory of the keys: %w", err)
	}
	files := map[string][]byte{"apple.pem": w.Apple.CA(), "account.json": w.Google.ServiceAccountJSON(), "google.pem": w.Google.CA()}
	for i := range w.o.Instances {
		files[keyID(i)+".p8"] = w.Apple.NewKey(teamID(i), keyID(i))
	}
	for name, text := range files {
		if err := os.WriteFile(w.path("push", name), text, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	for i, p := range w.People {
		phones := 1 + i%3/2 // every third person has two
		for k := range phones {
			phone := w.o.NewPhone(p.ID, fmt.Sprintf("%s/%d", p.ID, k))
			token := ""
			if ios(i, k) {
				token = w.Apple.Register(phone, bundle)
			} else {
				token = w.Google.Register(phone, bundle)
			}
			p.Phones, p.tokens = append(p.Phones, phone), append(p.tokens, token)
			w.holders[token] = p.ID
		}
	}
	return nil
}

// note writes a request at a push service into the ledger.
func (w *World) note(service string, r pushtest.Request) {
	p := ledger.Push{At: r.At, Service: service, Token: r.Token, Person: w.holders[r.Token], Answered: r.Status, Instance: -1, Partition: -1}
	if service == "apns" {
		p.Instance = w.signer(r.Header["authorization"])
		var body struct{ T struct{ K, D, I string } }
		_ = json.Unmarshal(r.Body, &body) // what is no page of ours has no kind
		p.Kind, p.Delivery, p.Incident, p.Collapse = body.T.K, body.T.D, body.T.I, r.Header["apns-collapse-id"]
	} else {
		var body struct {
			Message struct{ Data map[string]string }
		}
		_ = json.Unmarshal(r.Body, &body)
		d := body.Message.Data
		p.Kind, p.Delivery, p.Incident, p.Collapse = d["k"], d["d"], d["i"], d["tag"]
	}
	if at, err := store.PartitionOfIncident(incident.ID(p.Incident)); err == nil {
		p.Partition = int(at)
	}
	if p.Kind != "" { // FCM's tokens are asked for at the same door
		w.o.Ledger.Push(p)
	}
}

// signer is the instance whose key is named by a provider token; -1 for none.
func (w *World) signer(authorization string) int {
	_, token, _ := strings.Cut(authorization, " ")
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var named struct{ Kid string }
	if err != nil || json.Unmarshal(text, &named) != nil {
		return -1
	}
	for i := range w.o.Instances {
		if keyID(i) == named.Kid {
			return i
		}
	}
	return -1
}

func (w *World) startRedis(ctx context.Context) error {
	var err error
	// The disk of this machine may stall for seconds while others write: those
	// would be faults that no ledger has. Where there is a disk in memory, Redis
	// is on that, and only the shim makes it slow.
	if w.memory, err = os.MkdirTemp("/dev/shm", "tocsin-chaos-"); err != nil {
		w.memory = w.path("redis")
	}
	w.Redis, err = redisset.Launch(ctx, redisset.Options{Kind: w.o.Redis, Dir: w.memory, Fsync: w.o.Fsync})
	return err
}

// storeURL is Redis without a cable of its own.
func (w *World) storeURL() string {
	uplink, _ := w.Redis.Uplink()
	return w.Redis.URL(uplink)
}

func (w *World) startInstances(ctx context.Context) error {
	c := config.Default()
	c.MasterKey, c.Pace = w.masterKey, w.pace()
	c.Log.Format = "text"
	c.Shutdown.Drain = 5 * time.Second
	c.Retention.ArchiveAfter = 20 * time.Second
	c.Upgrade.WayBack = wayBack
	if w.o.Redis != redisset.Single {
		c.Redis.Durability = "replicated"
	}
	c.SMTP.Host, c.SMTP.Port, c.SMTP.Security, c.SMTP.From = "127.0.0.1", w.mail.port, "none", "Tocsin <oncall@example.com>"
	c.Push.Apps = []config.PushApp{
		{
			ID: "oncall", Platform: "ios", Environment: "production", Bundle: bundle,
			TestCAFile: w.path("push", "apple.pem"), Critical: true,
		},
		{
			ID: "oncall", Platform: "android", Environment: "production", ServiceAccountFile: w.path("push", "account.json"),
			TestEndpoint: w.Google.URL(), TestCAFile: w.path("push", "google.pem"),
		},
	}
	at, err := url.Parse(w.Apple.URL())
	if err != nil {
		return err
	}
	for i := range w.o.Instances {
		apple := &c.Push.Apps[0] // newInstance has a copy of its own
		apple.TeamID, apple.KeyID, apple.KeyFile = teamID(i), keyID(i), w.path("push", keyID(i)+".p8")
		in, err := newInstance(ctx, i, w.first(), w.path(fmt.Sprintf("instance-%d", i)), c, w.Redis, at.Host)
		if err != nil {
			return err
		}
		w.Instances = append(w.Instances, in)
		if err := in.Start(ctx, 0); err != nil {
			return err
		}
	}
	return w.Ready(ctx)
}

// Ready waits until all instances can page, and starts again those that have
// ended; and until Redis can bear the next loss.
func (w *World) Ready(ctx context.Context) error {
	if err := w.served(ctx); err != nil {
		return err
	}
	return w.Redis.Whole(ctx)
}

func (w *World) served(ctx context.Context) error {
	for _, in := range w.Instances {
		err := in.Ready(ctx)
		for errors.Is(err, lab.ErrEnded) && ctx.Err() == nil {
			if err = in.Start(ctx, 0); err == nil {
				err = in.Ready(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// StopInstances ends all instances in order: nothing changes any more.
func (w *World) StopInstances() error {
	var errs []error
	for _, in := range w.Instances {
		errs = append(errs, in.Stop())
	}
	return errors.Join(errs...)
}

// Close ends everything.
func (w *World) Close() error {
	for _, in := range w.Instances {
		in.close()
	}
	var err error
	if w.Redis != nil {
		err = w.Redis.Close()
	}
	if w.memory != "" {
		err = errors.Join(err, os.RemoveAll(w.memory))
	}
	for _, p := range w.People {
		for _, phone := range p.Phones {
			phone.Close()
		}
	}
	if w.mail != nil {
		w.mail.close()
	}
	if w.Google != nil {
		w.Google.Close()
	}
	if w.Apple != nil {
		w.Apple.Close()
	}
	return err
}
