package rpc

import (
	"testing"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

func TestSentencesOfDeliveries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entry incident.Entry
		want  string
	}{
		"the phone stayed silent": {
			incident.Entry{Type: incident.EntryDelivery, Step: "mail", Cause: incident.CauseNoReceipt},
			"No phone of Ann answered the push in time; mail is used before its time.",
		},
		"every phone refused": {
			incident.Entry{Type: incident.EntryDelivery, Step: "mail", Cause: incident.CauseRejected},
			"A page to Ann was refused for good; mail is used before its time.",
		},
		"a step cannot work": {
			incident.Entry{Type: incident.EntryDelivery, Step: "mail", Cause: incident.CauseNoMethod},
			"A way of reaching Ann does not work; mail is used before its time.",
		},
		"the mail server refused": {
			incident.Entry{Type: incident.EntryDelivery, Step: "mail", Cause: incident.CauseUndelivered, Text: "550 no such user"},
			"A page to Ann by mail did not get through: 550 no such user.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := delivered(c.entry, "Ann"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
