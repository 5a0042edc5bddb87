package pushtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/push/seal"
)

// PhoneOptions describe a phone.
type PhoneOptions struct {
	Name   string
	OnPush func(Notification) // called for everything that arrives, one at a time, in order; may block
	Now    func() time.Time   // nil is time.Now

	Behaviour Behaviour // to begin with

	// Tablet is a device that is not carried: it shows and reports like a
	// phone, but nobody is there to act.
	Tablet bool
	// Agent reports receipts and acts in the phone's name; nil does neither.
	Agent *Agent
}

// Notification is one push as the phone's app sees it.
type Notification struct {
	At       time.Time
	Phone    string
	Platform string // "ios", "android", "web"
	App      string // bundle id, Android package, or host of the browser's push service
	Token    string

	Kind        string
	DeliveryID  string
	IncidentID  string
	Number      int64
	Revision    int64
	Severity    string
	Title       string
	Subtitle    string
	Body        string
	Sound       string // "" for none
	Critical    bool
	Volume      float64
	Level       string
	CollapseID  string
	ThreadID    string
	Category    string
	Badge       *int
	ReceiptPath string
	ReceiptKey  string
	ActionToken string
	Sealed      string
	SealedKeyID string
	Opened      *seal.Text // what Sealed opened to, see SetSealKey; the texts above are then of it
	Unopened    string     // why it did not open, as a receipt says it: "decrypt", "locked"
	Fetch       bool       // the text did not fit: ask the server for it
	Expires     time.Time  // the page's deadline
	Details     map[string]string
	Shadow      string // the person only follows whoever is paged: "observe", "practise", "duty"

	Visible   bool // something is on the screen because of it
	Replaced  bool // it took the place of what had the same collapse id
	Duplicate bool // a second push of a delivery already seen: receipted, not shown
	Stale     bool // the phone knows a newer revision of the incident: shown silently, or not at all
	Missed    bool // its deadline has passed: shown silently as missed
	HighPrio  bool // as the sender asked; an Android phone in Doze gets others later
	Lowered   bool // it was sent with high priority and arrived with normal
	Asleep    bool // the app's code did not run for it: nothing is reported, nothing opened
	Tablet    bool // the phone is none

	Suppressed string // why nothing is shown: "permission", "channel"
	Quiet      string // why there is no noise: "dnd", "silent"
	Lost       string // why it never arrived: see Phone.Lost

	Raw []byte

	mutable bool // iOS lets the app's extension look at it
}

// Audible tells whether the phone makes a noise for it.
func (n Notification) Audible() bool {
	return n.Visible && n.Sound != "" && !n.Stale && !n.Missed && !n.Duplicate && n.Quiet == ""
}

func (n *Notification) loud() bool { return n.Kind == "page" || n.Kind == "test" }

// Phone is a simulated phone with one or more apps registered at simulators.
type Phone struct {
	name   string
	onPush func(Notification)
	now    func() time.Time
	tablet bool
	agent  *Agent

	mu         sync.Mutex
	is         Behaviour
	sealKey    *SealKey
	seats      []seat
	held       []parcel            // in the network, until they are let through
	stored     map[string][]parcel // by app: what the service keeps while the phone is away
	shown      map[string]Notification
	seen       map[string]bool  // delivery ids
	revision   map[string]int64 // by incident
	got        []Notification
	lost       []Notification
	silentHigh int
	silentWeb  map[string]int // by token
	revoked    []seat         // web subscriptions to end, once the lock is free
	news       chan struct{}  // closed and replaced at each arrival
	queue      []Notification
	kick       chan struct{}
	closed     bool
	done       chan struct{}
}

// parcel is a push on its way, with what decides whether it is kept.
type parcel struct {
	n       Notification
	until   time.Time // kept until; zero is not kept at all
	key     string    // replaces what has the same; "" is kept beside the others
	only    bool      // the service keeps one per app, whatever its key
	high    bool
	visible bool
	held    bool // stays in the network until it is let through
}

// NewPhone switches a phone on. Close it when it is not needed any more.
func NewPhone(o PhoneOptions) *Phone {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Phone{
		name: o.Name, onPush: o.OnPush, now: o.Now, tablet: o.Tablet, agent: o.Agent, is: o.Behaviour,
		stored: make(map[string][]parcel), shown: make(map[string]Notification),
		seen: make(map[string]bool), revision: make(map[string]int64), silentWeb: make(map[string]int),
		news: make(chan struct{}), kick: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go p.tell() // ends in Close, which waits for it
	return p
}

// Name is what the phone was called.
func (p *Phone) Name() string { return p.name }

// Close switches the phone off for good; OnPush is not called after it.
func (p *Phone) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.kick)
	}
	p.mu.Unlock()
	<-p.done
}

func (p *Phone) tell() {
	defer close(p.done)
	for range p.kick {
		for {
			p.mu.Lock()
			if len(p.queue) == 0 || p.closed {
				p.mu.Unlock()
				break
			}
			n := p.queue[0]
			p.queue = p.queue[1:]
			p.mu.Unlock()
			if p.agent != nil && !p.Behaviour().NoReceipts {
				p.agent.Report(n)
			}
			if p.onPush != nil {
				p.onPush(n)
			}
		}
	}
}

