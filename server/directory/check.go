package directory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push/seal"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// shortLevel is the delay of a level below which a warning is given.
const shortLevel = 3 * time.Minute

// maxNames is how many names a refusal lists before it says "and 12 more".
const maxNames = 10

func names(list []string) string {
	slices.Sort(list)
	if n := len(list); n > maxNames {
		return strings.Join(list[:maxNames], ", ") + fmt.Sprintf(" and %d more", n-maxNames)
	}
	return strings.Join(list, ", ")
}

// checkReferences refuses a record that names what does not exist in next.
func checkReferences(r Record, next *Snapshot) error {
	var err error
	r.refs(func(path string, to Key) {
		if err == nil && !next.Exists(to) {
			fix := "there is no " + Words(to.String()) + suggestion(to.ID, next.ids(to.Kind))
			f := notFound(to).With("field", path)
			f.Message = path + ": " + fix
			f.Fields = []fault.Field{{Path: path, Fix: fix}}
			err = f
		}
	})
	if err != nil {
		return err
	}
	switch r := r.(type) {
	case *User:
		for i, m := range r.Methods {
			if d, ok := next.GetDevice(m.Device); ok && d.User != r.ID {
				return fault.InvalidField(fmt.Sprintf("contact_methods[%d].device", i), "%s is another person's", d.key())
			}
		}
	case *DrillPlan:
		return checkDrilled(r, next)
	}
	return nil
}

// checkUnique refuses a record that takes what another one has and keeps: an
// e-mail address, a key, a phone's address.
func checkUnique(r Record, base, next *Snapshot) error {
	switch r := r.(type) {
	case *User:
		email := foldEmail(r.Email)
		if id, ok := holder(r.ID, base.emails, next.emails, email, func(id roster.UserID) bool {
			u, ok := next.GetUser(id)
			return ok && foldEmail(u.Email) == email
		}); ok {
			return taken("email", Key{KindUser, string(id)})
		}
	case *Token:
		return checkHash("hash", r.Hash, r.key(), base, next)
	case *Feed:
		return checkHash("hash", r.Hash, r.key(), base, next)
	case *Integration:
		return checkHash("key", r.KeyHash, r.key(), base, next)
	case *Device:
		return checkDevice(r, base, next)
	}
	return nil
}

// holder returns the other record that has the value: one that took it in this
// change, or one that had it before and keeps it.
func holder[I comparable, V comparable](self I, base, next table[V, I], v V, keeps func(I) bool) (other I, ok bool) {
	if id, ok := next.get(v); ok && id != self {
		return id, true
	}
	if id, ok := base.get(v); ok && id != self && keeps(id) {
		return id, true
	}
	return other, false
}

func checkHash(path string, h auth.Hash, self Key, base, next *Snapshot) error {
	if k, ok := holder(self, base.hashes, next.hashes, h, func(k Key) bool {
		switch k.Kind {
		case KindToken:
			t, ok := next.GetToken(auth.TokenID(k.ID))
			return ok && t.Hash == h
		case KindFeed:
			f, ok := next.GetFeed(FeedID(k.ID))
			return ok && f.Hash == h
		default:
		}
		in, ok := next.GetIntegration(catalog.IntegrationID(k.ID))
		return ok && in.KeyHash == h
	}); ok {
		return taken(path, k)
	}
	return nil
}

func checkDevice(d *Device, base, next *Snapshot) error {
	if id, ok := holder(d.ID, base.address, next.address, d.Address.Lookup, func(id roster.DeviceID) bool {
		o, ok := next.GetDevice(id)
		return ok && o.Address.Lookup == d.Address.Lookup
	}); ok && d.Address.Kind != 0 {
		return taken("address", Key{KindDevice, string(id)})
	}
	if id, ok := holder(d.ID, base.installs, next.installs, d.Install, func(id roster.DeviceID) bool {
		o, ok := next.GetDevice(id)
		return ok && o.Install == d.Install
	}); ok && d.Install != "" {
		return taken("install_id", Key{KindDevice, string(id)})
	}
	// A key that is there already is no reason to keep the device from being
	// revoked, or found dead: nothing is sealed for one that is none.
	old, known := base.GetDevice(d.ID)
	if fresh := !known || !bytes.Equal(old.SealKey, d.SealKey); fresh && len(d.SealKey) > 0 && seal.CheckKey(d.SealKey) != nil {
		return fault.InvalidField("seal_key", "is no uncompressed point of P-256, which is %d bytes long and begins with 4", seal.KeySize)
	}
	if n := len(inForce(next.DevicesOf(d.User))); n > MaxDevices {
		return fault.New(fault.Precondition, "TOO_MANY_DEVICES",
			fmt.Sprintf("the person has %d devices already; revoke one first", n-1), "user", "users/"+string(d.User))
	}
	return nil
}

func taken(path string, by Key) error {
	fix := "taken by " + by.String()
	return &fault.Error{
		Kind: fault.Exists, Reason: "ALREADY_EXISTS", Message: path + ": " + fix,
		Meta: map[string]string{"field": path, "taken_by": by.String()}, Fields: []fault.Field{{Path: path, Fix: fix}},
	}
}

func inForce(devices []*Device) []*Device {
	return slices.DeleteFunc(slices.Clone(devices), func(d *Device) bool { return d.State == roster.DeviceRevoked })
}

