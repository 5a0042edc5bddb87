package app

import (
	"encoding/base64"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

var _ rpc.Browsers = (*pushes)(nil)

// web returns the provider of a web app as its devices name it, nil without one.
func (p *pushes) web(app string) (string, *webpush.Provider) {
	id := p.known().resolve(push.Web, app)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.known() {
		if c.Platform == string(push.Web) && c.ID == id {
			return id, p.active[identity(c)].web
		}
	}
	return id, nil
}

// WebKey implements [rpc.Browsers].
func (p *pushes) WebKey(app string) (id string, key []byte, ok bool) {
	id, via := p.web(app)
	if via == nil {
		return "", nil, false
	}
	key, err := base64.RawURLEncoding.DecodeString(via.PublicKey())
	return id, key, err == nil
}

// CheckSubscription implements [rpc.Browsers]. The subscription of an app that
// cannot be pushed to now is held against the browsers' own services.
func (p *pushes) CheckSubscription(app string, s directory.AddressSecret) error {
	keys := subscriptionKeys(s)
	if _, via := p.web(app); via != nil {
		return via.CheckSubscription(s.Value, keys)
	}
	if err := webpush.CheckEndpoint(s.Value); err != nil {
		return err
	}
	return webpush.CheckKeys(keys)
}

// subscriptionKeys returns the keys of a subscription as the provider reads them.
func subscriptionKeys(s directory.AddressSecret) push.SubscriptionKeys {
	if len(s.P256dh) == 0 && len(s.Auth) == 0 {
		return push.SubscriptionKeys{}
	}
	encode := base64.RawURLEncoding.EncodeToString
	return push.SubscriptionKeys{P256dh: encode(s.P256dh), Auth: encode(s.Auth)}
}
