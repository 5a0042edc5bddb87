package directory

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Limits of the records, beside those of package escalation.
const (
	maxName       = 100 // characters
	maxEmail      = 254 // RFC 5321, 4.5.3.1.3, less the angle brackets
	maxURL        = 2048
	maxMethods    = 20
	maxMembers    = 1000
	maxCatchAll   = 20
	maxOptions    = 50
	maxOptionKey  = 64
	maxOption     = 1024
	maxRemind     = time.Hour
	maxAck        = 7 * 24 * time.Hour
	maxAuto       = 30 * 24 * time.Hour
	maxReopen     = 24 * time.Hour
	maxHeldReason = 255
	maxNote       = 500 // characters
)

// The forms of ids, as the API has them.
var (
	idForm     = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	madeForm   = regexp.MustCompile(`^[a-z0-9]{1,40}$`)
	methodForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
	uuidForm   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// checker gathers what is wrong with one record.
type checker struct {
	pace  incident.Pace
	zones *zones
	errs  []error
}

func (c *checker) bad(path, format string, args ...any) {
	c.errs = append(c.errs, fault.InvalidField(path, format, args...))
}

// normalise brings a record, which is a copy, into its one form.
func normalise(r Record) {
	switch r := r.(type) {
	case *User:
		r.Name, r.Email = tidy(r.Name), strings.TrimSpace(r.Email)
		r.Methods = slices.Clone(r.Methods)
		for i := range r.Methods {
			r.Methods[i].Address = strings.TrimSpace(r.Methods[i].Address)
		}
		r.High, r.Low = byDelay(r.High), byDelay(r.Low)
		if r.Zone == "" {
			r.Zone = "UTC"
		}
	case *Team:
		r.Name = tidy(r.Name)
	case *Service:
		r.Name = tidy(r.Name)
		r.Hours.Days = slices.Compact(slices.Sorted(slices.Values(r.Hours.Days)))
	case *Integration:
		r.Name = tidy(r.Name)
	case *Policy:
		r.Name = tidy(r.Name)
	case *Schedule:
		r.Name = tidy(r.Name)
	case *DrillPlan:
		r.Name = tidy(r.Name)
		r.Days = slices.Compact(slices.Sorted(slices.Values(r.Days)))
	case *Token:
		r.Name = tidy(r.Name)
	case *Device:
		r.Name = tidy(r.Name)
		if r.Name == "" {
			r.Name = r.Model
		}
	case *Settings:
		r.Organization = tidy(r.Organization)
	}
}

// tidy trims a name and makes its inner white space single blanks.
func tidy(name string) string { return strings.Join(strings.Fields(name), " ") }

func byDelay(steps []roster.Step) []roster.Step {
	steps = slices.Clone(steps)
	slices.SortStableFunc(steps, func(a, b roster.Step) int { return int(a.Delay - b.Delay) })
	return steps
}

// validate returns what is wrong with the record by itself, nil when nothing is.
func validate(r Record, pace incident.Pace, z *zones) error {
	c := &checker{pace: pace, zones: z}
	switch r := r.(type) {
	case *User:
		c.user(r)
	case *Team:
		c.id(string(r.ID))
		c.name("display_name", r.Name)
		unique(c, "members", r.Members, maxMembers)
		unique(c, "managers", r.Managers, maxMembers)
		for i, m := range r.Managers {
			if !slices.Contains(r.Members, m) {
				c.bad(fmt.Sprintf("managers[%d]", i), "%s is no member; add %s to members, or take it out here", m, m)
			}
		}
	case *Service:
		c.service(r)
	case *Integration:
		c.integration(r)
	case *Policy:
		c.policy(r)
	case *Schedule:
		c.id(string(r.ID))
		c.schedule(r)
	case *Override:
		c.id(string(r.ID)) // its times are held against the others where it is made
	case *Shadow:
		c.id(string(r.ID)) // likewise
	case *Cover:
		c.id(string(r.ID)) // likewise
		if utf8.RuneCountInString(r.Note) > maxNote {
			c.bad("note", "use at most %d characters", maxNote)
		}
	case *Token:
		c.token(r)
	case *Feed:
		c.feed(r)
	case *Device:
		c.device(r)
	case *DrillPlan:
		c.drillPlan(r)
	case *Vacations:
		c.vacations(r)
	case *Settings:
		c.settings(r)
	}
	return fault.Fields(c.errs...)
}

func (c *checker) id(id string) {
	if !idForm.MatchString(id) {
		c.bad("id", "%q is no id: 1 to 63 of a to z, 0 to 9, \".\", \"_\" and \"-\", beginning with a letter or digit", id)
	}
}

func (c *checker) name(path, name string) {
	n := utf8.RuneCountInString(name)
	switch {
	case n == 0:
		c.bad(path, "must not be empty")
	case n > maxName:
		c.bad(path, "has %d characters; at most %d are allowed", n, maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		c.bad(path, "has control characters or is no UTF-8")
	}
}

func (c *checker) zone(path, zone string) {
	if _, ok := c.zones.get(zone); !ok {
		c.bad(path, "%q is no time zone of the IANA list; write one such as Europe/Zurich", zone)
	}
}

func (c *checker) locale(path, locale string) {
	if locale == "" {
		return
	}
	if _, err := language.Parse(locale); err != nil || len(locale) > 35 {
		c.bad(path, "%q is no language of BCP 47; write one such as de-CH", locale)
	}
}

func (c *checker) privacy(path string, p roster.Privacy) {
	if p > roster.PrivacySealed {
		c.bad(path, "is none of full, title, minimal and sealed")
	}
}

// between holds a duration to a range that begins at least, which the demo lowers.
func (c *checker) between(path string, d, least, most time.Duration) {
	least = min(least, c.pace.FastestLevel)
	if d < least || d > most {
		c.bad(path, "is %s; write %s to %s", span(d), span(least), span(most))
	}
}

func (c *checker) user(u *User) {
	c.id(string(u.ID))
	if u.ID == "me" {
		c.bad("id", "me is taken: it is the caller")
	}
	c.name("display_name", u.Name)
	c.email("email", u.Email)
	c.zone("time_zone", u.Zone)
	c.locale("locale", u.Locale)
	if u.Role < roster.Admin || u.Role > roster.Stakeholder {
		c.bad("role", "is none of admin, responder and stakeholder")
	}
	c.privacy("privacy", u.Privacy)
	if u.Remind.Every != 0 {
		c.between("reminder.interval", u.Remind.Every, time.Minute, maxRemind)
	}
	c.clock("quiet_hours.start", u.Quiet.Start)
	c.clock("quiet_hours.end", u.Quiet.End)
	if len(u.Methods) > maxMethods {
		c.bad("contact_methods", "there are %d; at most %d are allowed", len(u.Methods), maxMethods)
	}
	seen := map[roster.MethodID]bool{roster.PushAll: true}
	for i, m := range u.Methods {
		path := fmt.Sprintf("contact_methods[%d]", i)
		c.method(path, m)
		if seen[m.ID] {
			c.bad(path+".id", "%q is there already", m.ID)
		}
		seen[m.ID] = true
	}
	c.steps("high_steps", u.High, seen)
	c.steps("low_steps", u.Low, seen)
}

func (c *checker) email(path, email string) {
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email || len(email) > maxEmail {
		c.bad(path, "%q is no e-mail address", email)
	}
}

func (c *checker) clock(path string, d time.Duration) {
	if d < 0 || d >= 24*time.Hour || d%time.Minute != 0 {
		c.bad(path, "is no time of day; write one such as 22:00")
	}
}

func (c *checker) method(path string, m roster.Method) {
	if !methodForm.MatchString(string(m.ID)) {
		c.bad(path+".id", "%q is no id: 1 to 40 of a to z, 0 to 9 and \"-\"", m.ID)
	}
	switch m.Kind {
	case roster.Push:
		if m.Device == "" || m.Address != "" {
			c.bad(path+".device", "name the device; push to all of them is the method push")
		}
	case roster.Email:
		c.email(path+".address", m.Address)
	case roster.Webhook:
		u, err := url.Parse(m.Address)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || len(m.Address) > maxURL {
			c.bad(path+".address", "an https URL without a password in it, at most %d characters, is needed", maxURL)
		}
		if len(m.Secret) == 0 {
			c.bad(path+".signing_key", "a webhook needs a key that signs its requests")
		}
	default:
		c.bad(path+".kind", "is none of push, email and webhook")
	}
	if m.Kind != roster.Push && m.Device != "" {
		c.bad(path+".device", "only push names a device")
	}
}

func (c *checker) steps(path string, steps []roster.Step, methods map[roster.MethodID]bool) {
	if len(steps) > roster.MaxSteps {
		c.bad(path, "there are %d; at most %d are allowed", len(steps), roster.MaxSteps)
	}
	for i, s := range steps {
		if !methods[s.Method] {
			c.bad(fmt.Sprintf("%s[%d].contact_method", path, i), "there is no contact method %q", s.Method)
		}
		if s.Delay < 0 || s.Delay > roster.MaxStepDelay {
			c.bad(fmt.Sprintf("%s[%d].delay", path, i), "is %s; write 0s to %s", span(s.Delay), span(roster.MaxStepDelay))
		}
	}
}

func (c *checker) token(t *Token) {
	if !madeForm.MatchString(string(t.ID)) {
		c.bad("id", "%q is no id of a token", t.ID)
	}
	c.name("display_name", t.Name)
	if t.User == "" && t.Role == 0 {
		c.bad("role", "a service account needs a role")
	}
	if t.Role > roster.Stakeholder {
		c.bad("role", "is none of admin, responder and stakeholder")
	}
	c.scopes(t)
	if t.Hash.IsZero() {
		c.bad("hash", "a token needs a secret")
	}
}

func (c *checker) device(d *Device) {
	if !madeForm.MatchString(string(d.ID)) {
		c.bad("id", "%q is no id of a device", d.ID)
	}
	if n := utf8.RuneCountInString(d.Name); n > maxName {
		c.bad("display_name", "has %d characters; at most %d are allowed", n, maxName)
	}
	if d.Install != "" && !uuidForm.MatchString(d.Install) {
		c.bad("install_id", "%q is no UUID", d.Install)
	}
	if d.Platform < roster.IOS || d.Platform > roster.Web {
		c.bad("platform", "is none of ios, android and web")
	}
	if d.State < roster.DeviceActive || d.State > roster.DeviceRevoked {
		c.bad("state", "is none of active, unverified, parked, dead and revoked")
	}
	for path, text := range map[string]struct {
		value string
		most  int
	}{
		"app_id": {d.App, 155}, "seal_key_id": {d.SealKeyID, 64}, "app_version": {d.AppVersion, 32},
		"os_version": {d.OSVersion, 32}, "model": {d.Model, 64},
	} {
		if n := utf8.RuneCountInString(text.value); n > text.most {
			c.bad(path, "has %d characters; at most %d are allowed", n, text.most)
		}
	}
	if d.Zone != "" {
		c.zone("time_zone", d.Zone)
	}
	c.locale("locale", d.Locale)
}

func (c *checker) settings(s *Settings) {
	unique(c, "catch_all", s.CatchAll, maxCatchAll)
	c.privacy("privacy", s.Privacy)
	if n := utf8.RuneCountInString(s.HeldReason); n > maxHeldReason {
		c.bad("reason", "has %d characters; at most %d are allowed", n, maxHeldReason)
	}
	if s.Organization != "" {
		c.name("organization", s.Organization)
	}
}

// unique refuses lists that are too long or name something twice.
func unique[T comparable](c *checker, path string, list []T, most int) {
	if len(list) > most {
		c.bad(path, "there are %d; at most %d are allowed", len(list), most)
	}
	seen := make(map[T]bool, len(list))
	for i, v := range list {
		if seen[v] {
			c.bad(fmt.Sprintf("%s[%d]", path, i), "%v is there already", v)
		}
		seen[v] = true
	}
}
