package directory

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// The stored forms. Each has exactly the fields of the value it stands for, so
// that a plain conversion compiles only while none is forgotten; the tags are
// what is stored, and are never changed.
type (
	storedUser struct {
		ID       roster.UserID     `json:"id"`
		Name     string            `json:"name"`
		Email    string            `json:"email,omitempty"`
		Zone     string            `json:"zone,omitempty"`
		Locale   string            `json:"locale,omitempty"`
		Role     roster.Role       `json:"role"`
		Inactive bool              `json:"inactive,omitempty"`
		Methods  []roster.Method   `json:"methods,omitempty"`
		High     []roster.Step     `json:"high,omitempty"`
		Low      []roster.Step     `json:"low,omitempty"`
		Quiet    roster.QuietHours `json:"quiet,omitzero"`
		Privacy  roster.Privacy    `json:"privacy,omitempty"`
		Remind   roster.Reminder   `json:"remind,omitzero"`
	}
	storedTeam struct {
		ID       roster.TeamID   `json:"id"`
		Name     string          `json:"name"`
		Members  []roster.UserID `json:"members,omitempty"`
		Managers []roster.UserID `json:"managers,omitempty"`
	}
	storedService struct {
		ID           catalog.ServiceID    `json:"id"`
		Name         string               `json:"name"`
		Team         roster.TeamID        `json:"team,omitempty"`
		Policy       escalation.PolicyID  `json:"policy"`
		Disabled     bool                 `json:"disabled,omitempty"`
		Urgency      catalog.UrgencyRule  `json:"urgency,omitempty"`
		Hours        catalog.SupportHours `json:"hours,omitzero"`
		MinSeverity  event.Severity       `json:"min_severity,omitempty"`
		AckTimeout   time.Duration        `json:"ack_timeout,omitempty"`
		AckReminder  time.Duration        `json:"ack_reminder,omitempty"`
		AutoResolve  time.Duration        `json:"auto_resolve,omitempty"`
		ReopenWindow time.Duration        `json:"reopen_window,omitempty"`
		KeyScope     catalog.KeyScope     `json:"key_scope,omitempty"`
		Privacy      roster.Privacy       `json:"privacy,omitempty"`
	}
	storedPolicy struct {
		ID          escalation.PolicyID `json:"id"`
		Version     int64               `json:"version"`
		Name        string              `json:"name"`
		Team        roster.TeamID       `json:"team,omitempty"`
		Levels      []escalation.Level  `json:"levels"`
		Loops       int                 `json:"loops,omitempty"`
		Fallback    []escalation.Target `json:"fallback,omitempty"`
		EscalateLow bool                `json:"escalate_low,omitempty"`
		HandOff     escalation.HandOff  `json:"hand_off,omitempty"`
	}
	storedSchedule struct {
		ID        schedule.ID         `json:"id"`
		Name      string              `json:"name"`
		Zone      string              `json:"zone"`
		Team      roster.TeamID       `json:"team,omitempty"`
		Layers    []schedule.Layer    `json:"layers,omitempty"`
		Overrides []schedule.Override `json:"-"` // records of their own
		Shadows   []schedule.Shadow   `json:"-"` // records of their own
		Response  time.Duration       `json:"response,omitempty"`
		Replaced  []schedule.Version  `json:"replaced,omitempty"`
	}
	storedOverride struct {
		schedule.Override
		Schedule schedule.ID `json:"schedule"`
		Meta     `json:"-"`
	}
	storedShadow struct {
		schedule.Shadow
		Schedule schedule.ID `json:"schedule,omitempty"`
		Meta     `json:"-"`
	}
	storedCover struct {
		schedule.Cover
		Theirs    schedule.Part         `json:"theirs,omitzero"`
		Overrides []schedule.OverrideID `json:"overrides,omitempty"`
		Meta      `json:"-"`
	}
	storedToken struct {
		ID      auth.TokenID  `json:"id"`
		Name    string        `json:"name,omitempty"`
		Hash    auth.Hash     `json:"hash"`
		User    roster.UserID `json:"user,omitempty"`
		Role    roster.Role   `json:"role,omitempty"`
		Scopes  []auth.Scope  `json:"scopes,omitempty"`
		Expires time.Time     `json:"expires,omitzero"`
		By      string        `json:"by,omitempty"`
		Revoked time.Time     `json:"revoked,omitzero"`
	}
	storedSettings struct {
		CatchAll  []roster.UserID `json:"catch_all,omitempty"`
		Privacy   roster.Privacy  `json:"privacy,omitempty"`
		Held      bool            `json:"held,omitempty"`
		HeldBy    string          `json:"held_by,omitempty"`
		HeldSince time.Time       `json:"held_since,omitzero"`

		OverdueBefore time.Time `json:"overdue_before,omitzero"`
		OverdueNotice string    `json:"overdue_notice,omitempty"`
		Resumed       time.Time `json:"resumed,omitzero"`
	}
	storedIntegration struct {
		ID       catalog.IntegrationID `json:"id"`
		Service  catalog.ServiceID     `json:"service"`
		Name     string                `json:"name,omitempty"`
		Source   string                `json:"source,omitempty"`
		Hash     auth.Hash             `json:"hash"`
		Options  map[string]string     `json:"options,omitempty"`
		Disabled bool                  `json:"disabled,omitempty"`
		Hint     string                `json:"hint,omitempty"`
	}
	storedFeed struct {
		ID       FeedID        `json:"id"`
		Hash     auth.Hash     `json:"hash"`
		Hint     string        `json:"hint,omitempty"`
		Owner    roster.UserID `json:"owner"`
		User     roster.UserID `json:"user,omitempty"`
		Team     roster.TeamID `json:"team,omitempty"`
		Schedule schedule.ID   `json:"schedule,omitempty"`
		Revoked  time.Time     `json:"revoked,omitzero"`
		Meta     `json:"-"`
	}
	storedDevice struct {
		roster.Device
		Install     string       `json:"install,omitempty"`
		App         string       `json:"app,omitempty"`
		Environment Environment  `json:"env,omitempty"`
		Confirmed   bool         `json:"confirmed,omitempty"`
		Address     Address      `json:"address,omitzero"`
		Claim       *Claim       `json:"claim,omitempty"`
		SealKey     []byte       `json:"seal_key,omitempty"`
		SealKeyID   string       `json:"seal_key_id,omitempty"`
		SealKeyAt   time.Time    `json:"seal_key_at,omitzero"`
		SealFailed  time.Time    `json:"seal_failed,omitzero"`
		UnlockKey   []byte       `json:"unlock_key,omitempty"`
		Locale      string       `json:"locale,omitempty"`
		Zone        string       `json:"zone,omitempty"`
		AppVersion  string       `json:"app_version,omitempty"`
		OSVersion   string       `json:"os_version,omitempty"`
		Model       string       `json:"model,omitempty"`
		Can         Capabilities `json:"can,omitzero"`
		Permission  Permission   `json:"permission,omitempty"`
		StateReason string       `json:"state_reason,omitempty"`
		Epoch       uint32       `json:"epoch,omitempty"`
		Credential  auth.Hash    `json:"credential"`
		Meta        `json:"-"`
	}
	storedDrillPlan struct {
		ID     drill.PlanID        `json:"id"`
		Name   string              `json:"name"`
		Team   roster.TeamID       `json:"team,omitempty"`
		People []escalation.Target `json:"people"`
		Every  time.Duration       `json:"every"`
		Days   []time.Weekday      `json:"days"`
		Start  time.Duration       `json:"start"`
		End    time.Duration       `json:"end"`
		Limit  time.Duration       `json:"limit"`
		Night  bool                `json:"night,omitempty"`
		OnCall time.Duration       `json:"on_call,omitempty"`
		Seed   string              `json:"seed"`
	}
	storedVacations struct {
		User   roster.UserID `json:"user"`
		Sealed []byte        `json:"sealed"`
		Host   string        `json:"host,omitempty"`
		Away   []Away        `json:"away,omitempty"`
		Meta   `json:"-"`
	}
	storedInternal struct {
		ID     string `json:"id"`
		Sealed []byte `json:"sealed,omitempty"`
		Meta   `json:"-"`
	}
	// envelope is a payload: the value, and that it is a tombstone.
	envelope struct {
		Value        any       `json:"v"`
		HeldReason   string    `json:"held_reason,omitempty"`  // of settings
		Organization string    `json:"organization,omitempty"` // of settings
		Hint         string    `json:"hint,omitempty"`         // of a token
		Deleted      time.Time `json:"deleted,omitzero"`
		Mark         Mark      `json:"mark,omitzero"`
	}
)