// Behaviour is how the phone behaves now.
func (p *Phone) Behaviour() Behaviour {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.is
}

// Behave changes how the phone behaves. What may come through then does.
func (p *Phone) Behave(change func(*Behaviour)) {
	p.mu.Lock()
	change(&p.is)
	p.release()
	p.unlock()
}

// Offline takes the phone off the net, or brings it back: then it gets what
// the services kept for it.
func (p *Phone) Offline(on bool) { p.Behave(func(b *Behaviour) { b.Offline = on }) }

// Doze puts an Android phone to sleep: only high priority gets through.
func (p *Phone) Doze(on bool) { p.Behave(func(b *Behaviour) { b.Doze = on }) }

// Tablet tells whether it is one.
func (p *Phone) Tablet() bool { return p.tablet }

// LetThrough delivers what Hold, or an answer with Held, kept in the network,
// the newest first. It returns how many that were.
func (p *Phone) LetThrough() int {
	p.mu.Lock()
	defer p.unlock()
	held := p.held
	p.held = nil
	for _, k := range slices.Backward(held) {
		k.held = false
		p.arrive(k)
	}
	return len(held)
}

// unlock ends what changed the phone, and what the push services have to hear
// of it: they must not be called under the lock.
func (p *Phone) unlock() {
	revoked := p.revoked
	p.revoked = nil
	p.mu.Unlock()
	for _, s := range revoked {
		s.at.uninstall(s.token, 0)
	}
}

// release delivers what was kept and may come through now.
func (p *Phone) release() {
	if p.is.Offline {
		return
	}
	for app, kept := range p.stored {
		p.stored[app] = nil
		for _, k := range kept {
			p.arrive(k)
		}
	}
}

// deliver hands the phone what a service accepted for it.
func (p *Phone) deliver(k parcel) {
	p.mu.Lock()
	defer p.unlock()
	if p.is.Hold || k.held {
		p.held = append(p.held, k)
		return
	}
	p.arrive(k)
}

// arrive decides what becomes of a push: shown, kept by its service, or lost.
func (p *Phone) arrive(k parcel) {
	now := p.now()
	high := k.high && !(p.is.LowPriority && k.n.Platform == "android")
	switch {
	case p.closed:
	case p.is.Offline || (p.is.Doze && k.n.Platform == "android" && !high):
		if k.until.After(now) {
			p.keep(k)
		} else {
			p.lose(k, "not kept")
		}
	case !k.until.IsZero() && !k.until.After(now) && k.until.Unix() > 1:
		p.lose(k, "kept too long")
	case p.is.Stopped && (k.n.Platform == "android" || !k.visible):
		p.lose(k, "stopped")
	default:
		k.n.Lowered = k.high && !high
		p.show(k, now)
	}
}

// lose notes what never arrived.
func (p *Phone) lose(k parcel, why string) {
	n := k.n
	n.At, n.Phone, n.HighPrio, n.Lost = p.now(), p.name, k.high, why
	p.lost = append(p.lost, n)
}

// Lost is what was accepted and never arrived, oldest first. Notification.Lost
// says why: "evicted" (the service keeps less than was sent), "kept too long",
// "not kept" (sent to be shown at once or never), "stopped".
func (p *Phone) Lost() []Notification {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lost)
}

// keep stores as the services do: Apple one push per app, Google one per
// collapse key, at most four keys, and up to a hundred without one.
func (p *Phone) keep(k parcel) {
	kept := p.stored[k.n.App]
	evict := func(out func(parcel) bool) {
		kept = slices.DeleteFunc(kept, func(o parcel) bool {
			gone := out(o)
			if gone {
				p.lose(o, "evicted")
			}
			return gone
		})
	}
	switch {
	case k.only:
		evict(func(parcel) bool { return true })
	case k.key != "":
		evict(func(o parcel) bool { return o.key == k.key })
		if oldest := slices.IndexFunc(kept, func(o parcel) bool { return o.key != "" }); oldest >= 0 && countKeys(kept) >= 4 {
			key := kept[oldest].key
			evict(func(o parcel) bool { return o.key == key })
		}
	case len(kept)-countKeys(kept) >= 100:
		evict(func(o parcel) bool { return o.key == "" })
	}
	p.stored[k.n.App] = append(kept, k)
}

func countKeys(kept []parcel) int {
	n := 0
	for _, k := range kept {
		if k.key != "" {
			n++
		}
	}
	return n
}

