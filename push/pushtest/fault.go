package pushtest

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is something that happens on the connection instead of an answer. In
// JSON and on the control page it is one of the words of [FaultNames].
type Fault uint8

// The faults.
const (
	NoFault          Fault = iota
	Silence                // no answer, ever; the connection stays well
	CloseConnection        // the connection ends without an answer
	ResetStream            // RST_STREAM, INTERNAL_ERROR
	RefuseStream           // RST_STREAM, REFUSED_STREAM: not processed, safe to repeat
	GoAwayBefore           // GOAWAY whose last stream is before this one: not processed, safe to repeat
	GoAwayCovering         // GOAWAY that covers this stream, then the end of the connection without an answer
	FreezeConnection       // the peer is dead: nothing is read any more, no ping is answered
	StopReading            // nothing is read any more, so no ping is answered; answers under way still come
	HalfAnswer             // the status and half of the body, then nothing more on this stream
	CutAnswer              // the status and half of the body, then the end of the connection
	Garbage                // bytes that are no HTTP/2, then the end of the connection
)

var faultNames = [...]string{ //nolint:gochecknoglobals // look-up table
	"", "silence", "close", "reset", "refuse", "goaway-before", "goaway-covering", "freeze", "stop-reading", "half-answer", "cut-answer", "garbage",
}

// String is the fault's word; NoFault has none.
func (f Fault) String() string {
	if int(f) < len(faultNames) {
		return faultNames[f]
	}
	return fmt.Sprintf("Fault(%d)", uint8(f))
}

// FaultNames are the words of all faults, in the order of their constants.
func FaultNames() []string { return slices.Clone(faultNames[1:]) }

// ParseFault is the inverse of Fault.String.
func ParseFault(s string) (Fault, error) {
	for i, name := range faultNames {
		if name == s {
			return Fault(i), nil //nolint:gosec // the table is short
		}
	}
	return NoFault, fmt.Errorf("there is no fault %q; there are %s", s, strings.Join(faultNames[1:], ", "))
}

// MarshalText implements encoding.TextMarshaler.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Fault) UnmarshalText(b []byte) (err error) {
	*f, err = ParseFault(string(b))
	return err
}
