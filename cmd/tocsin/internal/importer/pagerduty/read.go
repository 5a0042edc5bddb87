package pagerduty

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
)

// The objects of the API, as far as they are read.
type (
	answer struct {
		Users    []user     `json:"users"`
		Teams    []team     `json:"teams"`
		Members  []member   `json:"members"`
		Rotas    []rota     `json:"schedules"`
		Covers   []override `json:"overrides"`
		Policies []policy   `json:"escalation_policies"`
		Services []service  `json:"services"`

		User    *user    `json:"user"`
		Team    *team    `json:"team"`
		Rota    *rota    `json:"schedule"`
		Policy  *policy  `json:"escalation_policy"`
		Service *service `json:"service"`

		More bool `json:"more"`
	}
	reference struct {
		ID      string `json:"id"`
		Type    string `json:"type"`
		Summary string `json:"summary"`
		Name    string `json:"name"`
	}
	user struct {
		ID       string      `json:"id"`
		Name     string      `json:"name"`
		Email    string      `json:"email"`
		TimeZone string      `json:"time_zone"`
		Role     string      `json:"role"`
		Teams    []reference `json:"teams"`
		Contacts []contact   `json:"contact_methods"`
		Rules    []rule      `json:"notification_rules"`
	}
	contact struct {
		ID      string `json:"id"`
		Type    string `json:"type"`
		Summary string `json:"summary"`
		Label   string `json:"label"`
		Address string `json:"address"`
	}
	rule struct {
		ID      string  `json:"id"`
		Type    string  `json:"type"`
		Delay   int     `json:"start_delay_in_minutes"`
		Contact contact `json:"contact_method"`
		Urgency string  `json:"urgency"`
	}
	team struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	member struct {
		User reference `json:"user"`
		Role string    `json:"role"`
	}
	rota struct {
		ID       string      `json:"id"`
		Name     string      `json:"name"`
		TimeZone string      `json:"time_zone"`
		Teams    []reference `json:"teams"`
		Layers   []layer     `json:"schedule_layers"` // the top one first
		Final    rendered    `json:"final_schedule"`
		Covers   []override  `json:"overrides"` // put there by who fetched it
	}
	layer struct {
		ID    string    `json:"id"`
		Name  string    `json:"name"`
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
		First time.Time `json:"rotation_virtual_start"`
		Turn  int64     `json:"rotation_turn_length_seconds"`
		Users []struct {
			User reference `json:"user"`
		} `json:"users"`
		Hours []restriction `json:"restrictions"`
	}
	restriction struct {
		Type   string `json:"type"`
		Start  string `json:"start_time_of_day"`
		Day    int    `json:"start_day_of_week"` // Monday 1 to Sunday 7
		Length int64  `json:"duration_seconds"`
	}
	rendered struct {
		Entries []override `json:"rendered_schedule_entries"`
	}
	override struct {
		ID    string    `json:"id"`
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
		User  reference `json:"user"`
	}
	policy struct {
		ID    string      `json:"id"`
		Name  string      `json:"name"`
		Loops int         `json:"num_loops"`
		Teams []reference `json:"teams"`
		Rules []struct {
			Delay    int         `json:"escalation_delay_in_minutes"`
			Targets  []reference `json:"targets"`
			Strategy strategy    `json:"escalation_rule_assignment_strategy"`
		} `json:"escalation_rules"`
	}
	service struct {
		ID           string        `json:"id"`
		Name         string        `json:"name"`
		Status       string        `json:"status"`
		AckTimeout   *int64        `json:"acknowledgement_timeout"` // seconds; null: never
		AutoResolve  *int64        `json:"auto_resolve_timeout"`    // seconds; null: never
		Policy       reference     `json:"escalation_policy"`
		Teams        []reference   `json:"teams"`
		Integrations []integration `json:"integrations"`
		Urgency      urgency       `json:"incident_urgency_rule"`
		Hours        *hours        `json:"support_hours"`
		Grouping     struct {
			Type string `json:"type"`
		} `json:"alert_grouping_parameters"`
		Pause struct {
			Enabled bool `json:"enabled"`
		} `json:"auto_pause_notifications_parameters"`
	}
	urgency struct {
		Type    string   `json:"type"`
		Urgency string   `json:"urgency"`
		During  *urgency `json:"during_support_hours"`
		Outside *urgency `json:"outside_support_hours"`
	}
	hours struct {
		TimeZone string `json:"time_zone"`
		Start    string `json:"start_time"`
		End      string `json:"end_time"`
		Days     []int  `json:"days_of_week"`
	}
	integration struct {
		ID      string `json:"id"`
		Type    string `json:"type"`
		Name    string `json:"name"`
		Summary string `json:"summary"`
		Key     string `json:"integration_key"`
	}
)

