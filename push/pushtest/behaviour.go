package pushtest

import (
	"cmp"
	"slices"
	"time"
)

// Behaviour is how a phone, its system and its owner treat what comes. The zero
// Behaviour is a phone that is on, on line and allowed everything. It can be
// changed while the phone runs, with [Phone.Behave].
type Behaviour struct {
	// Offline takes it off the net: services keep for it what they keep.
	Offline bool `json:"offline"`
	// Doze lets only high priority through to an Android phone.
	Doze bool `json:"doze"`
	// Stopped is an app that its owner, or a battery saver, has ended by force:
	// Android gives it nothing until it is opened, iOS no background pushes.
	Stopped bool `json:"stopped"`
	// Hold keeps everything in the network until LetThrough, which delivers the
	// newest first: messages overtake each other.
	Hold bool `json:"hold"`

	// DoNotDisturb silences all but what may break through: critical sounds,
	// and with TimeSensitive those at that level on iOS.
	DoNotDisturb bool `json:"do_not_disturb"`
	// TimeSensitive lets the owner's Focus pass time-sensitive notifications.
	TimeSensitive bool `json:"time_sensitive"`
	// SilentSwitch is an iPhone's switch, or an Android phone's ringer off.
	SilentSwitch bool `json:"silent_switch"`
	// NoCritical forbids critical sounds: not allowed by the owner, or the
	// channel may not break through.
	NoCritical bool `json:"no_critical"`
	// NoPermission turns the app's notifications off.
	NoPermission bool `json:"no_permission"`
	// NoChannel turns the channel of pages off on Android.
	NoChannel bool `json:"no_channel"`

	// NoExtension keeps iOS from running the app's code for a push: the text in
	// the clear is shown, and nothing is reported.
	NoExtension bool `json:"no_extension"`
	// Locked is a phone that was not unlocked since it was started: what is
	// sealed cannot be opened.
	Locked bool `json:"locked"`
	// NoReceipts is an app that reports nothing.
	NoReceipts bool `json:"no_receipts"`

	// LowPriority is an Android app that Google trusts no more: what is sent
	// with high priority arrives as normal.
	LowPriority bool `json:"low_priority"`
	// SilentHigh is how many messages of high priority may show nothing before
	// Google sets LowPriority. 0 is any number.
	SilentHigh int `json:"silent_high"`
	// SilentWeb is how many web pushes may show nothing; at the next one the
	// browser ends the subscription. 0 is the strictest browser, below 0 one
	// that does not mind.
	SilentWeb int `json:"silent_web"`
}

// quiet says why a notification makes no noise; "" is that it does, if it has
// a sound.
func (b *Behaviour) quiet(n *Notification) string {
	critical := n.Critical && !b.NoCritical
	switch {
	case critical: // the iPhone's entitlement, or the alarm stream of Android
		return ""
	case b.DoNotDisturb && (!b.TimeSensitive || n.Platform != "ios" || n.Level != "time-sensitive"):
		return "dnd"
	case b.SilentSwitch:
		return "silent"
	}
	return ""
}

// suppressed says why a notification is not shown at all; "" is that it is.
func (b *Behaviour) suppressed(n *Notification) string {
	switch {
	case b.NoPermission:
		return "permission"
	case b.NoChannel && n.Platform == "android" && n.loud():
		return "channel"
	}
	return ""
}

// Registration is one app on one phone as a push service knows it.
type Registration struct {
	Token string
	App   string
	Phone string // "" for a token that leads nowhere
}

// carrier is a push service, as its phones know it.
type carrier interface {
	// uninstall is told that the app is gone; the service goes on accepting for a while.
	uninstall(token string, acceptedFor time.Duration)
	// rotate ends a token and gives the app another.
	rotate(p *Phone, app, old string) string
}

func registrations(homes map[string]*home) []Registration {
	all := make([]Registration, 0, len(homes))
	for token, h := range homes {
		r := Registration{Token: token, App: h.app}
		if h.phone != nil {
			r.Phone = h.phone.name
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Registration) int {
		return cmp.Or(cmp.Compare(a.Phone, b.Phone), cmp.Compare(a.App, b.App), cmp.Compare(a.Token, b.Token))
	})
	return all
}

// seat is an app's place at a push service.
type seat struct {
	app, token string
	at         carrier
}

// join notes where an app of the phone is registered.
func (p *Phone) join(app, token string, at carrier) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seats = slices.DeleteFunc(p.seats, func(s seat) bool { return s.token == token })
	p.seats = append(p.seats, seat{app, token, at})
}

func (p *Phone) leave(app, token string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seats = slices.DeleteFunc(p.seats, func(s seat) bool { return s.app == app && s.token == token })
}

// Tokens are the tokens under which an app of the phone can be reached; app ""
// is all of them.
func (p *Phone) Tokens(app string) []string {
	var tokens []string
	for _, s := range p.seatsOf(app) {
		tokens = append(tokens, s.token)
	}
	return tokens
}

func (p *Phone) seatsOf(app string) []seat {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.seats), func(s seat) bool { return app != "" && s.app != app })
}

// Uninstall takes an app off the phone; "" is all of them. The push services
// hear of it late: for acceptedFor more they accept messages that reach nobody.
// It returns the tokens that are dead then.
func (p *Phone) Uninstall(app string, acceptedFor time.Duration) []string {
	var tokens []string
	for _, s := range p.seatsOf(app) {
		s.at.uninstall(s.token, acceptedFor)
		tokens = append(tokens, s.token)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, n := range p.shown {
		if app == "" || n.App == app {
			delete(p.shown, key)
		}
	}
	for kept := range p.stored {
		if app == "" || kept == app {
			delete(p.stored, kept)
		}
	}
	return tokens
}

// RotateToken gives an app a new token, as the system does after a restore or
// of its own accord; the old one is dead at once. It returns the new tokens,
// by the old ones; app "" is all apps.
func (p *Phone) RotateToken(app string) map[string]string {
	changed := make(map[string]string)
	for _, s := range p.seatsOf(app) {
		changed[s.token] = s.at.rotate(p, s.app, s.token)
	}
	return changed
}
