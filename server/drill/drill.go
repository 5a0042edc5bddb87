package drill

import (
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// ID names one drill of one person.
type ID string

// State is how far a drill has come. Its numbers are stored. The zero State is invalid.
type State uint8

// The states.
const (
	Running   State = iota + 1
	Heard           // on at least one device, in time
	Missed          // on none
	Skipped         // was not held
	Cancelled       // somebody ended it
	PutOff          // by the person; over as soon as it is held again
)

var stateWords = [...]string{Running: "running", Heard: "heard", Missed: "missed", Skipped: "skipped", Cancelled: "cancelled", PutOff: "put_off"} //nolint:gochecknoglobals // look-up table

func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return ""
}

// Drill is one drill of one person. The tags are what is stored.
type Drill struct {
	ID       ID            `json:"id"`
	Plan     PlanID        `json:"plan,omitempty"` // empty: started for himself
	Team     roster.TeamID `json:"team,omitempty"` // of the plan
	User     roster.UserID `json:"user"`
	By       roster.UserID `json:"by,omitempty"` // who started it; empty: the plan
	Begun    time.Time     `json:"begun"`
	Deadline time.Time     `json:"deadline"`
	Ended    time.Time     `json:"ended,omitzero"`
	State    State         `json:"state"`
	Reason   string        `json:"reason,omitempty"` // why it was skipped, missed or cancelled; a sentence
	Again    time.Time     `json:"again,omitzero"`   // when one that was put off is held again
	Twice    bool          `json:"twice,omitempty"`  // was put off before
	Devices  []Device      `json:"devices,omitempty"`
	Revision int           `json:"-"` // of what is kept; 0: nothing is yet
}

// Over reports whether the drill has come to its end.
func (d Drill) Over() bool { return !d.Ended.IsZero() }

// New is a drill that begins now, to the millisecond, as it is kept.
func New(id ID, user roster.UserID, now time.Time, limit time.Duration) Drill {
	now = now.UTC().Truncate(time.Millisecond)
	return Drill{ID: id, User: user, Begun: now, Deadline: now.Add(limit), State: Running}
}

// Outcome is what is known of a drill on one device. Its numbers are stored.
type Outcome uint8

// The outcomes. The zero one: it is not known to be sent.
const (
	Sent Outcome = iota + 1
	Received
	Displayed
	OnDevice   // the person heard it on this device
	Refused    // by the push service
	Suppressed // by the device
	NotHeard   // the person says that he did not hear it
)

// settled reports whether nothing more will become of it.
func (o Outcome) settled() bool { return o >= OnDevice }

// Device is a drill on one device. Instants are zero until they are there.
type Device struct {
	ID        roster.DeviceID `json:"id"`
	Name      string          `json:"name,omitempty"`
	Delivery  string          `json:"delivery"` // UUID
	Outcome   Outcome         `json:"outcome,omitempty"`
	Sent      time.Time       `json:"sent,omitzero"` // taken by the push service
	Received  time.Time       `json:"received,omitzero"`
	Displayed time.Time       `json:"displayed,omitzero"`
	Heard     time.Time       `json:"heard,omitzero"`
	Reason    string          `json:"reason,omitempty"` // of the push service or the device
}

// NotHeardReason is what the delivery of a test says that its person did not hear.
const NotHeardReason = "not heard"

// Seen returns the device with what its delivery says.
func (d Device) Seen(dv incident.Delivery) Device {
	d.Sent, d.Received, d.Displayed, d.Reason = dv.Accepted, dv.Received, dv.Displayed, dv.Reason
	if d.Displayed.IsZero() {
		d.Displayed = dv.Opened
	}
	switch {
	case dv.State == incident.DeliveryActed:
		d.Outcome, d.Heard = OnDevice, dv.Acted
	case dv.Reason == NotHeardReason:
		d.Outcome, d.Reason = NotHeard, ""
	case dv.State == incident.DeliverySuppressed:
		d.Outcome = Suppressed
	case dv.State == incident.DeliveryRejected, dv.State == incident.DeliveryExpired, dv.State == incident.DeliveryWithdrawn:
		d.Outcome = Refused
	case !d.Displayed.IsZero():
		d.Outcome = Displayed
	case !dv.Received.IsZero():
		d.Outcome = Received
	case !dv.Accepted.IsZero():
		d.Outcome = Sent
	}
	return d
}

// Response is how soon the drill was heard, on whichever device; false when it
// was not in time.
func (d Drill) Response() (time.Duration, bool) {
	var first time.Time
	for _, x := range d.Devices {
		if x.Outcome == OnDevice && !x.Heard.After(d.Deadline) && (first.IsZero() || x.Heard.Before(first)) {
			first = x.Heard
		}
	}
	if first.IsZero() {
		return 0, false
	}
	return max(first.Sub(d.Begun), 0), true
}

// Settled reports whether a running drill has come to its end at an instant:
// nothing more will become of it on any device, or its time is over.
func (d Drill) Settled(now time.Time) bool {
	return !now.Before(d.Deadline) || !slices.ContainsFunc(d.Devices, func(x Device) bool { return !x.Outcome.settled() })
}

// Judge ends a running drill by what became of it on its devices.
func (d Drill) Judge(now time.Time) Drill {
	d.Ended = now
	if _, ok := d.Response(); ok {
		d.State, d.Reason = Heard, ""
		return d
	}
	d.State, d.Reason = Missed, "It was heard on none of the devices."
	switch {
	case len(d.Devices) == 0:
		d.Reason = "There is no device that is paged."
	case !slices.ContainsFunc(d.Devices, func(x Device) bool { return x.Outcome != Refused && x.Outcome != 0 }):
		d.Reason = "No push service took it."
	case !slices.ContainsFunc(d.Devices, func(x Device) bool { return !x.Received.IsZero() || !x.Displayed.IsZero() }):
		d.Reason = "No device confirmed it."
	}
	return d
}

// End ends a drill without a result.
func (d Drill) End(as State, reason string, now time.Time) Drill {
	d.State, d.Reason, d.Ended, d.Again = as, reason, now, time.Time{}
	return d
}

// Summary is what came of some drills.
type Summary struct {
	Heard, Missed, Skipped int
	Median                 time.Duration // time to hear one; 0 when none was
}

// Summarize counts drills that are over.
func Summarize(drills []Drill) Summary {
	var s Summary
	var took []time.Duration
	for _, d := range drills {
		switch d.State {
		case Heard:
			s.Heard++
			if t, ok := d.Response(); ok {
				took = append(took, t)
			}
		case Missed:
			s.Missed++
		case Skipped, Cancelled:
			s.Skipped++
		case Running, PutOff:
		}
	}
	s.Median = median(took)
	return s
}

// median is the middle of some durations, between the two middle ones of an
// even number; 0 of none.
func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// ByPerson returns the drills of each person, in order of the people, each in the
// order that they have.
func ByPerson(drills []Drill) [][]Drill {
	drills = slices.Clone(drills)
	slices.SortStableFunc(drills, func(a, b Drill) int { return strings.Compare(string(a.User), string(b.User)) })
	var out [][]Drill
	for i, d := range drills {
		if i == 0 || drills[i-1].User != d.User {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], d)
	}
	return out
}