// strategy is an object with a type on the wire, and a plain word in the schema.
type strategy string

// UnmarshalJSON takes both forms.
func (s *strategy) UnmarshalJSON(text []byte) error {
	var object struct {
		Type strategy `json:"type"`
	}
	var word string
	if err := json.Unmarshal(text, &word); err == nil {
		*s = strategy(word)
		return nil
	}
	err := json.Unmarshal(text, &object)
	*s = object.Type
	return err
}

// account is everything that the files hold, each object once.
type account struct {
	users    []user
	teams    []team
	members  map[string][]member // by team
	rotas    []rota
	covers   map[string][]override // by schedule
	policies []policy
	services []service
	partial  []string // files whose answer says that more pages follow
	stray    []string // files that do not say whose they are
}

// read takes the objects out of the files. An object that comes twice counts as
// it comes last, a schedule as it comes last with its layers.
func read(files []importer.File) (*account, error) {
	a := &account{members: map[string][]member{}, covers: map[string][]override{}}
	for _, f := range files {
		var w answer
		if err := json.Unmarshal(f.Text, &w); err != nil {
			return nil, fmt.Errorf("read %s: it is no answer of PagerDuty's REST API: %w", f.Name, err)
		}
		a.take(f.Name, w)
	}
	return a, nil
}

func (a *account) take(file string, w answer) {
	if w.More {
		a.partial = append(a.partial, file)
	}
	put(&a.users, append(w.Users, single(w.User)...), func(u user) string { return u.ID })
	put(&a.teams, append(w.Teams, single(w.Team)...), func(t team) string { return t.ID })
	put(&a.policies, append(w.Policies, single(w.Policy)...), func(p policy) string { return p.ID })
	put(&a.services, append(w.Services, single(w.Service)...), func(s service) string { return s.ID })
	for _, r := range append(w.Rotas, single(w.Rota)...) {
		a.covers[r.ID] = append(a.covers[r.ID], r.Covers...)
		if len(r.Layers) == 0 && slices.ContainsFunc(a.rotas, func(old rota) bool { return old.ID == r.ID }) {
			continue // a list without the layers, after the whole schedule
		}
		put(&a.rotas, []rota{r}, func(r rota) string { return r.ID })
	}
	stray := false
	if of, ok := strings.CutPrefix(file, "members-"); ok {
		a.members[of] = append(a.members[of], w.Members...)
	} else {
		stray = len(w.Members) > 0
	}
	if of, ok := strings.CutPrefix(file, "overrides-"); ok {
		a.covers[of] = append(a.covers[of], w.Covers...)
	} else {
		stray = stray || len(w.Covers) > 0
	}
	if stray {
		a.stray = append(a.stray, file)
	}
}

func single[T any](v *T) []T {
	if v == nil {
		return nil
	}
	return []T{*v}
}

// put adds objects, in place of those with the same id.
func put[T any](all *[]T, more []T, id func(T) string) {
next:
	for _, m := range more {
		for i, old := range *all {
			if id(old) == id(m) {
				(*all)[i] = m
				continue next
			}
		}
		*all = append(*all, m)
	}
}
