package directory

import (
	"slices"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Channels says which ways of reaching people this installation is set up for.
// What it leaves out does not work for anybody, whatever is verified or
// enrolled, so that neither a decision nor readiness counts on it. A nil field
// stands for everything.
type Channels struct {
	// Sends reports whether messages of the kind, other than pushes, leave the house.
	Sends func(roster.MethodKind) bool
	// Pushes reports whether an app is set up, by what its phones call it.
	Pushes func(p roster.Platform, app string) bool
}

func (c Channels) sends(kind roster.MethodKind) bool {
	return kind == roster.Push || c.Sends == nil || c.Sends(kind) // of pushes, the devices decide
}

func (c Channels) pushes(d *Device) bool { return c.Pushes == nil || c.Pushes(d.Platform, d.App) }

// able returns a person with the methods that nothing is sent by marked as
// unverified.
func (c Channels) able(u roster.User) roster.User {
	first := slices.IndexFunc(u.Methods, func(m roster.Method) bool { return m.Verified && !c.sends(m.Kind) })
	if first < 0 {
		return u
	}
	u.Methods = slices.Clone(u.Methods)
	for i := range u.Methods {
		u.Methods[i].Verified = u.Methods[i].Verified && c.sends(u.Methods[i].Kind)
	}
	return u
}

// seen returns a device as decisions see it; one of an app that is not set up
// is parked, as its pushes would go nowhere.
func (c Channels) seen(d *Device) roster.Device {
	r := d.Seen()
	if r.Pageable() && !c.pushes(d) {
		r.State = roster.DeviceParked
	}
	return r
}

// whyUnreachable says what keeps somebody from being paged who is known and active.
func (s *Snapshot) whyUnreachable(id roster.UserID) string {
	r, ok := s.GetUser(id)
	if !ok {
		return "no device and no verified method"
	}
	switch silent := s.silentApp(id); {
	case silent != "":
		return "the app " + silent + " of the phone is not among push.apps of the server's configuration"
	case slices.ContainsFunc(r.Methods, func(m roster.Method) bool { return m.Kind == roster.Email && m.Verified && !s.channels.sends(m.Kind) }):
		return "only by e-mail, and smtp.host is not set in the server's configuration"
	}
	return "no device and no verified method"
}

// silentApp names the app of a device that could be paged if its app were set up.
func (s *Snapshot) silentApp(id roster.UserID) string {
	for _, d := range s.DevicesOf(id) {
		if seen := d.Seen(); seen.Pageable() && !seen.Silenced && !s.channels.pushes(d) {
			return d.App
		}
	}
	return ""
}