// encode returns the payload of a record.
func encode(r Record) ([]byte, error) {
	e := envelope{Deleted: r.meta().Deleted, Mark: r.meta().Mark}
	switch r := r.(type) {
	case *User:
		e.Value = storedUser(r.User)
	case *Team:
		e.Value = storedTeam(r.Team)
	case *Service:
		e.Value = storedService(r.Service)
	case *Integration:
		e.Value = storeIntegration(r)
	case *Policy:
		e.Value = storedPolicy(r.Policy)
	case *Version:
		e.Value = storedPolicy(r.Policy)
	case *Schedule:
		e.Value = storedSchedule(r.Schedule)
	case *Override:
		e.Value = storedOverride(*r)
	case *Shadow:
		e.Value = storedShadow(*r)
	case *Cover:
		e.Value = storedCover(*r)
	case *Token:
		e.Value, e.Hint = storedToken(r.Token), r.Hint
	case *Feed:
		e.Value = storedFeed(*r)
	case *Device:
		e.Value = storeDevice(r)
	case *DrillPlan:
		e.Value = storedDrillPlan(r.Plan)
	case *Vacations:
		e.Value = storedVacations(*r)
	case *Settings:
		e.Value, e.Organization, e.HeldReason = storedSettings(r.Settings), r.Organization, r.HeldReason
	case *internal:
		e.Value = storedInternal(*r)
	}
	payload, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.key(), err)
	}
	return payload, nil
}

