package linear

import (
	"testing"
	"time"
)

// TestCheck: histories that have an order, and others that have none.
func TestCheck(t *testing.T) {
	p := Policy{"ann", "bo"}
	call := func(began, ended int, verb string, saw State) Call {
		return Call{Client: began, Verb: verb, Began: time.UnixMilli(int64(began)), Ended: time.UnixMilli(int64(ended)), Saw: saw}
	}
	triggered, taken, over := State{"triggered", 1, "ann"}, State{"acknowledged", 1, "ann"}, State{"resolved", 1, ""}
	unknown, refused := call(1, 2, Acknowledge, State{}), call(3, 4, Escalate, State{})
	unknown.Unknown, refused.Refused = true, true
	given := call(1, 2, Reassign, State{"triggered", 1, "cy"})
	given.Who = "cy"
	for _, c := range []struct {
		name    string
		history []Call
		want    bool
	}{
		{"nothing", nil, true},
		{"one after another", []Call{call(1, 2, Acknowledge, taken), call(3, 4, Read, taken), call(5, 6, Resolve, over)}, true},
		{"a read beside an acknowledgement sees either", []Call{call(1, 9, Acknowledge, taken), call(2, 3, Read, triggered), call(4, 5, Read, taken)}, true},
		{"a read goes back", []Call{call(1, 9, Acknowledge, taken), call(2, 3, Read, taken), call(4, 5, Read, triggered)}, false},
		{"an acknowledgement gets lost", []Call{call(1, 2, Acknowledge, taken), call(3, 4, Read, triggered)}, false},
		{"an acknowledgement without an answer may count", []Call{unknown, call(3, 4, Read, taken)}, true},
		{"and may not", []Call{unknown, call(3, 4, Read, triggered)}, true},
		{"and may count later", []Call{unknown, call(3, 4, Read, triggered), call(5, 6, Read, taken)}, true},
		{"an escalation ends an acknowledgement", []Call{call(1, 2, Acknowledge, taken), call(3, 4, Escalate, State{"triggered", 2, "bo"})}, true},
		{"two escalations are one", []Call{call(1, 2, Escalate, State{"triggered", 2, "bo"}), call(3, 4, Escalate, State{"triggered", 2, "bo"})}, false},
		{"from a person by name to the first level", []Call{given, call(3, 4, Escalate, triggered)}, true},
		{"a resolved incident refuses", []Call{call(1, 2, Resolve, over), refused}, true},
		{"an open incident refuses", []Call{call(1, 2, Acknowledge, taken), refused}, false},
		{"a resolved incident takes an acknowledgement unchanged", []Call{call(1, 2, Resolve, over), call(3, 4, Acknowledge, over)}, true},
	} {
		if got := Check(p, c.history); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}
