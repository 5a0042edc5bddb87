package push

import (
	"context"
	"errors"
	"time"
)

// ErrNotNeeded is returned by [Delivery.Begin] when nobody needs the message
// any more: the incident was acknowledged, or passed on.
var ErrNotNeeded = errors.New("push: the message is not needed any more")

// Delivery is one message for one phone.
type Delivery struct {
	Message Message
	Device  Device

	// Begin is asked immediately before every attempt, so also after every
	// wait, with the attempt's number from 1. Returning nil commits the
	// caller to that attempt having begun. ErrNotNeeded ends the delivery; any
	// other error is waited out until the deadline. nil means always needed.
	Begin func(ctx context.Context, number int) error

	// Progress is told of every attempt that did not end the delivery, and
	// once when the provider is down. It must not block. nil is fine.
	Progress func(Progress)

	// Persist keeps the delivery waiting while its provider is down, after
	// Progress was told so, instead of ending it with EndProviderDown.
	Persist bool
}

// Progress is what happened to a delivery that goes on.
type Progress struct {
	Try  Try  // the attempt that failed; zero when Down
	Down bool // the provider is down: reach the person another way, now
}

// Try is the record of one attempt.
type Try struct {
	At      time.Time
	Took    time.Duration
	Class   Class
	Status  int
	Reason  string
	Unknown bool
}

// End is how a delivery ended. The zero End is invalid.
type End uint8

// The ends.
const (
	EndAccepted     End = iota + 1 // the push service has it
	EndRejected                    // refused for good: reach the person another way, now
	EndProviderDown                // the service, or our credential for it, is out: another way, now
	EndExpired                     // the deadline passed before anybody accepted it
	EndNotNeeded                   // Begin said so
	EndSuperseded                  // a newer message with the same collapse id took its place
	EndStopped                     // the sender or the caller stopped; nothing is known to be in flight unless Unknown
)

var endNames = [...]string{ //nolint:gochecknoglobals // look-up table
	"", "accepted", "rejected", "provider_down", "expired", "not_needed", "superseded", "stopped",
}

func (e End) String() string {
	if int(e) < len(endNames) {
		return endNames[e]
	}
	return ""
}

// Address is what a result says about the phone's address.
type Address uint8

// What to do with the address.
const (
	AddressKeep    Address = iota
	AddressDrop            // forget it: the service proved it dead
	AddressPark            // stop using it until the app registers again or the configuration is mended
	AddressCorrect         // it belongs to Result.Environment
)

var addressNames = [...]string{"keep", "drop", "park", "correct"} //nolint:gochecknoglobals // look-up table

func (a Address) String() string {
	if int(a) < len(addressNames) {
		return addressNames[a]
	}
	return addressNames[0]
}

// Result is how a delivery ended.
type Result struct {
	End         End
	Outcome     Outcome // of the last attempt; zero when none was made
	Tries       []Try   // every attempt, oldest first, at most 64 (the first 32 and the last 32)
	Attempts    int     // how many there were
	Address     Address
	Environment Environment // of AddressCorrect and of what was accepted
	At          time.Time
}

// Unknown tells whether the phone may show the message although it was never
// accepted: some attempt was cut off without an answer.
func (r *Result) Unknown() bool {
	if r.End == EndAccepted {
		return false
	}
	for _, t := range r.Tries {
		if t.Unknown {
			return true
		}
	}
	return false
}
