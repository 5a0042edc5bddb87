package directory

// Document is the configuration as YAML, for `tocsin apply` and `tocsin
// export`. Its keys are the names that the API gives to the same fields, and
// `id` and `name` where the API has the last part of the resource name and the
// display name. Durations are written as "5m", times of day as "22:00", people
// and other records by their id.
//
// What a document does not name stays as it is: only pruning deletes, and only
// what its own folder has declared (see Mark). Of a person, every key that is
// left out keeps what the person has, and so does every contact method that is,
// because people change how they are woken themselves; of everything else, a
// key that is left out means its default.
type Document struct {
	People    []PersonDoc   `yaml:"people,omitempty"`
	Teams     []TeamDoc     `yaml:"teams,omitempty"`
	Schedules []ScheduleDoc `yaml:"schedules,omitempty"`
	Policies  []PolicyDoc   `yaml:"policies,omitempty"`
	Services  []ServiceDoc  `yaml:"services,omitempty"`
	Drills    []DrillDoc    `yaml:"drills,omitempty"`
	Settings  *SettingsDoc  `yaml:"settings,omitempty"`
}

// The parts of a Document. Pointers and slices that are nil were left out.
type (
	// PersonDoc is a person with contact methods and notification rules.
	PersonDoc struct {
		ID       string       `yaml:"id"`
		Name     string       `yaml:"name"`
		Email    string       `yaml:"email"`
		Role     *string      `yaml:"role,omitempty"` // admin, responder, stakeholder; new: responder
		Inactive *bool        `yaml:"inactive,omitempty"`
		TimeZone *string      `yaml:"time_zone,omitempty"`
		Locale   *string      `yaml:"locale,omitempty"`
		Privacy  *string      `yaml:"privacy,omitempty"` // full, title, minimal, sealed
		Methods  []MethodDoc  `yaml:"contact_methods,omitempty"`
		High     []StepDoc    `yaml:"high_steps,omitempty"`
		Low      []StepDoc    `yaml:"low_steps,omitempty"`
		Quiet    *QuietDoc    `yaml:"quiet_hours,omitempty"`
		Reminder *ReminderDoc `yaml:"reminder,omitempty"`
	}
	// MethodDoc is a contact method. Verified counts for a method that is new:
	// the administrator vouches for it. Of one that is there, it is never changed.
	MethodDoc struct {
		ID         string `yaml:"id"`
		Kind       string `yaml:"kind"` // email, webhook, push
		Address    string `yaml:"address,omitempty"`
		Device     string `yaml:"device,omitempty"`
		Verified   bool   `yaml:"verified,omitempty"`
		SigningKey string `yaml:"signing_key,omitempty"` // of a webhook; made when it is new and has none
	}
	// StepDoc is one step of a notification rule: when, and by which contact method.
	StepDoc struct {
		Delay  string `yaml:"delay,omitempty"`
		Method string `yaml:"contact_method"`
		Loud   bool   `yaml:"loud,omitempty"`
	}
	// QuietDoc are the quiet hours of a person, as times of day in the person's zone.
	QuietDoc struct {
		Start string `yaml:"start"`
		End   string `yaml:"end"`
	}
	// ReminderDoc says how often a person is reminded, and until when.
	ReminderDoc struct {
		Interval     string `yaml:"interval,omitempty"`
		UntilResolve bool   `yaml:"until_resolve,omitempty"`
	}
	// TeamDoc is a team, the ids of its members, and of those who manage it.
	TeamDoc struct {
		ID       string   `yaml:"id"`
		Name     string   `yaml:"name"`
		Members  []string `yaml:"members,omitempty"`
		Managers []string `yaml:"managers,omitempty"`
	}
	// ScheduleDoc is a schedule. Overrides and shadows that people make by hand
	// are no part of it.
	ScheduleDoc struct {
		ID       string     `yaml:"id"`
		Name     string     `yaml:"name"`
		Team     string     `yaml:"team,omitempty"`
		TimeZone string     `yaml:"time_zone"`
		Layers   []LayerDoc `yaml:"layers,omitempty"`
		Response string     `yaml:"response_target,omitempty"`
	}
	// LayerDoc is people who take turns. Instants are written as 2026-03-02T08:00:00Z.
	LayerDoc struct {
		ID           string           `yaml:"id"`
		Name         string           `yaml:"name,omitempty"`
		Priority     int              `yaml:"priority,omitempty"`
		TimeZone     string           `yaml:"time_zone,omitempty"`
		Start        string           `yaml:"start_time,omitempty"`
		End          string           `yaml:"end_time,omitempty"`
		Rotation     RotationDoc      `yaml:"rotation"`
		Participants []string         `yaml:"participants"`     // "" is a turn that is nobody's
		Offset       int              `yaml:"offset,omitempty"` // whose turn begins at the hand-off of a new rotation, from 0
		Restrictions []RestrictionDoc `yaml:"restrictions,omitempty"`
		Shadows      *ShadowsDoc      `yaml:"shadows,omitempty"`
	}
	// RotationDoc says how often a turn passes on: every length units, counted
	// from a hand-off in civil time, "2026-03-02T09:00".
	RotationDoc struct {
		Unit    string `yaml:"unit"`             // hours, days, weeks, months
		Length  int    `yaml:"length,omitempty"` // default: 1
		Handoff string `yaml:"handoff"`
	}
	// RestrictionDoc is hours to which a layer is held.
	RestrictionDoc struct {
		Days   []string `yaml:"days,omitempty"` // monday … sunday; default: every day
		Start  string   `yaml:"start"`
		Length string   `yaml:"length"`
	}
	// ShadowsDoc is people who follow the participants of a layer, each the one
	// in the same place.
	ShadowsDoc struct {
		Participants []string `yaml:"participants"`
		Mode         string   `yaml:"mode,omitempty"` // observe, practise, duty
		Start        string   `yaml:"start_time,omitempty"`
		End          string   `yaml:"end_time,omitempty"`
	}
	// PolicyDoc is an escalation policy; a change makes a new version.
	PolicyDoc struct {
		ID          string     `yaml:"id"`
		Name        string     `yaml:"name"`
		Team        string     `yaml:"team,omitempty"`
		Levels      []LevelDoc `yaml:"levels"`
		Loops       int        `yaml:"loops,omitempty"`
		Fallback    []string   `yaml:"fallback,omitempty"`
		EscalateLow bool       `yaml:"escalate_low,omitempty"`
		HandOff     string     `yaml:"hand_off,omitempty"` // add, keep, move
	}
	// LevelDoc is one level of a policy: whom it asks, and after how long the next one is.
	LevelDoc struct {
		Targets  []string `yaml:"targets"`
		Delay    string   `yaml:"delay"`
		Strategy string   `yaml:"strategy,omitempty"` // everyone, round_robin
		MultiAck bool     `yaml:"multi_acknowledge,omitempty"`
	}
	// ServiceDoc is a service with its integrations.
	ServiceDoc struct {
		ID           string           `yaml:"id"`
		Name         string           `yaml:"name"`
		Team         string           `yaml:"team,omitempty"`
		Policy       string           `yaml:"escalation_policy"`
		Disabled     bool             `yaml:"disabled,omitempty"`
		Urgency      string           `yaml:"urgency_rule,omitempty"` // by_severity, high, low, by_support_hours
		Hours        *HoursDoc        `yaml:"support_hours,omitempty"`
		MinSeverity  string           `yaml:"min_severity,omitempty"` // critical, error, warning, info
		AckTimeout   string           `yaml:"acknowledge_timeout,omitempty"`
		AckReminder  string           `yaml:"acknowledge_reminder,omitempty"`
		AutoResolve  string           `yaml:"auto_resolve,omitempty"`
		ReopenWindow string           `yaml:"reopen_window,omitempty"`
		KeyScope     string           `yaml:"key_scope,omitempty"` // service, integration
		Privacy      string           `yaml:"privacy,omitempty"`
		Integrations []IntegrationDoc `yaml:"integrations,omitempty"`
	}
	// HoursDoc are the support hours of a service.
	HoursDoc struct {
		TimeZone string   `yaml:"time_zone"`
		Days     []string `yaml:"days"` // monday … sunday
		Start    string   `yaml:"start"`
		End      string   `yaml:"end"`
	}
	// IntegrationDoc is an integration of the service it stands in. Its key is
	// made when it is new and has none here, and shown once.
	IntegrationDoc struct {
		ID       string            `yaml:"id"`
		Name     string            `yaml:"name,omitempty"` // default: the id
		Source   string            `yaml:"source"`
		Key      string            `yaml:"key,omitempty"`
		Options  map[string]string `yaml:"options,omitempty"`
		Disabled bool              `yaml:"disabled,omitempty"`
	}
	// DrillDoc is a plan of fire drills: whom to drill, how often, and when.
	DrillDoc struct {
		ID       string         `yaml:"id"`
		Name     string         `yaml:"name"`
		Team     string         `yaml:"team,omitempty"`
		People   []string       `yaml:"people"`                   // users, schedules/ and teams/
		Interval string         `yaml:"interval,omitempty"`       // each person once in so long, in days; default: 28d
		Hours    *DrillHoursDoc `yaml:"hours,omitempty"`          // that were agreed on; default: monday to friday, 09:00 to 17:00
		Limit    string         `yaml:"limit,omitempty"`          // how long an answer is waited for; default: 5m
		Night    bool           `yaml:"night,omitempty"`          // may wake people between 22:00 and 08:00 of their own time
		OnCall   string         `yaml:"on_call_within,omitempty"` // only who is on call within so long; default: everybody
	}
	// DrillHoursDoc are hours of each person's own wall, in his own zone.
	DrillHoursDoc struct {
		Days  []string `yaml:"days,omitempty"` // monday … sunday; default: monday to friday
		Start string   `yaml:"start"`
		End   string   `yaml:"end"`
	}
	// SettingsDoc are the settings of the installation.
	SettingsDoc struct {
		Organization string   `yaml:"organization,omitempty"`
		CatchAll     []string `yaml:"catch_all,omitempty"`
		Privacy      string   `yaml:"privacy,omitempty"`
	}
)