// Referrers returns what refers to the record and would keep it from being deleted.
func (s *Snapshot) Referrers(k Key) []Key {
	var out []Key
	for _, kind := range []Kind{KindUser, KindTeam, KindService, KindIntegration, KindPolicy, KindSchedule, KindOverride, KindShadow, KindCover, KindToken, KindFeed, KindDevice, KindDrillPlan, KindVacations, KindSettings} {
		if belongs(kind, k.Kind) {
			continue
		}
		refs, _ := s.referrer.get(reference{k, kind})
		for id := range refs.all() {
			out = append(out, Key{kind, id})
		}
	}
	return out
}

// checkUnused refuses to delete what is still referred to.
func checkUnused(ctx context.Context, k Key, next *Snapshot, inUse InUse, now time.Time) error {
	var by []string
	for _, ref := range next.Referrers(k) {
		if r, _ := next.records[ref.Kind].get(ref.ID); !over(r, now) {
			by = append(by, ref.String())
		}
	}
	if len(by) == 0 && inUse != nil {
		switch k.Kind {
		case KindService, KindPolicy, KindUser:
			open, err := inUse(ctx, k)
			if err != nil {
				return fmt.Errorf("look for open incidents of %s: %w", k, err)
			}
			by = open
		default: // no incident names the others
		}
	}
	if len(by) == 0 {
		return nil
	}
	list := names(by)
	return fault.New(fault.Precondition, "IN_USE", k.String()+" is in use by "+list, "name", k.String(), "used_by", list)
}

// unreachable returns the people of the list who cannot be paged, with the
// reason, and whether at least one can.
func (s *Snapshot) unreachable(people []roster.UserID) (dead []string, ok bool) {
	for _, id := range people {
		u, known := s.User(id)
		switch {
		case !known:
			dead = append(dead, string(id)+" (unknown)")
		case u.Inactive:
			dead = append(dead, string(id)+" (inactive)")
		case !u.Reachable(true, s.Devices(id)):
			dead = append(dead, string(id)+" ("+s.whyUnreachable(id)+")")
		default:
			ok = true
		}
	}
	return dead, ok
}

// pagesNobody returns the fault of a policy at none of whose levels anybody
// can be reached, nil when somebody can. Of a schedule everybody counts who takes turns.
func (s *Snapshot) pagesNobody(p *Policy) error {
	var people []roster.UserID
	for _, l := range p.Levels {
		for _, t := range l.Targets {
			people = append(people, s.mayHold(t)...)
		}
	}
	slices.Sort(people)
	dead, ok := s.unreachable(slices.Compact(people))
	if ok {
		return nil
	}
	return nobody(p.key(), "levels", dead)
}

// catchesNobody is pagesNobody for the catch-all.
func (s *Snapshot) catchesNobody(set *Settings) error {
	dead, ok := s.unreachable(set.CatchAll)
	if ok {
		return nil
	}
	return nobody(set.key(), "catch_all", dead)
}

func nobody(k Key, path string, dead []string) error {
	who := cmp.Or(names(dead), "nobody is named")
	return &fault.Error{
		Kind: fault.Precondition, Reason: "PAGES_NOBODY", Message: k.String() + " would page nobody: " + who,
		Meta: map[string]string{"name": k.String(), "people": who}, Fields: []fault.Field{{Path: path, Fix: "would page nobody: " + who}},
	}
}

// Unreachable is somebody whom a policy or the catch-all counts on and who
// cannot be paged.
type Unreachable struct {
	User roster.UserID
	By   []Key // what counts on him
	Why  string
}

// Unreachable returns everybody who is counted on and cannot be paged, or only
// by devices that have not been heard of for long, for `tocsin status` and the
// log of a start. Those devices are paged all the same.
func (s *Snapshot) Unreachable() []Unreachable {
	var out []Unreachable
	for id, by := range s.counted() {
		if why := s.doubt(id); why != "" {
			out = append(out, Unreachable{User: id, By: by, Why: why})
		}
	}
	slices.SortFunc(out, func(a, b Unreachable) int { return cmp.Compare(a.User, b.User) })
	return out
}

// doubt says why somebody cannot be paged, or not for sure; "" when nothing is
// wrong.
func (s *Snapshot) doubt(id roster.UserID) string {
	if dead, ok := s.unreachable([]roster.UserID{id}); !ok {
		return strings.TrimSuffix(strings.TrimPrefix(dead[0], string(id)+" ("), ")")
	}
	sure := slices.DeleteFunc(s.Devices(id), func(d roster.Device) bool { return d.State == roster.DeviceUnverified })
	if u, _ := s.User(id); !u.Reachable(true, sure) {
		return "only by a device that has not been heard of for long: open the app on it"
	}
	return ""
}

// Ready returns nil when a catch-all exists who can be paged; otherwise what is missing.
func (s *Snapshot) Ready() error { return s.catchesNobody(s.GetSettings()) }

// Warnings says what is doubtful about a policy, one sentence each.
func (s *Snapshot) Warnings(p *Policy) []string {
	var out []string
	level := map[string]int{}
	for i, l := range p.Levels {
		if l.Delay < shortLevel && s.pace.FastestLevel >= escalation.MinDelay {
			out = append(out, fmt.Sprintf("level %d has %s: a phone needs about 3m to ring", i+1, span(l.Delay)))
		}
		var people []roster.UserID
		for _, t := range l.Targets {
			people = append(people, s.mayHold(t)...)
			if t.Kind != escalation.UserTarget {
				continue
			}
			if at, ok := level[t.ID]; ok && at != i {
				out = append(out, fmt.Sprintf("%s is on level %d and on level %d", t.ID, at+1, i+1))
			} else {
				level[t.ID] = i
			}
		}
		if dead, ok := s.unreachable(people); !ok {
			out = append(out, fmt.Sprintf("nobody can be reached on level %d: %s", i+1, names(dead)))
		}
	}
	return out
}
