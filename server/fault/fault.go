// Package fault is the error vocabulary of the server.
//
// A fault says what its caller can do about it (the [Kind]), which rule was
// broken in a word that programs may compare (the reason), and which values
// broke it (the metadata). The edges translate faults: rpc into gRPC status
// with google.rpc details, the gateway into HTTP. What carries no Kind is
// Internal, and its text never leaves the process.
package fault

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// Kind says what the caller can do. The zero Kind is the safe one.
type Kind uint8

// The kinds. Add one only when a caller would do something new about it.
const (
	Internal        Kind = iota // A bug or a broken dependency. Never shown to clients.
	Invalid                     // Fix the request; a retry cannot help.
	Unauthenticated             // Say who you are: the credential is missing, unknown, expired or revoked.
	Denied                      // Known, but may not. Ask somebody who may.
	NotFound                    // The named resource does not exist, or may not be seen.
	Exists                      // A resource of that name is already there.
	Precondition                // The resource is in the wrong state for this call.
	Conflict                    // The revision moved; read again and retry.
	Exhausted                   // Slow down; RetryAfter says for how long.
	Unavailable                 // Redis or a push gateway is out; retry with backoff.
	OutOfRange                  // The cursor is too old; list again from the start.
)

var kindNames = [...]string{ //nolint:gochecknoglobals // look-up table
	Internal: "internal", Invalid: "invalid", Unauthenticated: "unauthenticated", Denied: "denied",
	NotFound: "not found", Exists: "exists", Precondition: "precondition", Conflict: "conflict",
	Exhausted: "exhausted", Unavailable: "unavailable", OutOfRange: "out of range",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// Field is one violated field of a request: its path as the caller wrote it
// ("payload.summary"), and what is wrong with it and how to mend it.
type Field struct {
	Path, Fix string
}

// Error is a fault. It is made by New or Invalidf and wrapped with %w by
// everyone above who can say what was being done to which thing.
type Error struct {
	Kind       Kind
	Reason     string            // UPPER_SNAKE_CASE, stable: programs compare it
	Message    string            // one sentence for a person, without values that belong into Meta
	Meta       map[string]string // the values, by name
	Fields     []Field           // for Invalid: what is wrong where
	RetryAfter time.Duration     // for Exhausted and Unavailable; 0 = the caller's own backoff
	Cause      error             // kept for the log, never shown to clients
}

// New returns a fault. pairs are alternating names and values for Meta.
func New(kind Kind, reason, message string, pairs ...string) *Error {
	e := &Error{Kind: kind, Reason: reason, Message: message}
	for i := 0; i+1 < len(pairs); i += 2 {
		if e.Meta == nil {
			e.Meta = make(map[string]string, len(pairs)/2)
		}
		e.Meta[pairs[i]] = pairs[i+1]
	}
	return e
}

// InvalidField returns an Invalid fault about one field: where it is and how to mend it.
func InvalidField(path, format string, args ...any) *Error {
	fix := fmt.Sprintf(format, args...)
	return &Error{Kind: Invalid, Reason: "INVALID_FIELD", Message: path + ": " + fix, Fields: []Field{{Path: path, Fix: fix}}}
}

// Fields gathers the violations of several InvalidField faults into one, or
// returns nil when there are none. Errors of other kinds win over violations.
func Fields(errs ...error) error {
	var all []Field
	for _, err := range errs {
		if err == nil {
			continue
		}
		f, ok := errors.AsType[*Error](err)
		if !ok || f.Kind != Invalid || len(f.Fields) == 0 {
			return err
		}
		all = append(all, f.Fields...)
	}
	if len(all) == 0 {
		return nil
	}
	lines := make([]string, len(all))
	for i, f := range all {
		lines[i] = f.Path + ": " + f.Fix
	}
	return &Error{Kind: Invalid, Reason: "INVALID_FIELD", Message: strings.Join(lines, "; "), Fields: all}
}

// Because returns a copy of e that carries cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// After returns a copy of e that tells the caller to wait for d.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// With returns a copy of e with one more value in Meta.
func (e *Error) With(name, value string) *Error {
	c := *e
	c.Meta = maps.Clone(e.Meta)
	if c.Meta == nil {
		c.Meta = map[string]string{}
	}
	c.Meta[name] = value
	return &c
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// Is reports two faults of one kind and reason as the same, so that
// errors.Is(err, SomeFault) holds whatever metadata err carries.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Reason == e.Reason
}

// KindOf returns the kind of the first fault in err's chain, Internal if there is none.
func KindOf(err error) Kind {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Kind
	}
	return Internal
}
