package grafana

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
)

// The objects of the API, as far as they are read.
type (
	page[T any] struct {
		Results []T    `json:"results"`
		Next    string `json:"next"`
	}
	user struct {
		ID       string   `json:"id"`
		Email    string   `json:"email"`
		Username string   `json:"username"`
		Role     string   `json:"role"`
		TimeZone string   `json:"timezone"`
		Teams    []string `json:"teams"`
	}
	// telling is a personal notification rule: a way, or a pause before the next.
	telling struct {
		User      string   `json:"user_id"`
		Position  int      `json:"position"`
		Type      string   `json:"type"`     // wait, notify_by_email, notify_by_mobile_app, …
		Wait      *float64 `json:"duration"` // seconds
		Important bool     `json:"important"`
	}
	team struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	rota struct {
		ID       string   `json:"id"`
		Team     string   `json:"team_id"`
		Name     string   `json:"name"`
		Type     string   `json:"type"` // web, calendar, ical
		TimeZone string   `json:"time_zone"`
		Shifts   []string `json:"shifts"`
		Calendar string   `json:"ical_url_overrides"`
	}
	shift struct {
		ID       string     `json:"id"`
		Name     string     `json:"name"`
		Type     string     `json:"type"` // single_event, recurrent_event, rolling_users, override
		TimeZone *string    `json:"time_zone"`
		Level    int        `json:"level"`
		Start    stamp      `json:"start"`
		Duration int64      `json:"duration"` // seconds
		From     stamp      `json:"rotation_start"`
		Unit     string     `json:"frequency"` // hourly, daily, weekly, monthly
		Interval int        `json:"interval"`
		Until    stamp      `json:"until"`
		Week     string     `json:"week_start"` // MO … SU
		Days     []string   `json:"by_day"`
		Months   []int      `json:"by_month"`
		Dates    []int      `json:"by_monthday"`
		Users    []string   `json:"users"`
		Groups   [][]string `json:"rolling_users"`
		First    int        `json:"start_rotation_from_user_index"`
	}
	final struct {
		User  string    `json:"user_pk"`
		Start time.Time `json:"shift_start"`
		End   time.Time `json:"shift_end"`
	}
	chain struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Team string `json:"team_id"`
	}
	step struct {
		ID       string   `json:"id"`
		Chain    string   `json:"escalation_chain_id"`
		Position int      `json:"position"`
		Type     string   `json:"type"`
		Wait     *float64 `json:"duration"` // seconds
		Persons  []string `json:"persons_to_notify"`
		Next     []string `json:"persons_to_notify_next_each_time"`
		Rota     string   `json:"notify_on_call_from_schedule"`
		Team     string   `json:"team_to_notify"`
	}
	integration struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Team    string `json:"team_id"`
		Type    string `json:"type"` // alertmanager, webhook, …
		Default struct {
			Chain string `json:"escalation_chain_id"`
		} `json:"default_route"`
	}
)

// stamp is a date and time of day without a zone.
type stamp struct{ importer.Wall }

// UnmarshalJSON reads 2026-03-02T09:00:00; null is none.
func (s *stamp) UnmarshalJSON(text []byte) error {
	var word *string
	if err := json.Unmarshal(text, &word); err != nil || word == nil || *word == "" {
		return err
	}
	at, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(*word, "Z"))
	if err != nil {
		return fmt.Errorf("%q is no date and time such as 2026-03-02T09:00:00", *word)
	}
	if at.Year() < 1970 || at.Year() > 2200 {
		return fmt.Errorf("%q is no date of a shift", *word)
	}
	s.Wall = importer.WallOf(at, time.UTC)
	return nil
}

func (s stamp) none() bool { return s.Time().IsZero() }

// account is everything that the files hold.
type account struct {
	users        []user
	tellings     []telling
	teams        []team
	rotas        []rota
	shifts       []shift
	final        map[string][]final // by schedule
	chains       []chain
	steps        []step
	integrations []integration
}

func read(files []importer.File, note func(about, what, do string)) (*account, error) {
	a := &account{final: map[string][]final{}}
	for _, f := range files {
		kind, of, _ := strings.Cut(f.Name, "-")
		var err error
		var more bool
		switch kind {
		case "users":
			more, err = each(f.Text, &a.users)
		case "personal_notification_rules":
			more, err = each(f.Text, &a.tellings)
		case "teams":
			more, err = each(f.Text, &a.teams)
		case "schedules":
			more, err = each(f.Text, &a.rotas)
		case "on_call_shifts":
			more, err = each(f.Text, &a.shifts)
		case "final_shifts":
			list := a.final[of]
			more, err = each(f.Text, &list)
			a.final[of] = list
		case "escalation_chains":
			more, err = each(f.Text, &a.chains)
		case "escalation_policies":
			more, err = each(f.Text, &a.steps)
		case "integrations":
			more, err = each(f.Text, &a.integrations)
		default:
			note("file "+f.Name, "its name says nothing that is read", "call it users, personal_notification_rules, teams, schedules, on_call_shifts, final_shifts-SCHEDULE, escalation_chains, escalation_policies or integrations")
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: it is no answer of Grafana OnCall's public API: %w", f.Name, err)
		}
		if more {
			note("file "+f.Name, "the answer says that more pages follow", "fetch them all (page=2 and so on) and import again, unless they are among the files")
		}
	}
	return a, nil
}

// each adds the objects of one page.
func each[T any](text []byte, all *[]T) (more bool, err error) {
	var p page[T]
	err = json.Unmarshal(text, &p)
	*all = append(*all, p.Results...)
	return p.Next != "", err
}
