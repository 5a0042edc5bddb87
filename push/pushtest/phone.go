package pushtest

import (
	"context"
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

	Visible   bool // something is on the screen because of it
	Replaced  bool // it took the place of what had the same collapse id
	Duplicate bool // a second push of a delivery already seen: receipted, not shown
	Stale     bool // the phone knows a newer revision of the incident: shown silently, or not at all
	Missed    bool // its deadline has passed: shown silently as missed
	HighPrio  bool // as the sender asked; an Android phone in Doze gets others later
	Raw       []byte
}

// Audible tells whether the phone makes a noise for it.
func (n Notification) Audible() bool {
	return n.Visible && n.Sound != "" && !n.Stale && !n.Missed && !n.Duplicate
}

// Phone is a simulated phone with one or more apps registered at simulators.
type Phone struct {
	name   string
	onPush func(Notification)
	now    func() time.Time

	mu       sync.Mutex
	offline  bool
	doze     bool
	sealKey  *SealKey
	stored   map[string][]parcel // by app: what the service keeps while the phone is away
	shown    map[string]Notification
	seen     map[string]bool  // delivery ids
	revision map[string]int64 // by incident
	got      []Notification
	news     chan struct{} // closed and replaced at each arrival
	queue    []Notification
	kick     chan struct{}
	closed   bool
	done     chan struct{}
}

// parcel is a push on its way, with what decides whether it is kept.
type parcel struct {
	n       Notification
	until   time.Time // kept until; zero is not kept at all
	key     string    // replaces what has the same; "" is kept beside the others
	only    bool      // the service keeps one per app, whatever its key
	high    bool
	visible bool
}

// NewPhone switches a phone on. Close it when it is not needed any more.
func NewPhone(o PhoneOptions) *Phone {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Phone{
		name: o.Name, onPush: o.OnPush, now: o.Now, stored: make(map[string][]parcel), shown: make(map[string]Notification),
		seen: make(map[string]bool), revision: make(map[string]int64),
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
			if p.onPush != nil {
				p.onPush(n)
			}
		}
	}
}

// Offline takes the phone off the net, or brings it back: then it gets what
// the services kept for it.
func (p *Phone) Offline(on bool) {
	p.mu.Lock()
	p.offline = on
	p.release()
	p.mu.Unlock()
}

// Doze puts an Android phone to sleep: only high priority gets through.
func (p *Phone) Doze(on bool) {
	p.mu.Lock()
	p.doze = on
	p.release()
	p.mu.Unlock()
}

// release delivers what was kept and may come through now.
func (p *Phone) release() {
	if p.offline {
		return
	}
	for app, kept := range p.stored {
		p.stored[app] = nil
		for _, k := range kept {
			p.take(k)
		}
	}
}

// deliver hands the phone what a service accepted for it.
func (p *Phone) deliver(k parcel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.take(k)
}

func (p *Phone) take(k parcel) {
	now := p.now()
	switch {
	case p.closed:
	case p.offline || (p.doze && !k.high):
		if k.until.After(now) {
			p.keep(k)
		}
	case !k.until.IsZero() && !k.until.After(now) && k.until.Unix() > 1:
		// kept too long: the service has thrown it away
	default:
		p.show(k, now)
	}
}

// keep stores as the services do: Apple one push per app, Google one per
// collapse key, at most four keys, and up to a hundred without one.
func (p *Phone) keep(k parcel) {
	kept := p.stored[k.n.App]
	switch {
	case k.only:
		kept = nil
	case k.key != "":
		kept = slices.DeleteFunc(kept, func(o parcel) bool { return o.key == k.key })
		if keys := slices.IndexFunc(kept, func(o parcel) bool { return o.key != "" }); keys >= 0 && countKeys(kept) >= 4 {
			kept = slices.Delete(kept, keys, keys+1)
		}
	case len(kept)-countKeys(kept) >= 100:
		kept = slices.DeleteFunc(kept, func(o parcel) bool { return o.key == "" })
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
	n.At, n.Phone, n.HighPrio = now, p.name, k.high
	n.Visible = k.visible
	p.sealKey.open(&n)
	loud := n.Kind == "page" || n.Kind == "test"
	if n.DeliveryID != "" {
		n.Duplicate = p.seen[n.DeliveryID]
		p.seen[n.DeliveryID] = true
	}
	if n.IncidentID != "" {
		n.Stale = n.Revision < p.revision[n.IncidentID]
		p.revision[n.IncidentID] = max(n.Revision, p.revision[n.IncidentID])
	}
	n.Missed = loud && !n.Expires.IsZero() && n.Expires.Before(now)
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
	p.got = append(p.got, n)
	close(p.news)
	p.news = make(chan struct{})
	p.queue = append(p.queue, n)
	select {
	case p.kick <- struct{}{}:
	default: // it has been told already
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