// show is what the app and the system do with a push.
func (p *Phone) show(k parcel, now time.Time) {
	n := k.n
	n.At, n.Phone, n.HighPrio, n.Tablet = now, p.name, k.high, p.tablet
	if n.DeliveryID != "" {
		n.Duplicate = p.seen[n.DeliveryID]
		p.seen[n.DeliveryID] = true
	}
	if n.IncidentID != "" {
		n.Stale = n.Revision < p.revision[n.IncidentID]
		p.revision[n.IncidentID] = max(n.Revision, p.revision[n.IncidentID])
	}
	n.Missed = n.loud() && !n.Expires.IsZero() && n.Expires.Before(now)
	if k.visible {
		n.Suppressed = p.is.suppressed(&n)
	}
	n.Visible = k.visible && n.Suppressed == ""
	n.Asleep = p.asleep(&n, k.visible)
	n.Quiet = p.is.quiet(&n)
	p.unseal(&n)
	if n.Visible && !n.Duplicate && !(n.Stale && n.Platform == "android") {
		key := n.App + "/" + n.CollapseID
		if n.CollapseID == "" {
			key = n.App + "/" + n.DeliveryID
		}
		_, n.Replaced = p.shown[key]
		p.shown[key] = n
	} else if n.Platform == "android" {
		n.Visible = false
	}
	p.count(&n)
	p.got = append(p.got, n)
	close(p.news)
	p.news = make(chan struct{})
	p.queue = append(p.queue, n)
	select {
	case p.kick <- struct{}{}:
	default: // it has been told already
	}
}

// asleep tells whether the app's code does not run for a push. iOS runs the
// extension only for what is shown and asks for it.
func (p *Phone) asleep(n *Notification, visible bool) bool {
	if n.Platform != "ios" {
		return false
	}
	return visible && (p.is.NoExtension || p.is.NoPermission || !n.mutable)
}

// unseal is what the app's code does with a sealed push, if it runs.
func (p *Phone) unseal(n *Notification) {
	switch {
	case n.Sealed == "" || n.Asleep:
	case p.is.Locked:
		n.Unopened = "locked"
	default:
		p.sealKey.open(n)
	}
}

// count is what Google and browsers do to apps that use their pushes to show
// nothing.
func (p *Phone) count(n *Notification) {
	switch {
	case n.Visible:
	case n.Platform == "android" && n.HighPrio && p.is.SilentHigh > 0:
		if p.silentHigh++; p.silentHigh > p.is.SilentHigh {
			p.is.LowPriority = true
		}
	case n.Platform == "web":
		p.silentWeb[n.Token]++
		if p.is.SilentWeb < 0 || p.silentWeb[n.Token] <= p.is.SilentWeb {
			return
		}
		for _, s := range p.seats {
			if s.token == n.Token {
				p.revoked = append(p.revoked, s)
			}
		}
	}
}

// Got is everything that arrived, oldest first.
func (p *Phone) Got() []Notification {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// Shown is what is on the screen now, oldest first.
func (p *Phone) Shown() []Notification {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.shown), func(a, b Notification) int { return a.At.Compare(b.At) })
}

// Dismiss takes what has the collapse id off the screen.
func (p *Phone) Dismiss(app, collapseID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.shown, app+"/"+collapseID)
}

// Wait returns the first notification for which match is true, arrived or
// still to come, or an error when ctx ends first.
func (p *Phone) Wait(ctx context.Context, match func(Notification) bool) (Notification, error) {
	for from := 0; ; {
		p.mu.Lock()
		for ; from < len(p.got); from++ {
			if match(p.got[from]) {
				n := p.got[from]
				p.mu.Unlock()
				return n, nil
			}
		}
		news := p.news
		p.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return Notification{}, fmt.Errorf("phone %s got %d notifications, none that was waited for: %w", p.name, from, ctx.Err())
		}
	}
}

// ErrNoCard is a tap beside every button: there is no page on the screen.
var ErrNoCard = errors.New("there is no page on its screen")

// ErrNobody is a tap on a device that nobody carries.
var ErrNobody = errors.New("nobody is at the tablet")

// ErrNoAgent is a tap in an app that does not know its server.
var ErrNoAgent = errors.New("its app has no agent: give it the server's URL and a credential")

// Card is the page that a tap is meant for: the newest on the screen.
func (p *Phone) Card() (Notification, error) {
	for _, n := range slices.Backward(p.Shown()) {
		if n.Kind == "page" {
			return n, nil
		}
	}
	return Notification{}, fmt.Errorf("phone %s: %w", p.name, ErrNoCard)
}

// Act taps a button of the newest page on the screen. The page stays there
// until its clear comes.
func (p *Phone) Act(ctx context.Context, v Verb) (ActResult, error) {
	switch {
	case p.tablet:
		return ActResult{}, fmt.Errorf("phone %s: %w", p.name, ErrNobody)
	case p.agent == nil:
		return ActResult{}, fmt.Errorf("phone %s: %w", p.name, ErrNoAgent)
	case p.Behaviour().Offline:
		return ActResult{}, fmt.Errorf("phone %s is offline", p.name)
	}
	n, err := p.Card()
	if err != nil {
		return ActResult{}, err
	}
	return p.agent.Act(ctx, n, v)
}

// Agent is the agent that the phone was made with, nil without one.
func (p *Phone) Agent() *Agent { return p.agent }
