package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// deviceNews tells people what has changed about the ways of waking them,
// whoever has changed it and by whatever door: it looks at what a change of the
// configuration has done, not at who asked for it. What it has told is in the
// audit log too, under the person's name. It works behind the changes, which
// never wait for it, and what it has not told when the process dies is not told.
type deviceNews struct {
	people people
	tell   func(notify.News)
	submit func(push.Delivery, func(push.Result))
	audit  func(ctx context.Context, record []byte) error
	now    func() time.Time
	log    *slog.Logger
	queue  chan directory.Changed
}

// newsQueued is how many changes may wait to be told.
const newsQueued = 1024

// take puts a change into the queue, if it bears on phones or people.
func (n *deviceNews) take(c directory.Changed) {
	if !slices.ContainsFunc(c.Keys, func(k directory.Key) bool { return k.Kind == directory.KindDevice || k.Kind == directory.KindUser }) {
		return
	}
	select {
	case n.queue <- c:
	default:
		n.log.Warn("people are not told of a change to their phones: too many change at once", slog.Int("records", len(c.Keys)))
	}
}

// run tells what is taken until ctx ends, and then what is left.
func (n *deviceNews) run(ctx context.Context) error {
	for {
		select {
		case c := <-n.queue:
			n.changed(context.WithoutCancel(ctx), c)
		case <-ctx.Done():
			for {
				select {
				case c := <-n.queue:
					n.changed(context.WithoutCancel(ctx), c)
				default:
					return nil
				}
			}
		}
	}
}

// change is one change on its way to being told.
type change struct {
	directory.Changed

	ctx context.Context //nolint:containedctx // of one look at the change
}

// changed looks at a change.
func (n *deviceNews) changed(ctx context.Context, changed directory.Changed) {
	c := change{changed, ctx}
	for _, k := range c.Keys {
		switch k.Kind {
		case directory.KindDevice:
			n.device(c, roster.DeviceID(k.ID))
		case directory.KindUser:
			n.user(c, roster.UserID(k.ID))
		default:
		}
	}
}

// say tells one person, and leaves a record of it. Of one revision of a record,
// one thing is told to a person.
func (n *deviceNews) say(c change, about string, revision uint64, news notify.News) {
	news.Name = fmt.Sprintf("%s.%d", about, revision)
	if self := c.By.Principal.Device; self != "" {
		news.Except = append(news.Except, self)
	}
	n.tell(news)
	record, err := json.Marshal(auth.Audit{
		At: n.now().UTC(), Actor: directory.ByServer("news").Principal.String(), Method: "news", Resource: "users/" + string(news.User), Action: "tell",
		Change: news.Title, Request: c.By.Request,
	})
	if err == nil {
		err = n.audit(c.ctx, record)
	}
	if err != nil {
		n.log.WarnContext(c.ctx, "audit record not kept", slog.String("user", string(news.User)), slog.Any("error", err))
	}
}

// device tells what has become of a device.
func (n *deviceNews) device(c change, id roster.DeviceID) {
	was, before := c.Before.GetDevice(id)
	is, after := c.After.GetDevice(id)
	name := "devices/" + string(id)
	switch {
	case !before && after && is.State != roster.DeviceRevoked:
		n.say(c, name, is.Revision, notify.News{
			User: is.User, Title: "A device was added: " + is.Name, Except: []roster.DeviceID{id},
			Body: "Your pages go there too from now on" + byWhom(c, is.User) + ". If that is not yours, take it out in the app's list of devices.",
		})
	case before && was.State != roster.DeviceRevoked && (!after || is.State == roster.DeviceRevoked):
		n.revoked(c, was, is)
	case before && after && is.State == roster.DeviceDead && was.State != roster.DeviceDead:
		n.lost(c, was, "The push service says that the app on "+is.Name+" is gone ("+is.StateReason+"). Open the app there, or enrol a phone.")
	case before && after && was.Address.Kind != 0 && is.Address.Kind == 0:
		if to, moved := movedTo(c.After, was); moved {
			n.lost(c, was, "The phone "+is.Name+" is "+displayName(c.After, to.User)+"'s by now, and gets no pages of yours. If that is wrong, enrol it again.")
		}
	case before && after && is.State == roster.DeviceUnverified && was.State == roster.DeviceActive && is.Address.Kind != 0:
		n.say(c, name, is.Revision, notify.News{
			User: is.User, Title: "Nothing was heard of " + is.Name + " for long", Aside: true,
			Body: "It is still paged, and not counted on any more. Open the app on it.",
		})
	}
}

// revoked tells the others of a person of a device that was taken out, and the
// device itself.
func (n *deviceNews) revoked(c change, was, is *directory.Device) {
	if _, lives := c.After.DeviceByLookup(was.Address.Lookup); !lives { // else the app is another device by now
		n.wipe(was)
	}
	if _, there := c.After.GetUser(was.User); !there {
		return
	}
	why := ""
	if is != nil && is.StateReason != "" {
		why = " (" + is.StateReason + ")"
	}
	news := "The device " + was.Name + " was taken out" + byWhom(c, was.User) + why + " and gets no pages any more."
	if to, moved := movedTo(c.After, was); moved && to.User != was.User { // another person has the phone
		n.lost(c, was, news)
		return
	}
	if replaced(c, was) { // the same app has signed in again: the new one is told of
		return
	}
	n.say(c, "devices/"+string(was.ID), was.Revision+1, notify.News{
		User: was.User, Title: "A device was taken out: " + was.Name, Body: news, Except: []roster.DeviceID{was.ID},
		Aside: !wakes(c.After, was.User),
	})
}

