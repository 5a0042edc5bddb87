package push

import (
	"fmt"
	"log/slog"
	"time"
)

// Platform is what a phone runs, and so which provider reaches it.
type Platform string

// The platforms.
const (
	IOS     Platform = "ios"
	Android Platform = "android"
	Web     Platform = "web"
)

// Provider is the name of the provider that reaches the platform, "" of an
// unknown one.
func (p Platform) Provider() string {
	switch p {
	case IOS:
		return "apns"
	case Android:
		return "fcm"
	case Web:
		return "webpush"
	}
	return ""
}

// Environment is which of Apple's two worlds an address belongs to. Other
// providers know only Production.
type Environment string

// The environments. An empty one counts as Production.
const (
	Production Environment = "production"
	Sandbox    Environment = "sandbox"
)

func (e Environment) orProduction() Environment {
	if e == "" {
		return Production
	}
	return e
}

func (e Environment) other() Environment {
	if e.orProduction() == Production {
		return Sandbox
	}
	return Production
}

// Token is the address of a phone at its push service. It redacts itself in
// logs: whoever has a token and a key can ring the phone.
type Token string

// LogValue shows the first characters and the length.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.redacted()) }

// String shows what LogValue does; convert to string for the token itself.
func (t Token) String() string { return t.redacted() }

// GoString keeps the token out of %#v.
func (t Token) GoString() string { return t.redacted() }

func (t Token) redacted() string {
	return fmt.Sprintf("%.6s…(%d)", string(t), len(t))
}

// SubscriptionKeys are the keys that a browser made for a Web Push
// subscription (RFC 8291), each in base64url without padding, as
// PushSubscription.toJSON has them. They redact themselves in logs.
type SubscriptionKeys struct {
	P256dh string // public key of the browser: an uncompressed point of P-256, 65 bytes
	Auth   string // secret that authenticates us: 16 bytes
}

// LogValue shows whether there are keys, and nothing of them.
func (k SubscriptionKeys) LogValue() slog.Value { return slog.StringValue(k.String()) }

// String shows what LogValue does.
func (k SubscriptionKeys) String() string {
	if k == (SubscriptionKeys{}) {
		return "none"
	}
	return "set"
}

// GoString keeps the keys out of %#v.
func (k SubscriptionKeys) GoString() string { return k.String() }

// Capabilities is what the app last said about its phone.
type Capabilities struct {
	Critical      bool // the owner allowed critical alerts
	TimeSensitive bool // time-sensitive notifications are switched on
	Sealed        bool // the app can open sealed payloads
}

// Device is one installation of an app on one phone.
type Device struct {
	ID           string
	Person       string // whose it is, in the caller's terms; the phones of one person share a ceiling for what can wait
	Platform     Platform
	App          string // id of the configured app
	Environment  Environment
	Token        Token
	Keys         SubscriptionKeys // of a Web Push subscription, whose endpoint is Token; zero on other platforms
	Capabilities Capabilities

	EnvironmentConfirmed bool      // a push to Environment has been accepted before
	RegisteredAt         time.Time // when the app last registered Token; zero is unknown
}
