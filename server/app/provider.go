package app

import (
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/fcm"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/config"
)

// ProviderOptions are what the providers of one server share. The zero value is
// for a provider that stands alone.
type ProviderOptions struct {
	Keyring *apns.Keyring    // of all apps of a process; nil: its own
	Metrics *push.Metrics    // nil counts nothing
	Log     *slog.Logger     // nil is silence
	Now     func() time.Time // of Apple's provider tokens; nil is this machine's clock
}

// NewProvider makes the provider of an app out of its configuration and the
// content of its key file; ca is that of test_ca_file, nil without one. An
// error says what cannot be used, and how to mend it.
func NewProvider(c config.PushApp, key, ca []byte, o ProviderOptions) (push.Provider, error) {
	switch push.Platform(c.Platform) {
	case push.IOS:
		conf := apns.Config{
			App: c.ID, BundleID: c.Bundle, Environment: appEnvironment(c), TeamID: c.TeamID, KeyID: c.KeyID, Key: key,
			CriticalEntitled: c.Critical, Keyring: o.Keyring, Metrics: o.Metrics, Log: o.Log, Now: o.Now,
		}
		if c.TestEndpoint != "" {
			conf.TestEndpoint = &apns.TestEndpoint{URL: c.TestEndpoint, CA: ca}
		}
		return apns.New(conf)
	case push.Web:
		conf := webpush.Config{
			App: c.ID, Key: key, Subject: c.Subject, AppURL: c.AppURL, Hosts: c.AllowedHosts, Metrics: o.Metrics, Log: o.Log,
		}
		if c.TestEndpoint != "" {
			conf.TestEndpoint = &webpush.TestEndpoint{URL: c.TestEndpoint, CA: ca}
		}
		return webpush.New(conf)
	case push.Android:
	}
	conf := fcm.Config{App: c.ID, ProjectID: c.Project, ServiceAccount: key, Metrics: o.Metrics, Log: o.Log}
	if c.TestEndpoint != "" {
		conf.TestEndpoint = &fcm.TestEndpoint{URL: c.TestEndpoint, CA: ca}
	}
	return fcm.New(conf)
}
