package rpc

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Proofs sends what proves that somebody holds an address, by the channels
// that pages go out by.
type Proofs struct {
	Channels map[roster.MethodKind]notify.Channel
	Push     notify.Pusher
	// Phone returns what a push to a device needs, but for its address.
	Phone func(d *directory.Device) push.Device
	Now   func() time.Time
}

var _ Prover = Proofs{}

// proofLife is how long such a message is worth sending.
const proofLife = 2 * time.Minute

// SendCode implements [Prover].
func (p Proofs) SendCode(ctx context.Context, u roster.User, m roster.Method, code string, until time.Time) error {
	channel, ok := p.Channels[m.Kind]
	if !ok {
		return fault.New(fault.Unavailable, "NO_CHANNEL", "this installation sends nothing by that way; ask its administrator").After(time.Minute)
	}
	now := p.Now()
	_, err := channel.Send(ctx, notify.Message{
		ID: uuid.NewString(), To: m.Address, Secret: m.Secret, User: u, Kind: "notice", Subject: "Your code: " + code,
		Lines: []string{
			"Enter the code " + code + " to be paged at this address.",
			"It is good until " + until.UTC().Format("15:04 UTC") + ". If you did not ask for it, ignore this message.",
		},
		Thread: "verify-" + string(u.ID) + "-" + string(m.ID), Reason: "verification", At: now, Deadline: now.Add(proofLife),
	})
	if err != nil {
		return fault.New(fault.Unavailable, "CODE_NOT_SENT", "the code could not be sent; see whether the address is right, and try again").
			Because(fmt.Errorf("send a code to method %s of %s: %w", m.ID, u.ID, err)).After(time.Minute)
	}
	return nil
}

// PushNonce implements [Prover]. It returns when the push service has taken
// the nonce, or will not.
func (p Proofs) PushNonce(ctx context.Context, d *directory.Device, address directory.AddressSecret, kind directory.AddressKind, nonce string) error {
	unavailable := fault.New(fault.Unavailable, "PUSH_UNAVAILABLE", "the nonce could not be pushed; register again").After(10 * time.Second)
	if kind == directory.WebPush {
		return fault.New(fault.Precondition, "ADDRESS_TAKEN", "the subscription belongs to somebody else's device; make a new one")
	}
	to := p.Phone(d)
	to.Token = push.Token(address.Value)
	now := p.Now()
	ended := make(chan push.Result, 1)
	p.Push.Submit(push.Delivery{Device: to, Message: push.Message{
		Kind: push.KindInfo, DeliveryID: uuid.NewString(), Title: "Confirm this phone",
		Body: "Open the app to finish.", Details: map[string]string{"nonce": nonce}, CollapseID: "confirm-" + string(d.ID),
		At: now, Deadline: now.Add(proofLife),
	}}, func(r push.Result) { ended <- r })
	select {
	case r := <-ended:
		if r.End != push.EndAccepted {
			return unavailable.Because(fmt.Errorf("push a nonce to device %s: %s", d.ID, r.End))
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
