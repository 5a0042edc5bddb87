package opsgenie

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
)

// The objects of the API, as far as they are read.
type (
	answer struct {
		Data   json.RawMessage `json:"data"`
		Paging struct {
			Next string `json:"next"`
		} `json:"paging"`
	}
	named struct {
		Type     string `json:"type"` // user, team, schedule, escalation, none
		ID       string `json:"id"`
		Name     string `json:"name"`
		Username string `json:"username"`
	}
	user struct {
		ID       string `json:"id"`
		Username string `json:"username"` // the e-mail address
		FullName string `json:"fullName"`
		Blocked  bool   `json:"blocked"`
		TimeZone string `json:"timeZone"`
		Role     struct {
			Name string `json:"name"`
		} `json:"role"`
		Contacts []struct {
			To      string `json:"to"`
			Method  string `json:"contactMethod"`
			Enabled bool   `json:"enabled"`
		} `json:"userContacts"`
	}
	team struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Members []struct {
			User named  `json:"user"`
			Role string `json:"role"`
		} `json:"members"`
	}
	rota struct {
		ID        string     `json:"id"`
		Name      string     `json:"name"`
		TimeZone  string     `json:"timezone"`
		Enabled   *bool      `json:"enabled"`
		Owner     *named     `json:"ownerTeam"`
		Rotations []rotation `json:"rotations"`
		Overrides []override `json:"overrides"` // put there by who fetched it
	}
	rotation struct {
		ID           string       `json:"id"`
		Name         string       `json:"name"`
		Start        time.Time    `json:"startDate"`
		End          time.Time    `json:"endDate"`
		Type         string       `json:"type"` // hourly, daily, weekly
		Length       int          `json:"length"`
		Participants []named      `json:"participants"`
		Hours        *restriction `json:"timeRestriction"`
	}
	restriction struct {
		Type string  `json:"type"` // time-of-day, weekday-and-time-of-day
		One  hours   `json:"restriction"`
		Many []hours `json:"restrictions"`
	}
	hours struct {
		StartDay  string `json:"startDay"`
		StartHour int    `json:"startHour"`
		StartMin  int    `json:"startMin"`
		EndDay    string `json:"endDay"`
		EndHour   int    `json:"endHour"`
		EndMin    int    `json:"endMin"`
	}
	override struct {
		Alias     string    `json:"alias"`
		User      named     `json:"user"`
		Start     time.Time `json:"startDate"`
		End       time.Time `json:"endDate"`
		Rotations []named   `json:"rotations"` // none: all
	}
	timeline struct {
		Final struct {
			Rotations []struct {
				Periods []struct {
					Start     time.Time `json:"startDate"`
					End       time.Time `json:"endDate"`
					Recipient named     `json:"recipient"`
				} `json:"periods"`
			} `json:"rotations"`
		} `json:"finalTimeline"`
	}
	escalation struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Owner  *named `json:"ownerTeam"`
		Rules  []rule `json:"rules"`
		Repeat *struct {
			Wait  int `json:"waitInterval"`
			Count int `json:"count"`
		} `json:"repeat"`
	}
	// telling is a notification rule of a person.
	telling struct {
		Action  string `json:"actionType"` // create-alert is the one that pages
		Enabled bool   `json:"enabled"`
		Steps   []struct {
			Enabled bool `json:"enabled"`
			Contact struct {
				Method string `json:"method"` // email, mobile, sms, voice
				To     string `json:"to"`
			} `json:"contact"`
			After after `json:"sendAfter"`
		} `json:"steps"`
	}
	// route is a routing rule of a team.
	route struct {
		Name    string `json:"name"`
		Default bool   `json:"isDefault"`
		Notify  named  `json:"notify"` // an escalation, a schedule, or none
	}
	service struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Team string `json:"teamId"`
	}
	after struct {
		Amount int    `json:"timeAmount"`
		Unit   string `json:"timeUnit"` // minutes, hours, days
	}
	rule struct {
		Condition string `json:"condition"`
		Notify    string `json:"notifyType"`
		Recipient named  `json:"recipient"`
		Delay     after  `json:"delay"`
	}
)

// account is everything that the files hold.
type account struct {
	users       []user
	teams       []team
	rotas       []rota
	escalations []escalation
	services    []service
	tellings    map[string][]telling  // by person
	routes      map[string][]route    // by team
	overrides   map[string][]override // by schedule
	timelines   map[string]timeline
}

func read(files []importer.File, note func(about, what, do string)) (*account, error) {
	a := &account{overrides: map[string][]override{}, timelines: map[string]timeline{}, tellings: map[string][]telling{}, routes: map[string][]route{}}
	for _, f := range files {
		var w answer
		err := json.Unmarshal(f.Text, &w)
		kind, of, _ := strings.Cut(f.Name, "-")
		if err == nil {
			switch kind {
			case "users":
				err = each(w.Data, &a.users)
			case "teams":
				err = each(w.Data, &a.teams)
			case "schedules":
				err = each(w.Data, &a.rotas)
			case "escalations":
				err = each(w.Data, &a.escalations)
			case "services":
				err = each(w.Data, &a.services)
			case "overrides":
				err = under(w.Data, a.overrides, of)
			case "rules":
				err = under(w.Data, a.tellings, of)
			case "routing":
				err = under(w.Data, a.routes, of)
			case "timeline":
				var t timeline
				err = json.Unmarshal(w.Data, &t)
				a.timelines[of] = t
			default:
				note("file "+f.Name, "its name says nothing that is read", "call it users, rules-PERSON, teams, routing-TEAM, schedules, overrides-SCHEDULE, timeline-SCHEDULE, escalations or services")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: it is no answer of Opsgenie's REST API: %w", f.Name, err)
		}
		if w.Paging.Next != "" {
			note("file "+f.Name, "the answer says that more pages follow", "fetch them all (limit=100, offset) and import again, unless they are among the files")
		}
	}
	return a, nil
}

// each adds one object, or all of a list.
func each[T any](text json.RawMessage, all *[]T) error {
	var list []T
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		list = make([]T, 1)
		if err := json.Unmarshal(text, &list[0]); err != nil {
			return err
		}
	} else if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*all = append(*all, list...)
	return nil
}

// under adds what belongs to something that the answer does not name; its file does.
func under[T any](text json.RawMessage, all map[string][]T, of string) error {
	of, _, _ = strings.Cut(of, "~") // more files of the same
	list := all[of]
	err := each(text, &list)
	all[of] = list
	return err
}
