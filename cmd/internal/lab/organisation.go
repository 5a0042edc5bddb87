package lab

import (
	"fmt"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Organisation is who is paged and for what. Service i pages person i modulo
// People, over a policy of two levels: that person, then the next.
type Organisation struct {
	Services int
	People   int
	Devices  int // of each person, iPhones and Android phones in turn
	// FirstPage is how long after an incident began its person is paged. 0: at
	// once.
	FirstPage time.Duration
	// Prompt is how many people, the last ones, are paged at once all the same.
	Prompt int
	// LevelDelay is when the second level is asked. 0: 30 minutes.
	LevelDelay time.Duration
}

// ServiceID is that of the service, from 0.
func ServiceID(i int) string { return fmt.Sprintf("service-%d", i) }

// UserID is that of the person, from 0.
func UserID(i int) string { return fmt.Sprintf("user-%d", i) }

// Key is the integration key of the service, for every door.
func Key(i int) string { return fmt.Sprintf("key%029d", i) }

// DeviceID is the phone of a person, both from 0.
func DeviceID(person, i int) roster.DeviceID {
	return roster.DeviceID(fmt.Sprintf("phone%dof%d", i, person))
}

// Credential is what the phone signs in with.
func Credential(person, i int) string {
	return fmt.Sprintf("tcd_%s_%043d", DeviceID(person, i), 0)
}

// Token is the address of the phone at its push service. [PersonOf] reads it.
func Token(person, i int) string { return fmt.Sprintf("%032x%032x", person, i) }

// PersonOf is whose phone has the address.
func PersonOf(token string) (person int, ok bool) {
	if len(token) < 32 {
		return 0, false
	}
	n, err := strconv.ParseInt(token[:32], 16, 64)
	return int(n), err == nil
}

// documents are the organisation as `tocsin apply` takes it, in parts: one
// document has its limit. Each part needs only what is in those before it.
func (o Organisation) documents() ([][]byte, error) {
	const atOnce = 1000
	admin := directory.Document{Settings: &directory.SettingsDoc{Organization: "Lab", CatchAll: []string{UserID(0)}}}
	for i := range o.People {
		admin.People = append(admin.People, o.person(i))
	}
	parts := []directory.Document{admin}
	for from := 0; from < o.Services; from += atOnce {
		var d directory.Document
		for i := from; i < min(from+atOnce, o.Services); i++ {
			if i < o.People {
				d.Policies = append(d.Policies, o.policy(i))
			}
			d.Services = append(d.Services, o.service(i))
		}
		parts = append(parts, d)
	}
	texts := make([][]byte, len(parts))
	for i, d := range parts {
		var err error
		if texts[i], err = yaml.Marshal(d); err != nil {
			return nil, fmt.Errorf("write the organisation: %w", err)
		}
	}
	return texts, nil
}

func (o Organisation) person(i int) directory.PersonDoc {
	full, admin := "full", "admin"
	first := o.FirstPage
	if i >= o.People-o.Prompt {
		first = 0
	}
	p := directory.PersonDoc{
		ID: UserID(i), Name: fmt.Sprintf("Person %d", i), Email: fmt.Sprintf("person%d@example.com", i), Privacy: &full,
		High: []directory.StepDoc{{Method: string(roster.PushAll), Delay: first.String()}},
	}
	if i == 0 {
		p.Role = &admin
	}
	return p
}

func (o Organisation) policy(i int) directory.PolicyDoc {
	delay := o.LevelDelay
	if delay == 0 {
		delay = 30 * time.Minute
	}
	level := func(person int) directory.LevelDoc {
		return directory.LevelDoc{Targets: []string{"users/" + UserID(person)}, Delay: delay.String()}
	}
	return directory.PolicyDoc{
		ID: policyID(i), Name: fmt.Sprintf("Policy %d", i), Levels: []directory.LevelDoc{level(i), level((i + 1) % o.People)},
	}
}

func (o Organisation) service(i int) directory.ServiceDoc {
	return directory.ServiceDoc{
		ID: ServiceID(i), Name: fmt.Sprintf("Service %d", i), Policy: policyID(i % o.People), Urgency: "high",
		Integrations: []directory.IntegrationDoc{{ID: fmt.Sprintf("monitor-%d", i), Source: "pagerduty", Key: Key(i)}},
	}
}

func policyID(i int) string { return fmt.Sprintf("policy-%d", i) }