// decode reads a record. One of a kind that this version does not know is nil
// without an error: a newer server wrote it, and this one does without.
func decode(s Stored) (Record, error) {
	var e envelope
	read := func(value any) error {
		e.Value = value
		if err := json.Unmarshal(s.Payload, &e); err != nil {
			return fmt.Errorf("decode %s: %w", s.Key, err)
		}
		return nil
	}
	r, err := decodeValue(s, read)
	if err != nil || r == nil {
		return nil, err
	}
	switch r := r.(type) {
	case *Settings:
		r.Organization, r.HeldReason = e.Organization, e.HeldReason
	case *Token:
		r.Hint = e.Hint
	}
	*r.meta() = Meta{Created: s.Created.UTC(), Updated: s.Updated.UTC(), Revision: s.Revision, Deleted: e.Deleted, Mark: e.Mark}
	return r, nil
}

func decodeValue(s Stored, read func(any) error) (Record, error) {
	switch s.Kind {
	case KindUser:
		var v storedUser
		err := read(&v)
		return &User{User: roster.User(v)}, err
	case KindTeam:
		var v storedTeam
		err := read(&v)
		return &Team{Team: roster.Team(v)}, err
	case KindService:
		var v storedService
		err := read(&v)
		return &Service{Service: catalog.Service(v)}, err
	case KindIntegration:
		var v storedIntegration
		err := read(&v)
		return v.integration(), err
	case KindPolicy:
		var v storedPolicy
		err := read(&v)
		return &Policy{Policy: escalation.Policy(v)}, err
	case KindVersion:
		var v storedPolicy
		err := read(&v)
		return &Version{Policy: escalation.Policy(v)}, err
	case KindSchedule:
		var v storedSchedule
		err := read(&v)
		return &Schedule{Schedule: schedule.Schedule(v)}, err
	case KindOverride:
		var v storedOverride
		err := read(&v)
		o := Override(v)
		return &o, err
	case KindShadow:
		var v storedShadow
		err := read(&v)
		h := Shadow(v)
		return &h, err
	case KindCover:
		var v storedCover
		err := read(&v)
		c := Cover(v)
		return &c, err
	case KindToken:
		var v storedToken
		err := read(&v)
		return &Token{Token: auth.Token(v)}, err
	case KindFeed:
		var v storedFeed
		err := read(&v)
		f := Feed(v)
		return &f, err
	case KindDevice:
		var v storedDevice
		err := read(&v)
		d := Device(v)
		return &d, err
	case KindDrillPlan:
		var v storedDrillPlan
		err := read(&v)
		return &DrillPlan{Plan: drill.Plan(v)}, err
	case KindVacations:
		var v storedVacations
		err := read(&v)
		a := Vacations(v)
		return &a, err
	case KindSettings:
		var v storedSettings
		err := read(&v)
		return &Settings{Settings: catalog.Settings(v)}, err
	case kindInternal:
		var v storedInternal
		err := read(&v)
		i := internal(v)
		return &i, err
	default:
		return nil, nil //nolint:nilnil // documented: a kind that this version does not know
	}
}

func storeIntegration(i *Integration) storedIntegration {
	return storedIntegration{
		ID: i.ID, Service: i.Service, Name: i.Name, Source: i.Source, Hash: i.KeyHash,
		Options: i.Options, Disabled: i.Disabled, Hint: i.Hint,
	}
}

func (v storedIntegration) integration() *Integration {
	return &Integration{Integration: catalog.Integration{
		ID: v.ID, Service: v.Service, Name: v.Name, Source: v.Source, KeyHash: v.Hash,
		Options: v.Options, Disabled: v.Disabled,
	}, Hint: v.Hint}
}

func storeDevice(d *Device) storedDevice { return storedDevice(*d) }
