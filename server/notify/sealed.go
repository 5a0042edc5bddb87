package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/seal"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// unopened is the word of a phone that shows the minimal text because what was
// sealed for it did not open. One that nobody has unlocked since it was started
// says "locked": its key is good, and nothing follows from that.
const unopened = "decrypt"

// fuller returns what is sealed for phones with a key, where the level has it
// sealed: what would be on the screen without redaction, in say, and what
// belongs to it. nil at any other level.
func (n *Notifier) fuller(level roster.Privacy, in *incident.Incident, say func(roster.Privacy) words) *seal.Text {
	if level != roster.PrivacySealed {
		return nil
	}
	w := say(roster.PrivacyFull)
	t := &seal.Text{Title: w.Title, Subtitle: w.Subtitle, Body: w.Body}
	if in != nil {
		t.Severity = in.Severity.String()
		t.Links = n.links(in)
	}
	return t
}

// links are those of the incident that lead to hosts which apps may open: a
// monitor writes what it likes, and a tap on a phone that has just rung is no
// moment to look at an address.
func (n *Notifier) links(in *incident.Incident) []seal.Link {
	var all []seal.Link
	if own := n.o.Link(in.ID); own != "" {
		all = append(all, seal.Link{Text: "Incident", URL: own})
	}
	for _, l := range in.Text.Links {
		if mayOpen(l.Href, n.o.LinkHosts) {
			all = append(all, seal.Link{Text: cut(Scrub(l.Text), maxTitle), URL: scrubURL(l.Href)})
		}
	}
	return all
}

// mayOpen reports whether the address is one of https at a host of the list,
// on its usual port and without anybody's name and password. "*.example.com"
// in the list stands for every host below example.com.
func mayOpen(address string, hosts []string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" || (u.Port() != "" && u.Port() != "443") {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, h := range hosts {
		h = strings.ToLower(h)
		if below, wild := strings.CutPrefix(h, "*."); host == h || (wild && strings.HasSuffix(host, "."+below)) {
			return host != ""
		}
	}
	return false
}

// seal puts the fuller text into the message for a phone that can open it; one
// that cannot keeps the minimal text alone.
func (n *Notifier) seal(l *leg, m *push.Message) {
	if l.d.e.sealed == nil || len(l.phone.SealKey) == 0 || !m.Kind.Loud() {
		return
	}
	text := *l.d.e.sealed
	shown := *m // worded as what is in the clear is: with the count of open pages
	shown.Title, shown.Subtitle, shown.Body = text.Title, text.Subtitle, text.Body
	text.Title, text.Subtitle, text.Body = shown.Text()
	text.ActionToken = n.actionToken(l)
	b := seal.Binding{
		Delivery: m.DeliveryID, Incident: m.IncidentID, Device: string(l.phone.ID), Key: l.phone.SealKeyID, Deadline: m.Deadline.Unix(),
	}
	sealed, err := seal.Seal(l.phone.SealKey, text.Encode(), b)
	if err != nil {
		n.log.Error("page goes out without its sealed text", slog.String("delivery", m.DeliveryID), slog.Any("error", err))
		return
	}
	m.Sealed, m.SealedKeyID = sealed, l.phone.SealKeyID
}

// thread groups what a phone shows of one service. Where its name is nobody's
// business, the group has a name that says nothing.
func thread(s catalog.ServiceID, level roster.Privacy) string {
	if level == roster.PrivacyFull || level == roster.PrivacyTitle {
		return string(s)
	}
	sum := sha256.Sum256([]byte("thread\x00" + string(s)))
	return hex.EncodeToString(sum[:6])
}

// couldNotOpen takes in that a phone has the page and could not open what was
// sealed in it: its key is not used any more, and the page goes to it once more,
// in the minimal form, which asks the app for a new key.
func (n *Notifier) couldNotOpen(ctx context.Context, doc store.Doc, dv incident.Delivery) error {
	if dv.Device == "" || strings.HasSuffix(dv.Work, plainly) {
		return nil
	}
	n.log.WarnContext(ctx, "a phone cannot open what is sealed for it; its pages are redacted until it registers a new key",
		slog.String("device", string(dv.Device)), slog.String("delivery", dv.ID))
	if err := n.o.Directory.Unopened(ctx, dv.Device, dv.Attempted); err != nil {
		return fmt.Errorf("record that device %s has no use for its key: %w", dv.Device, err)
	}
	if !dv.Page || doc.Incident == "" {
		return nil // a test shows by itself whether it was seen
	}
	in, err := n.o.Ledger.Incident(ctx, doc.Incident)
	if err != nil {
		return err
	}
	user, ok := n.o.Directory.User(dv.User)
	if !ok || !needs(in, dv.User) || !n.now().Before(dv.Deadline) {
		return nil
	}
	e, ok, err := n.plain(ctx, user, dv, in)
	if err != nil || !ok {
		return err
	}
	n.send(ctx, e)
	return nil
}

// plainly ends the name of the work of a page that goes out again in its minimal
// form. The name is made of the first one's, so that it goes out once, however
// often the phone says that it could not open it.
const plainly = "~plain"

// plain is a page of one incident, or the storm card, once more for one phone,
// with nothing in it to open; false for what is neither.
func (n *Notifier) plain(ctx context.Context, user roster.User, dv incident.Delivery, in *incident.Incident) (envelope, bool, error) {
	method, _ := user.Method(roster.PushAll)
	method.Device = dv.Device
	p, err := n.o.Ledger.Person(ctx, user.ID)
	if err != nil {
		return envelope{}, false, err
	}
	e := envelope{
		work: dv.Work + plainly, user: user, method: method, urgency: dv.Urgency, page: true, again: true,
		doc: store.IncidentDoc(in.ID), generation: in.Generation, kind: push.KindPage, incident: in, privacy: roster.PrivacyMinimal,
		open: max(len(p.Open), 1), badge: n.badge(ctx, user.ID), details: map[string]string{"ask": "seal_key"}, at: n.now(), deadline: dv.Deadline,
	}
	e.sound, e.level = loudness(dv.Urgency, dv.Audible, false)
	switch number, storm := p.UpdateNumber(dv.Work); {
	case storm:
		_, ins, err := n.listed(ctx, user.ID, attention.Card{Items: p.CardItems(number)})
		if err != nil || len(ins) == 0 {
			return envelope{}, false, err
		}
		e.collapse, _, _ = strings.Cut(dv.Work, "#")
		e.words, e.open = stormWords(ins, user.ID, n.serviceName, roster.PrivacyMinimal), len(ins)
		e.details["card"] = dv.Work
		if onlyObserved(ins, user.ID) {
			e.shadow = schedule.Observe
		}
	default:
		if _, own := revisionOf(dv.Work); !own {
			return envelope{}, false, nil
		}
		e.collapse, e.words = collapseID(in.ID), pageWords(in, n.serviceName(in), incident.Work{Mode: modeOf(in, user.ID)}, roster.PrivacyMinimal)
		e.shadow = modeOf(in, user.ID)
	}
	return e, true, nil
}
