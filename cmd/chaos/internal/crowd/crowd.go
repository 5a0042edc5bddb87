// Package crowd is the people: those with phones, who acknowledge what wakes
// them or sleep on, whose phones are off now and then; and the operators, who
// resolve, escalate, snooze, note, and send a request twice now and then.
package crowd

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/world"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

const (
	patience    = 90 * time.Second // of a tap that is not answered
	callTimeout = 5 * time.Second
)

// Options of a Crowd.
type Options struct {
	Seed   uint64
	Ledger *ledger.Ledger
}

// Crowd is all people. Make it before the world, whose phones it hands out,
// and Enter that afterwards.
type Crowd struct {
	o      Options
	client *http.Client
	agents []*pushtest.Agent
	ctx    context.Context //nolint:containedctx // of what phones begin by themselves: it ends in Leave
	leave  context.CancelFunc
	acting sync.WaitGroup

	versions map[int]int // of policies, by service: those that were asked for since the first

	mu     sync.Mutex
	rng    *rand.Rand
	world  *world.World
	asleep bool // nobody hears a page any more
	pages  []page
}

// New makes the crowd.
func New(o Options) *Crowd {
	c := &Crowd{o: o, versions: map[int]int{}, rng: rand.New(rand.NewPCG(o.Seed, 2))} //nolint:gosec // to be repeatable is what it is for
	c.ctx, c.leave = context.WithCancel(context.Background())
	// Phones know one name; which instance answers to it is another one each time.
	c.client = &http.Client{Timeout: callTimeout, Transport: &http.Transport{
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 2 * time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", c.anyInstance())
		},
	}}
	return c
}

// Enter shows the people where they are.
func (c *Crowd) Enter(w *world.World) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.world = w
}

func (c *Crowd) anyInstance() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.world == nil {
		return "127.0.0.1:1" // nobody is there yet
	}
	return c.world.Instances[c.rng.IntN(len(c.world.Instances))].Clients.Address()
}

// draw takes a number from 0 to below n.
func (c *Crowd) draw(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

// NewPhone makes a person's phone.
func (c *Crowd) NewPhone(person, name string) *pushtest.Phone {
	agent, err := pushtest.NewAgent(pushtest.AgentOptions{BaseURL: "http://tocsin.example", Client: c.client, Patience: patience})
	if err == nil { // it fails only where there is no randomness
		c.agents = append(c.agents, agent)
	}
	return pushtest.NewPhone(pushtest.PhoneOptions{Name: name, Agent: agent, OnPush: func(n pushtest.Notification) { c.wake(agent, person, n) }})
}

// page is one that a person has heard.
type page struct {
	agent  *pushtest.Agent
	person string
	n      pushtest.Notification
}

// remembered is how many pages can still be tapped.
const remembered = 64

// wake is a person who hears a page: about half of the time somebody takes it
// in the next seconds.
func (c *Crowd) wake(agent *pushtest.Agent, person string, n pushtest.Notification) {
	if agent == nil || n.Kind != "page" || n.IncidentID == "" || n.ActionToken == "" || !n.Visible {
		return
	}
	p := page{agent, person, n}
	c.mu.Lock()
	if c.pages = append(c.pages, p); len(c.pages) > remembered {
		c.pages = c.pages[1:]
	}
	c.mu.Unlock()
	if c.draw(100) < 50 {
		return
	}
	after := time.Duration(100+c.draw(9000)) * time.Millisecond
	c.begin(func() {
		select {
		case <-c.ctx.Done():
		case <-time.After(after):
			c.tap(p)
		}
	})
}

// tap acknowledges on the lock screen.
func (c *Crowd) tap(p page) {
	a := ledger.Act{At: time.Now(), Person: p.person, Incident: p.n.IncidentID, Verb: "acknowledge", Request: p.n.DeliveryID}
	result, err := p.agent.Act(c.ctx, p.n, pushtest.Acknowledge)
	if c.ctx.Err() != nil && err != nil {
		return
	}
	refused, answered := errors.AsType[*pushtest.RefusedError](err)
	switch {
	case err == nil:
		a.Answered, a.Taken, a.Changed, a.Outcome = time.Now(), true, result.Changed, result.State
	case answered:
		a.Answered, a.Outcome = time.Now(), refused.Error()
	default:
		a.Outcome = err.Error()
	}
	c.o.Ledger.Act(a)
}

// tapEvery is how often somebody acknowledges while it storms.
const tapEvery = 100 * time.Millisecond

// Tap has people acknowledge what they heard last, taken or not, until ctx ends.
func (c *Crowd) Tap(ctx context.Context) {
	tick := time.NewTicker(tapEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		heard := slices.Clone(c.pages)
		c.mu.Unlock()
		if len(heard) > 0 {
			p := heard[c.draw(len(heard))]
			c.begin(func() { c.tap(p) })
		}
	}
}

// begin does something beside everything else, unless nobody is awake.
func (c *Crowd) begin(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asleep {
		c.acting.Go(f)
	}
}

// Doze takes phones off the net now and then, until ctx ends.
func (c *Crowd) Doze(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			c.WakeAll()
			return
		case <-time.After(time.Duration(500+c.draw(1500)) * time.Millisecond):
		}
		p := c.world.People[c.draw(len(c.world.People))]
		phone := p.Phones[c.draw(len(p.Phones))]
		phone.Offline(c.draw(3) == 0)
	}
}

// WakeAll brings all phones back.
func (c *Crowd) WakeAll() {
	for _, p := range c.world.People {
		for _, phone := range p.Phones {
			phone.Offline(false)
		}
	}
}

// Settle lets nobody take another page, and waits for the taps under way, each
// as long as its person is patient.
func (c *Crowd) Settle() {
	c.mu.Lock()
	c.asleep = true
	c.mu.Unlock()
	c.acting.Wait()
}

// Leave ends everything. Phones are the world's to close, before.
func (c *Crowd) Leave() {
	c.leave()
	c.Settle()
	for _, a := range c.agents {
		a.Close()
	}
}
