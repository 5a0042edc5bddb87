package directory

import (
	"slices"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Snapshot is the whole configuration at one position of the log. It never changes.
type Snapshot struct {
	position string
	pace     incident.Pace
	channels Channels
	zones    *zones

	records  map[Kind]table[string, Record]
	emails   table[string, roster.UserID]
	hashes   table[auth.Hash, Key] // of tokens and integration keys
	address  table[auth.Hash, roster.DeviceID]
	installs table[string, roster.DeviceID]
	referrer table[reference, set] // ids of the records of one kind that refer to one record
	latest   table[escalation.PolicyID, int64]
	counts   table[Kind, int]
	turns    table[schedule.ID, *turns]
}

// reference is "records of this kind that refer to that one".
type reference struct {
	To   Key
	Kind Kind
}

// Position returns the position of the log that the snapshot stands at.
func (s *Snapshot) Position() string { return s.position }

// find returns a record that is not a tombstone.
func find[R Record](s *Snapshot, kind Kind, id string) (R, bool) {
	r, ok := known[R](s, kind, id)
	if ok && !r.meta().Deleted.IsZero() {
		var none R
		return none, false
	}
	return r, ok
}

// known returns a record, tombstones included.
func known[R Record](s *Snapshot, kind Kind, id string) (R, bool) {
	var none R
	r, ok := s.records[kind].get(id)
	if !ok {
		return none, false
	}
	typed, ok := r.(R)
	return typed, ok
}

// Exists reports whether a record of that key is in force.
func (s *Snapshot) Exists(k Key) bool {
	r, ok := s.records[k.Kind].get(k.ID)
	return ok && r.meta().Deleted.IsZero()
}

// GetUser returns a person. The records that these methods return are shared: change a copy.
func (s *Snapshot) GetUser(id roster.UserID) (*User, bool) {
	return find[*User](s, KindUser, string(id))
}

// GetTeam returns a team.
func (s *Snapshot) GetTeam(id roster.TeamID) (*Team, bool) {
	return find[*Team](s, KindTeam, string(id))
}

// GetService returns a service.
func (s *Snapshot) GetService(id catalog.ServiceID) (*Service, bool) {
	return find[*Service](s, KindService, string(id))
}

// GetIntegration returns an integration.
func (s *Snapshot) GetIntegration(id catalog.IntegrationID) (*Integration, bool) {
	return find[*Integration](s, KindIntegration, string(id))
}

// GetPolicy returns the newest version of a policy.
func (s *Snapshot) GetPolicy(id escalation.PolicyID) (*Policy, bool) {
	return find[*Policy](s, KindPolicy, string(id))
}

// GetToken returns a token.
func (s *Snapshot) GetToken(id auth.TokenID) (*Token, bool) {
	return find[*Token](s, KindToken, string(id))
}

// GetDevice returns a device, a revoked one too.
func (s *Snapshot) GetDevice(id roster.DeviceID) (*Device, bool) {
	return find[*Device](s, KindDevice, string(id))
}

// GetSettings returns the settings; before the first change they have revision 0.
func (s *Snapshot) GetSettings() *Settings {
	if r, ok := find[*Settings](s, KindSettings, SettingsID); ok {
		return r
	}
	return &Settings{}
}

// UserByEmail returns the person with the address, however it is written.
func (s *Snapshot) UserByEmail(email string) (*User, bool) {
	id, ok := s.emails.get(foldEmail(email))
	if !ok {
		return nil, false
	}
	return s.GetUser(id)
}

// DeviceByAddress returns the device that is reached at the address.
func (s *Snapshot) DeviceByAddress(kind AddressKind, value string) (*Device, bool) {
	return s.DeviceByLookup(LookupOf(kind, value))
}

// DeviceByLookup returns the device that is reached at the address of that hash.
func (s *Snapshot) DeviceByLookup(lookup auth.Hash) (*Device, bool) {
	id, ok := s.address.get(lookup)
	if !ok {
		return nil, false
	}
	return s.GetDevice(id)
}

// DeviceByInstall returns the device of the app's own id.
func (s *Snapshot) DeviceByInstall(install string) (*Device, bool) {
	id, ok := s.installs.get(install)
	if !ok {
		return nil, false
	}
	return s.GetDevice(id)
}

// DevicesOf returns the devices of a person, oldest first, whatever their state.
func (s *Snapshot) DevicesOf(id roster.UserID) []*Device {
	refs, _ := s.referrer.get(reference{Key{KindUser, string(id)}, KindDevice})
	out := make([]*Device, 0, refs.size())
	for d := range refs.all() {
		if dev, ok := s.GetDevice(roster.DeviceID(d)); ok {
			out = append(out, dev)
		}
	}
	slices.SortFunc(out, func(a, b *Device) int { return older(a, b) })
	return out
}

// IntegrationsOf returns the integrations of a service, oldest first.
func (s *Snapshot) IntegrationsOf(id catalog.ServiceID) []*Integration {
	refs, _ := s.referrer.get(reference{Key{KindService, string(id)}, KindIntegration})
	out := make([]*Integration, 0, refs.size())
	for i := range refs.all() {
		if in, ok := s.GetIntegration(catalog.IntegrationID(i)); ok {
			out = append(out, in)
		}
	}
	slices.SortFunc(out, func(a, b *Integration) int { return older(a, b) })
	return out
}

// TeamsOf returns the teams that a person is in, sorted by id.
func (s *Snapshot) TeamsOf(id roster.UserID) []roster.TeamID {
	refs, _ := s.referrer.get(reference{Key{KindUser, string(id)}, KindTeam})
	out := make([]roster.TeamID, 0, refs.size())
	for t := range refs.all() {
		out = append(out, roster.TeamID(t))
	}
	slices.Sort(out)
	return out
}

// Managed returns the teams that a person manages, sorted by id.
func (s *Snapshot) Managed(id roster.UserID) []roster.TeamID {
	return slices.DeleteFunc(s.TeamsOf(id), func(t roster.TeamID) bool {
		team, ok := s.GetTeam(t)
		return !ok || !slices.Contains(team.Managers, id)
	})
}

// older orders records by creation, then id: the order of every list.
func older(a, b Record) int {
	if c := a.meta().Created.Compare(b.meta().Created); c != 0 {
		return c
	}
	return strings.Compare(a.key().ID, b.key().ID)
}

// foldEmail returns the form in which e-mail addresses are compared.
func foldEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// Members returns the people of a team; none of one that does not exist.
func (s *Snapshot) Members(id roster.TeamID) []roster.UserID {
	t, ok := s.GetTeam(id)
	if !ok {
		return nil
	}
	return slices.Clone(t.Members)
}
