package notify

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// News is something that a person has to know about the ways of reaching
// people. It is about no incident.
type News struct {
	Name        string // names it over all tries: of one name, one is sent to a person
	User        roster.UserID
	Title, Body string
	// Except are devices that are not told: the one that it is about, and the one
	// that its person has in hand.
	Except []roster.DeviceID
	// Aside asks for another way than a push, beside the pushes: what is said is
	// that pushes do not reach the person.
	Aside bool
	// Details are what an app may offer to do about it.
	Details map[string]string
}

// newsLife is how long news are tried.
const newsLife = 24 * time.Hour

// Tell sends news, quietly, to the other devices of the person; by mail, or else
// by a webhook, when there are none or the news ask for it. It returns at once.
// What this process has not sent when it ends is not sent.
func (n *Notifier) Tell(news News) {
	user, ok := n.o.Directory.User(news.User)
	if !ok || user.Inactive {
		return
	}
	n.running.Go(func() {
		ctx := n.context()
		only := func(p Phone) bool { return !slices.Contains(news.Except, p.ID) }
		pushed := slices.ContainsFunc(n.o.Directory.Phones(user.ID), func(p Phone) bool { return p.Pageable() && only(p) })
		if pushed {
			all, _ := user.Method(roster.PushAll)
			e := n.newsEnvelope(user, all, news)
			e.only = only
			n.send(ctx, e)
		}
		if m, ok := n.asideMethod(user); ok && (news.Aside || !pushed) {
			n.send(ctx, n.newsEnvelope(user, m, news))
		}
	})
}

// asideMethod is the way of telling a person something without a push.
func (n *Notifier) asideMethod(u roster.User) (roster.Method, bool) {
	for _, kind := range []roster.MethodKind{roster.Email, roster.Webhook} {
		for _, m := range u.Methods {
			if _, set := n.o.Channels[kind]; set && m.Kind == kind && m.Verified && !m.Bouncing {
				return m, true
			}
		}
	}
	return roster.Method{}, false
}

func (n *Notifier) newsEnvelope(user roster.User, m roster.Method, news News) envelope {
	return envelope{
		work: "news." + news.Name, user: user, method: m, urgency: incident.Low, doc: store.PersonDoc(user.ID), unguarded: true,
		kind: push.KindInfo, words: words{Title: news.Title, Body: news.Body}, sound: push.SoundNone, level: push.LevelPassive,
		details: news.Details, letter: "notice", lines: []string{news.Title + ".", news.Body}, reason: "ways of reaching people",
		at: n.now(), deadline: n.now().Add(newsLife),
	}
}
