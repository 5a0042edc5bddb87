package directory

import (
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestWhatIsNotSetUpDoesNotWork: somebody of the catch-all whose only way is one
// that this server has no channel for is nobody, to readiness as to a decision.
func TestWhatIsNotSetUpDoesNotWork(t *testing.T) {
	mail := func(u *User) {}
	hook := func(u *User) {
		u.Methods = []roster.Method{{ID: "hook", Kind: roster.Webhook, Address: "https://example.org", Verified: true, Secret: []byte("sealed")}}
	}
	phone := func(u *User) { u.Methods = nil }
	noMail := Channels{Sends: func(k roster.MethodKind) bool { return k != roster.Email }}
	noApp := Channels{Pushes: func(p roster.Platform, app string) bool { return p == roster.IOS && app == "oncall" }}
	for _, c := range []struct {
		name     string
		channels Channels
		person   func(*User)
		app      string // of the phone; "" for none
		why      string // "": can be reached
	}{
		{"everything is set up", Channels{}, mail, "", ""},
		{"e-mail alone without smtp", noMail, mail, "", "smtp.host"},
		{"e-mail without smtp, and a phone", noMail, mail, "oncall", ""},
		{"a webhook needs nothing", noMail, hook, "", ""},
		{"a phone", noApp, phone, "oncall", ""},
		{"a phone of another app", noApp, phone, "private", "app private"},
		{"neither", noApp, phone, "", "no device"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, newJournal(), func(o *Options) { o.Channels = c.channels })
			records := []Record{user("ann", c.person)}
			if c.app != "" {
				records = append(records, device("d1", "ann", func(d *Device) { d.App = c.app }))
			}
			create(t, d, records...)
			s, err := d.Change(t.Context(), By{Principal: auth.Console()}, func(e *Edit) error {
				e.Force()
				return e.Update(&Settings{Settings: catalog.Settings{CatchAll: []roster.UserID{"ann"}}}, "")
			})
			if err != nil {
				t.Fatal(err)
			}
			switch err := s.Ready(); {
			case (c.why == "") != (err == nil):
				t.Errorf("Ready() = %v, want why %q", err, c.why)
			case err != nil && !strings.Contains(err.Error(), c.why):
				t.Errorf("Ready() = %q, want %q in it", err, c.why)
			}
			u, _ := s.User("ann")
			if got := u.Reachable(true, s.Devices("ann")); got != (c.why == "") {
				t.Errorf("a decision takes the person as reachable: %t, want %t", got, c.why == "")
			}
			if r, _ := s.GetUser("ann"); len(r.Methods) > 0 && !r.Methods[0].Verified {
				t.Error("the record itself was changed")
			}
		})
	}
}
