package roster

import "time"

// Word is the last that was heard of a device. It is no configuration: it moves
// many times a day. The names of its fields are stored, see the Word constants.
type Word struct {
	Seen      time.Time `json:"seen,omitzero"`      // any call of the app
	Opened    time.Time `json:"opened,omitzero"`    // a call that an app makes when somebody has opened it
	Receipt   time.Time `json:"receipt,omitzero"`   // of a page or a test
	Muted     time.Time `json:"muted,omitzero"`     // the phone said that its settings keep pages from being shown
	MutedBy   string    `json:"muted_by,omitempty"` // in its word: "permission", "channel"
	Lowered   time.Time `json:"lowered,omitzero"`   // a page arrived with a lower priority than it was sent with
	Test      time.Time `json:"test,omitzero"`      // the last visible test was sent
	Judged    bool      `json:"judged,omitempty"`   // how that test ended is known
	Passed    bool      `json:"passed,omitempty"`
	Drill     time.Time `json:"drill,omitzero"`  // the last fire drill that has come to its end began
	Heard     bool      `json:"heard,omitempty"` // and the person heard it on this device
	Asked     time.Time `json:"asked,omitzero"`  // the last heartbeat was sent
	Question  string    `json:"question,omitempty"`
	Heartbeat time.Time `json:"heartbeat,omitzero"` // a heartbeat was answered
	Warned    time.Time `json:"warned,omitzero"`    // the person was told that a browser has gone silent
}

// The names of a Word's fields as they are stored.
const (
	WordSeen      = "seen"
	WordOpened    = "opened"
	WordReceipt   = "receipt"
	WordMuted     = "muted"
	WordMutedBy   = "muted_by"
	WordLowered   = "lowered"
	WordTest      = "test"
	WordJudged    = "judged"
	WordPassed    = "passed"
	WordDrill     = "drill"
	WordHeard     = "heard"
	WordAsked     = "asked"
	WordQuestion  = "question" // delivery id of that heartbeat
	WordHeartbeat = "heartbeat"
	WordWarned    = "warned"
)

// Last is when the device was last heard of in any way. Zero: never.
func (w Word) Last() time.Time {
	last := w.Seen
	for _, t := range []time.Time{w.Opened, w.Receipt, w.Heartbeat} {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// Health is whether a device would be reached tonight. The zero Health is invalid.
type Health uint8

// The healths, the best first.
const (
	HealthGreen Health = iota + 1
	HealthAmber
	HealthRed
)

var healthNames = [...]string{"", "green", "amber", "red"} //nolint:gochecknoglobals // look-up table

func (h Health) String() string {
	if int(h) < len(healthNames) {
		return healthNames[h]
	}
	return ""
}

// How long ago a sign of life may be. A heartbeat proves less than a page: it
// says that the app runs, not that anything is shown.
const (
	signLife      = 7 * 24 * time.Hour
	heartbeatLife = 26 * time.Hour
	testLife      = 2 * time.Minute // a test that nobody has judged by then has failed
)

// Health says whether the device would be reached tonight, and what keeps it
// from being green, in one sentence. A heartbeat that was not answered says
// nothing: systems hold background pushes back as they like.
func (d Device) Health(w Word, now time.Time) (Health, string) {
	failed := !w.Test.IsZero() && !w.Passed && (w.Judged || now.Sub(w.Test) >= testLife)
	within := func(t time.Time, life time.Duration) bool { return !t.IsZero() && now.Sub(t) < life }
	switch {
	case d.State == DeviceRevoked:
		return HealthRed, "It was taken out."
	case d.State == DeviceDead:
		return HealthRed, "The push service says that the app is gone: open it on the phone."
	case d.Silenced:
		return HealthRed, "The app may not show notifications: allow them in the phone's settings."
	case !w.Muted.IsZero() && !w.Muted.Before(w.Receipt):
		return HealthRed, "The phone says that it does not show pages (" + w.MutedBy + "): look at the app's notification settings, then test it."
	case failed:
		return HealthRed, "Its last test was not passed: test it again."
	case d.State == DeviceParked:
		return HealthAmber, "It cannot be pushed to at present: open the app; if that does not help, run: tocsin doctor"
	case d.Platform == Web:
		return HealthAmber, "A browser is no alarm: enrol a phone as well."
	case d.State == DeviceUnverified:
		return HealthAmber, "It has not been heard of for long: open the app on it."
	case within(w.Lowered, signLife):
		return HealthAmber, "The phone holds pages back: take the app out of battery saving."
	case within(w.Receipt, signLife), within(w.Opened, signLife), w.Passed && within(w.Test, signLife), within(w.Heartbeat, heartbeatLife):
		return HealthGreen, ""
	}
	return HealthAmber, "Nothing was heard of it within 7 days: open the app, or test it."
}

// rings reports whether a method that is no push may wake the person: a
// webhook, behind which there is whatever the installation has put there.
func (u User) rings() bool {
	for _, m := range u.Methods {
		if m.Kind == Webhook && m.Verified && !m.Bouncing {
			return true
		}
	}
	return false
}

// Green reports whether somebody would be woken tonight: by a phone that is
// green, or by a webhook. health gives that of each device.
func (u User) Green(devices []Device, health func(Device) Health) bool {
	if u.Inactive {
		return false
	}
	for _, d := range devices {
		if health(d) == HealthGreen && d.Native() {
			return true
		}
	}
	return u.rings()
}