// replaced reports whether the same change has made another device of the
// person's of the same app.
func replaced(c change, was *directory.Device) bool {
	d, ok := c.After.DeviceByInstall(was.Install)
	return ok && was.Install != "" && d.ID != was.ID && d.User == was.User
}

// lost tells a person by another way that a phone does not get pages any more;
// and, when it was the last one that might wake somebody who is counted on,
// those who count on him.
func (n *deviceNews) lost(c change, was *directory.Device, body string) {
	about := "devices/" + string(was.ID)
	last := !wakes(c.After, was.User)
	title := "A phone of yours gets no pages any more"
	if last {
		title = "Your last phone gets no pages any more"
	}
	n.say(c, about, was.Revision+1, notify.News{User: was.User, Title: title, Body: body, Except: []roster.DeviceID{was.ID}, Aside: true})
	_, moved := movedTo(c.After, was)
	if !last && !moved {
		return
	}
	by := c.After.CountedOn(was.User)
	if len(by) == 0 {
		return
	}
	who := displayName(c.After, was.User)
	title = who + " can hardly be woken"
	if !last {
		title = "A phone of " + who + " gets no pages any more"
	}
	for _, u := range c.After.Backers(was.User) {
		n.say(c, about, was.Revision+1, notify.News{
			User: u, Title: title, Body: "The phone " + was.Name + " of " + who + " gets no pages any more. " + who + " is counted on by " + policies(c.After, by) + ".",
		})
	}
}

// user tells a person's devices that the ways of waking that person have been changed.
func (n *deviceNews) user(c change, id roster.UserID) {
	was, before := c.Before.GetUser(id)
	is, after := c.After.GetUser(id)
	if !before || !after || is.Inactive {
		return
	}
	var what []string
	if !slices.EqualFunc(was.Methods, is.Methods, sameWay) {
		what = append(what, "contact methods")
	}
	if !slices.Equal(was.High, is.High) || !slices.Equal(was.Low, is.Low) {
		what = append(what, "the contact plan")
	}
	if was.Quiet != is.Quiet {
		what = append(what, "quiet hours")
	}
	if was.Remind != is.Remind {
		what = append(what, "reminders")
	}
	if len(what) == 0 {
		return
	}
	n.say(c, "users/"+string(id), is.Revision, notify.News{
		User: id, Title: "How you are woken was changed",
		Body: "Changed: " + strings.Join(what, ", ") + byWhom(c, id) + ". If that was not meant, look at your contact plan.",
	})
}

// sameWay compares what a person has set of a method: that it bounces is told
// by itself, in the list of methods.
func sameWay(a, b roster.Method) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.Address == b.Address && a.Device == b.Device && a.Verified == b.Verified
}

const wipeLife = 2 * time.Minute // a push that asks an app to wipe itself is tried for so long

// wipe asks an app that was taken out to forget what it has stored. Nobody
// relies on it: the phone may be off, and its credential is void in any case.
func (n *deviceNews) wipe(was *directory.Device) {
	phone := n.people.phone(was)
	if phone.Push.Token == "" {
		return
	}
	now := n.now()
	m := push.Message{
		Kind: push.KindHeartbeat, DeliveryID: newUUID(), Details: map[string]string{"wipe": string(was.ID)},
		CollapseID: "wipe", At: now, Deadline: now.Add(wipeLife),
	}
	if was.Platform == roster.Web { // a browser has to show something for every push
		m.Kind, m.Title, m.Body = push.KindInfo, "Signed out", "This device gets no pages any more."
	}
	n.submit(push.Delivery{Message: m, Device: phone.Push}, func(r push.Result) {
		n.log.Info("a device that was taken out was asked to wipe itself", slog.String("device", string(was.ID)), slog.String("end", r.End.String()))
	})
}

// wakes reports whether any device of the person is paged and shows it.
func wakes(s *directory.Snapshot, id roster.UserID) bool {
	return slices.ContainsFunc(s.Devices(id), func(d roster.Device) bool { return d.Pageable() && !d.Silenced })
}

// movedTo returns the device that has the address which another one had.
func movedTo(s *directory.Snapshot, was *directory.Device) (*directory.Device, bool) {
	if was.Address.Kind == 0 {
		return nil, false
	}
	d, ok := s.DeviceByLookup(was.Address.Lookup)
	return d, ok && d.ID != was.ID && d.User != was.User
}

func displayName(s *directory.Snapshot, id roster.UserID) string {
	if u, ok := s.User(id); ok && u.Name != "" {
		return u.Name
	}
	return string(id)
}

// byWhom says who has made a change, where that is another person.
func byWhom(c change, user roster.UserID) string {
	if p := c.By.Principal; p.User != "" && p.User != user {
		return ", by " + displayName(c.After, p.User)
	}
	return ""
}

// policies names what counts on somebody.
func policies(s *directory.Snapshot, by []directory.Key) string {
	names := make([]string, len(by))
	for i, k := range by {
		names[i] = "the catch-all"
		if p, ok := s.GetPolicy(escalation.PolicyID(k.ID)); ok && k.Kind == directory.KindPolicy {
			names[i] = "the policy " + p.Name
		}
	}
	return strings.Join(names, ", ")
}
