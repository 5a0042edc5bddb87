package push

import (
	"context"
	"strings"
	"time"
)

// Class is what an attempt's answer means for what happens next. It is the
// only part of an answer that the sender decides by.
type Class uint8

// The classes. The zero Class is a bug of the provider and treated as one.
const (
	// Accepted: the service took the message over. Not: the phone has it.
	Accepted Class = iota + 1
	// DropAddress: the token is proven dead.
	DropAddress
	// Park: the address does not fit our configuration; keep it, do not use it.
	Park
	// RetryNow: this connection is at fault or nothing was processed; another try at once.
	RetryNow
	// RetryLater: the service is in trouble, or asks us to slow down.
	RetryLater
	// TooLarge: once more with less in it.
	TooLarge
	// AuthConfig: our credential is refused; no message of this app can pass.
	AuthConfig
	// OurBug: the request is malformed; the same request will never pass.
	OurBug
)

var classNames = [...]string{ //nolint:gochecknoglobals // look-up table
	"none", "accepted", "drop_address", "park", "retry_now", "retry_later", "too_large", "auth_config", "our_bug",
}

func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return classNames[0]
}

// Scope is whom a RetryLater or an AuthConfig holds back besides the message
// itself.
type Scope uint8

// The scopes.
const (
	ScopeMessage  Scope = iota
	ScopeDevice         // nothing to this device until RetryAfter
	ScopeQuota          // this device; the whole app once three devices got it within 10 s
	ScopeApp            // nothing of this app until RetryAfter
	ScopePlatform       // of AuthConfig: this device and others with the same answer, whose platform the service cannot reach; the app's own go on
)

// Outcome is what one attempt came to.
type Outcome struct {
	Class      Class
	Reason     string        // the service's own word, verbatim, or ours for what happened on the way
	Status     int           // HTTP status; 0 when no answer came
	ProviderID string        // the service's name for the accepted message
	RetryAfter time.Duration // how long the service asked us to wait; 0 when it did not
	Scope      Scope
	Via        string // which connection it went through; [Attempt.Avoid] steers a retry away

	Unknown bool // no answer: the service may have taken the message
	Local   bool // failed before anything was sent, through no fault of the service
	Also    bool // one of many that a single dead connection took along; the first of them is counted
	Safe    bool // of OurBug: worth one more try in the minimal form
	Suspect bool // of DropAddress: the reason also fits a wrong environment or host, so the drop brake applies
	Env     bool // of DropAddress: the token may belong to the other environment
	Verify  bool // of DropAddress: certain only after a minimal payload got the same answer

	Alert    string // constant sentence for the operator; "" when there is nothing to mend
	Bytes    int    // size of the payload
	Shrunk   string // what was cut from the payload, "" when nothing
	Raw      string // up to 512 bytes of an answer that was not understood
	Elapsed  time.Duration
	Deadness time.Time // of DropAddress: since when the token is dead, if the service said so
}

// failed tells whether the breaker counts the outcome against the provider:
// trouble of the service or of the way to it, never what concerns one token.
func (o *Outcome) failed() bool {
	if o.Class != RetryNow && o.Class != RetryLater {
		return false
	}
	return !o.Local && !o.Also && (o.Status == 0 || o.Status >= 500)
}

// discreet takes out of an outcome what a service, or a proxy on the way, has
// echoed of the request: outcomes are logged and shown, and whoever has a phone's
// address and a credential can ring the phone.
func (o *Outcome) discreet(t Token) {
	if o.Class == Accepted || (o.Reason == "" && o.Raw == "") {
		return
	}
	secrets := []string{string(t)}
	if _, rest, url := strings.Cut(string(t), "://"); url { // of an endpoint, the path is what nobody may know
		_, path, _ := strings.Cut(rest, "/")
		secrets = append(secrets, path, path[strings.LastIndexAny(path, "/=")+1:])
	}
	for _, text := range [...]*string{&o.Reason, &o.Raw} {
		for _, s := range secrets {
			if len(s) >= minSecret {
				*text = strings.ReplaceAll(*text, s, hidden)
			}
		}
		for _, credential := range [...]string{"eyJ", "ya29."} { // how a JWT, and Google's access tokens, begin
			if at := strings.Index(*text, credential); at >= 0 {
				*text = (*text)[:at] + hidden
			}
		}
		*text = strings.ToValidUTF8(*text, "") // cut in the middle of a character, no store takes it
	}
}

const (
	hidden    = "…"
	minSecret = 8 // below it, a word of the answer is only alike
)

// Form is how much of a message an attempt carries.
type Form uint8

// The forms, each smaller than the one before.
const (
	FormFull    Form = iota // everything that fits
	FormShrunk              // details, subtitle and most of the body gone
	FormMinimal             // what wakes a person and lets the app fetch the rest
)

// Attempt is one try to hand one message to one phone's push service.
type Attempt struct {
	Message *Message
	Device  *Device
	Form    Form
	Number  int       // from 1
	Avoid   string    // a connection that just failed this message; another is taken if there is one
	At      time.Time // now, by the clock that the message's times are of; zero is the provider's own clock
}

// Provider makes attempts at one push service for one app in one
// environment.
//
// Send makes exactly one and returns what came of it before ctx ends. It
// never retries, never panics and logs no payload and no token. Close ends
// the connections; the sender calls it when nothing is in flight any more.
type Provider interface {
	Send(ctx context.Context, a Attempt) Outcome
	Close() error
}

// Stats is what a provider can say about itself at this moment.
type Stats struct {
	Connections map[string]int // by state: warming, open, suspect, draining
	InFlight    int            // requests on the wire
	TokenAge    time.Duration  // of the credential in use; 0 when there is none
	ClockSkew   time.Duration  // service's clock minus ours; 0 when unknown
}

// Reporter is a Provider that has Stats.
type Reporter interface{ Stats() Stats }

// Parted is a Provider that stands before several push services, as one for
// browsers does. The sender keeps them apart as if they were apps of their
// own, named "<app>/<part>": each has its queue, its cap in flight, its breaker
// and its budget, so that the trouble of one browser's maker is not that of
// another's.
type Parted interface {
	Provider
	// Part names the push service that reaches the device: one of few names,
	// "" for none that is known. It must not block.
	Part(d *Device) string
	// PartStats is what Stats is for one of them.
	PartStats(part string) Stats
}
