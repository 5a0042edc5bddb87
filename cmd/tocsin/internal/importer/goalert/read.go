package goalert

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
)

// The types of the GraphQL schema, as far as they are read.
type (
	answer struct {
		Data   data `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	data struct {
		Users     page[user]     `json:"users"`
		Rotations page[rotation] `json:"rotations"`
		Rotas     page[rota]     `json:"schedules"`
		Overrides page[override] `json:"userOverrides"`
		Policies  page[policy]   `json:"escalationPolicies"`
		Services  page[service]  `json:"services"`
	}
	page[T any] struct {
		Nodes []T `json:"nodes"`
		Info  struct {
			More bool `json:"hasNextPage"`
		} `json:"pageInfo"`
	}
	target struct {
		ID   string `json:"id"`
		Type string `json:"type"` // user, rotation, schedule, …
		Name string `json:"name"`
	}
	destination struct {
		Type string            `json:"type"`
		Args map[string]string `json:"args"`
	}
	user struct {
		ID      string   `json:"id"`
		Name    string   `json:"name"`
		Email   string   `json:"email"`
		Role    string   `json:"role"`
		Methods []method `json:"contactMethods"`
		Rules   []struct {
			Delay  int    `json:"delayMinutes"`
			Method string `json:"contactMethodID"`
		} `json:"notificationRules"`
	}
	method struct {
		ID       string      `json:"id"`
		Name     string      `json:"name"`
		Type     string      `json:"type"` // EMAIL, SMS, …; older ones
		Value    string      `json:"value"`
		Dest     destination `json:"dest"`
		Disabled bool        `json:"disabled"`
		Pending  bool        `json:"pending"`
	}
	rotation struct {
		ID       string      `json:"id"`
		Name     string      `json:"name"`
		TimeZone string      `json:"timeZone"`
		Start    time.Time   `json:"start"`
		Type     string      `json:"type"` // hourly, daily, weekly, monthly
		Length   int         `json:"shiftLength"`
		Active   int         `json:"activeUserIndex"` // who has the turn when the answer was given
		Users    []string    `json:"userIDs"`
		Next     []time.Time `json:"nextHandoffTimes"` // from when the answer was given
	}
	rota struct {
		ID        string       `json:"id"`
		Name      string       `json:"name"`
		TimeZone  string       `json:"timeZone"`
		Targets   []assignment `json:"targets"`
		Temporary []temporary  `json:"temporarySchedules"`
		Shifts    []shift      `json:"shifts"` // as GoAlert renders them
	}
	assignment struct {
		Target target `json:"target"`
		Rules  []rule `json:"rules"`
	}
	rule struct {
		Start string  `json:"start"` // 08:00
		End   string  `json:"end"`
		Days  [7]bool `json:"weekdayFilter"` // from Sunday on
	}
	temporary struct {
		Start  time.Time `json:"start"`
		End    time.Time `json:"end"`
		Shifts []shift   `json:"shifts"`
	}
	shift struct {
		User  string    `json:"userID"`
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
	}
	override struct {
		ID     string    `json:"id"`
		Start  time.Time `json:"start"`
		End    time.Time `json:"end"`
		Add    string    `json:"addUserID"`
		Remove string    `json:"removeUserID"`
		Target target    `json:"target"`
	}
	policy struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Repeat int    `json:"repeat"`
		Steps  []step `json:"steps"`
	}
	step struct {
		Delay   int           `json:"delayMinutes"`
		Targets []target      `json:"targets"`
		Actions []destination `json:"actions"`
	}
	service struct {
		ID          string     `json:"id"`
		Name        string     `json:"name"`
		Policy      string     `json:"escalationPolicyID"`
		Maintenance *time.Time `json:"maintenanceExpiresAt"`
		Keys        []struct {
			ID   string `json:"id"`
			Type string `json:"type"`
			Name string `json:"name"`
		} `json:"integrationKeys"`
		Monitors []struct {
			Name string `json:"name"`
		} `json:"heartbeatMonitors"`
	}
)

// read puts the answers together.
func read(files []importer.File, note func(about, what, do string)) (*data, error) {
	all := &data{}
	for _, f := range files {
		var a answer
		if err := json.Unmarshal(f.Text, &a); err != nil {
			return nil, fmt.Errorf("read %s: it is no answer of GoAlert's GraphQL API: %w", f.Name, err)
		}
		for _, e := range a.Errors {
			note("file "+f.Name, "GoAlert answered with an error: "+e.Message, "mend the query and import again")
		}
		d := a.Data
		more := add(&all.Users, d.Users)
		more = add(&all.Rotations, d.Rotations) || more
		more = add(&all.Rotas, d.Rotas) || more
		more = add(&all.Overrides, d.Overrides) || more
		more = add(&all.Policies, d.Policies) || more
		more = add(&all.Services, d.Services) || more
		if more {
			note("file "+f.Name, "the answer says that more pages follow", "ask for them all (first: 150, after: the endCursor) and import again")
		}
	}
	return all, nil
}

func add[T any](to *page[T], more page[T]) bool {
	to.Nodes = append(to.Nodes, more.Nodes...)
	return more.Info.More
}

// asTarget reads the newer form of a step's action.
func (d destination) asTarget() target {
	switch d.Type {
	case "builtin-user":
		return target{ID: d.Args["user_id"], Type: "user"}
	case "builtin-schedule":
		return target{ID: d.Args["schedule_id"], Type: "schedule"}
	case "builtin-rotation":
		return target{ID: d.Args["rotation_id"], Type: "rotation"}
	default:
		return target{Type: d.Type}
	}
}

// targets are those of a step, in whichever form the answer has them.
func (s step) targets() []target {
	if len(s.Actions) == 0 {
		return s.Targets
	}
	var all []target
	for _, a := range s.Actions {
		all = append(all, a.asTarget())
	}
	return all
}

// email is the address of a contact method, "" for one of another kind.
func (m method) email() string {
	if m.Type == "EMAIL" || m.Dest.Type == "builtin-smtp-email" {
		return cmp.Or(m.Dest.Args["email_address"], m.Value)
	}
	return ""
}
