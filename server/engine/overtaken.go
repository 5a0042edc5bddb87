package engine

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// overtaken remembers resolves by their sender's time for a few minutes, so
// that a trigger from before one, arriving late, pages nobody. It is lost with
// the owner, in the safe direction: one page too many. Of a trigger whose time
// is long ago it says nothing: monitors give the beginning of the condition
// (Alertmanager's startsAt), which stays the same when it fires again.
type overtaken struct {
	seen  map[store.LinkedKey]resolved
	swept time.Time
}

type resolved struct{ source, noted time.Time }

const overtakenFor = 5 * time.Minute

func (v *overtaken) note(s step, now time.Time) {
	if s.Event.Timestamp.IsZero() || now.Sub(s.Event.Timestamp).Abs() > overtakenFor {
		return
	}
	if v.seen == nil {
		v.seen = map[store.LinkedKey]resolved{}
	}
	v.seen[store.LinkedKey{Service: s.Service, Key: s.Key}] = resolved{s.Event.Timestamp, now}
	if now.Sub(v.swept) > time.Minute {
		for k, r := range v.seen {
			if now.Sub(r.noted) > overtakenFor {
				delete(v.seen, k)
			}
		}
		v.swept = now
	}
}

func (v *overtaken) covers(s step, now time.Time) bool {
	r, ok := v.seen[store.LinkedKey{Service: s.Service, Key: s.Key}]
	sent := s.Event.Timestamp
	return ok && !sent.IsZero() && sent.Before(r.source) && now.Sub(sent) <= overtakenFor && now.Sub(r.noted) <= overtakenFor
}
