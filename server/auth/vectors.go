package auth

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Vector is one worked example of an action token or a receipt key, so that
// phones and other servers can check themselves against this one.
type Vector struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // "action" or "receipt"
	Delivery string    `json:"delivery"`
	Incident string    `json:"incident,omitempty"`
	User     string    `json:"user,omitempty"`
	Device   string    `json:"device"`
	Epoch    uint32    `json:"epoch"`
	Issued   time.Time `json:"issued"`
	Deadline time.Time `json:"deadline,omitzero"`
	At       time.Time `json:"at"` // when it is presented
	Token    string    `json:"token"`
	Valid    bool      `json:"valid"`
	Why      string    `json:"why,omitempty"`
}

// Vectors returns worked examples under the master key of all zero bytes,
// valid ones and such as have to be refused. The same every time.
func Vectors() ([]Vector, error) {
	ring, err := NewKeyring([MasterKeySize]byte{})
	if err != nil {
		return nil, err
	}
	s := NewSigner(ring)
	issued := time.Date(2026, 3, 1, 23, 50, 0, 0, time.UTC) // crosses midnight: the key is that of the day of issue
	deadline := issued.Add(10 * time.Minute)
	b := Binding{
		Delivery: "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", Incident: "1a0q3k7w2m4x",
		User: "ann", Device: "d7pixel8", Epoch: 3,
	}
	action, err := s.Action(b, issued, deadline)
	if err != nil {
		return nil, err
	}
	receipt, err := s.ReceiptKey(b, issued)
	if err != nil {
		return nil, err
	}
	base := Vector{
		Delivery: b.Delivery, Incident: string(b.Incident), User: string(b.User), Device: string(b.Device),
		Epoch: b.Epoch, Issued: issued, Deadline: deadline, At: issued.Add(time.Minute),
	}
	vary := func(name, kind, token, why string, change func(*Vector)) Vector {
		v := base
		v.Name, v.Kind, v.Token, v.Valid, v.Why = name, kind, token, why == "", why
		if kind == "receipt" {
			v.Deadline = time.Time{}
		}
		if change != nil {
			change(&v)
		}
		return v
	}
	return []Vector{
		vary("ack from the lock screen", "action", action, "", nil),
		vary("ack after midnight", "action", action, "", func(v *Vector) { v.At = issued.Add(20 * time.Minute) }),
		vary("expired", "action", action, "past its expiry", func(v *Vector) { v.At = issued.Add(25 * time.Minute) }),
		vary("another incident", "action", action, "bound to its incident", func(v *Vector) { v.Incident = "1a0q3k7w2m4y" }),
		vary("another person", "action", action, "bound to its person", func(v *Vector) { v.User = "ben" }),
		vary("revoked device", "action", action, "the epoch moved", func(v *Vector) { v.Epoch++ }),
		vary("receipt key as action token", "action", receipt, "a receipt key acts on nothing", nil),
		vary("receipt", "receipt", receipt, "", nil),
		vary("receipt on the sixth day", "receipt", receipt, "", func(v *Vector) { v.At = issued.Add(6 * 24 * time.Hour) }),
		vary("late receipt", "receipt", receipt, "past its expiry", func(v *Vector) { v.At = issued.Add(8 * 24 * time.Hour) }),
		vary("receipt of another device", "receipt", receipt, "bound to its device", func(v *Vector) { v.Device = "d7iphone" }),
		vary("action token as receipt key", "receipt", action, "an action token proves no receipt", nil),
	}, nil
}

// Check returns nil when the token of the vector is accepted under the all-zero key.
func (v Vector) Check() error {
	ring, err := NewKeyring([MasterKeySize]byte{})
	if err != nil {
		return err
	}
	s := NewSigner(ring)
	b := v.binding()
	if v.Kind == "receipt" {
		return s.VerifyReceipt(v.Token, b, v.At)
	}
	t, err := ParseAction(v.Token)
	if err != nil {
		return err
	}
	return s.VerifyAction(t, b, VerbAck, v.At)
}

func (v Vector) binding() Binding {
	return Binding{
		Delivery: v.Delivery, Incident: incident.ID(v.Incident), User: roster.UserID(v.User),
		Device: roster.DeviceID(v.Device), Epoch: v.Epoch,
	}
}
