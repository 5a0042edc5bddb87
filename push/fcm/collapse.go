package fcm

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

// maxKeys is how many collapse keys FCM stores for one phone. Above it, it
// throws keys away and does not say which.
// https://firebase.google.com/docs/cloud-messaging/customize-messages/collapsible-message-types
const maxKeys = 4

// keys remembers which collapse keys may be stored for each phone, so that no
// phone ever has a fifth: a message whose key would be the fifth goes without,
// and is stored beside the others. It knows what this process sent; a phone is
// mostly paged by one, and a restart forgets at most the lifetime of a page.
type keys struct {
	mu     sync.Mutex
	phones map[push.Token][]storedKey
	sweep  int // of phones, at this many
}

type storedKey struct {
	key   string
	until time.Time // when FCM gives the message up
}

const minSweep = 1024

// take tells whether a message may carry the key.
func (k *keys) take(token push.Token, key string, until, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.phones == nil {
		k.phones, k.sweep = make(map[push.Token][]storedKey), minSweep
	}
	stored := alive(k.phones[token], now)
	i := slices.IndexFunc(stored, func(s storedKey) bool { return s.key == key })
	switch {
	case i >= 0:
		stored[i].until = until
	case len(stored) < maxKeys:
		stored = append(stored, storedKey{key, until})
	default:
		return false
	}
	k.phones[token] = stored
	if len(k.phones) >= k.sweep {
		maps.DeleteFunc(k.phones, func(_ push.Token, s []storedKey) bool { return len(alive(s, now)) == 0 })
		k.sweep = max(minSweep, 2*len(k.phones))
	}
	return true
}

// alive is what FCM may still be storing. It works in place.
func alive(stored []storedKey, now time.Time) []storedKey {
	return slices.DeleteFunc(stored, func(s storedKey) bool { return !s.until.After(now) })
}
