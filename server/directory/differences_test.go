package directory

import (
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// What a plan and an audit record say of a change reads as the API does.
func TestDifferencesAreInTheWordsOfTheAPI(t *testing.T) {
	phone := device("d1", "ann")
	lost := *phone
	lost.State, lost.Epoch = roster.DeviceRevoked, 1
	for _, c := range []struct {
		name     string
		old, now Record
		want     []string
	}{
		{
			"a person", user("ann"), user("ann", func(u *User) {
				u.Name, u.Role, u.Privacy, u.High = "Ann Archer", roster.Admin, roster.PrivacySealed, []roster.Step{{Method: "mail"}}
			}),
			[]string{`display_name: "ann" -> "Ann Archer"`, "high_steps", "privacy: - -> sealed", "role: responder -> admin"},
		},
		{
			"a service", &Service{Service: catalog.Service{ID: "s", AckTimeout: time.Hour}},
			&Service{Service: catalog.Service{ID: "s", Policy: "p", AckTimeout: -1, AutoResolve: 2 * time.Hour, Urgency: catalog.UrgencyLow, MinSeverity: event.Error}},
			[]string{
				"acknowledge_timeout: 1h -> never", "auto_resolve: - -> 2h", `escalation_policy: "" -> "p"`, "min_severity: - -> error",
				"urgency_rule: - -> low",
			},
		},
		{"a lost phone", phone, &lost, []string{"epoch: - -> 1", "state: active -> revoked"}},
		{"a new token", nil, &Token{Token: auth.Token{ID: "t", Name: "ci", Hash: auth.HashSecret("t"), User: "ann"}, Hint: "wxyz"}, []string{`display_name: "ci"`, "key", `user: "ann"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := differences(c.old, c.now); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"tokens/nothere": "token nothere", "escalationPolicies/web": "escalation policy web", "users/": "users/", "x": "x", "zones/a": "zones/a",
	} {
		if got := Words(name); got != want {
			t.Errorf("%q is said as %q, want %q", name, got, want)
		}
	}
}
