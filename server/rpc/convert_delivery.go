package rpc

import (
	"strings"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

var (
	deliveryStates = map[incident.DeliveryState]pb.Delivery_State{ //nolint:gochecknoglobals // look-up table
		incident.DeliveryQueued: pb.Delivery_STATE_QUEUED, incident.DeliveryAttempted: pb.Delivery_STATE_ATTEMPTED,
		incident.DeliveryAccepted: pb.Delivery_STATE_ACCEPTED, incident.DeliveryRejected: pb.Delivery_STATE_REJECTED,
		incident.DeliveryExpired: pb.Delivery_STATE_EXPIRED, incident.DeliveryWithdrawn: pb.Delivery_STATE_WITHDRAWN,
		incident.DeliverySuppressed: pb.Delivery_STATE_SUPPRESSED, incident.DeliveryReceived: pb.Delivery_STATE_RECEIVED,
		incident.DeliveryDisplayed: pb.Delivery_STATE_DISPLAYED, incident.DeliveryOpened: pb.Delivery_STATE_OPENED,
		incident.DeliveryActed: pb.Delivery_STATE_ACTED,
	}
	methodKinds = map[roster.MethodKind]pb.ContactMethod_Kind{ //nolint:gochecknoglobals // look-up table
		roster.Push: pb.ContactMethod_KIND_PUSH, roster.Email: pb.ContactMethod_KIND_EMAIL, roster.Webhook: pb.ContactMethod_KIND_WEBHOOK,
	}
	// receiptStates are what a device may say of a delivery.
	receiptStates = map[pb.Receipt_State]incident.DeliveryState{ //nolint:gochecknoglobals // look-up table
		pb.Receipt_STATE_RECEIVED: incident.DeliveryReceived, pb.Receipt_STATE_DISPLAYED: incident.DeliveryDisplayed,
		pb.Receipt_STATE_OPENED: incident.DeliveryOpened, pb.Receipt_STATE_SUPPRESSED: incident.DeliverySuppressed,
	}
)

// delivery returns one page on its way; in is empty for a test or a card about several incidents.
func (s shaper) delivery(in incident.ID, d incident.Delivery) *pb.Delivery {
	kind := pb.Delivery_KIND_UPDATE
	if d.Page {
		kind = pb.Delivery_KIND_PAGE
	}
	created := d.Queued
	if created.IsZero() {
		created = d.Attempted
	}
	m := &pb.Delivery{
		DeliveryId: d.ID, Incident: incidentName(in), User: userName(d.User), DisplayName: s.display(d.User),
		Device: deviceName(d.Device), ContactMethod: string(d.Method), Kind: kind, MethodKind: methodKinds[d.Kind],
		State: deliveryStates[d.State], Code: d.Reason, Attempts: int32(d.Attempts), CreateTime: stamp(created), //nolint:gosec // a few
		SendTime: stamp(d.Attempted), AcceptTime: stamp(d.Accepted), ReceiveTime: stamp(d.Received), DisplayTime: stamp(d.Displayed),
		OpenTime: stamp(d.Opened), ActTime: stamp(d.Acted), DeadlineTime: stamp(d.Deadline), EndTime: stamp(d.Ended),
		ProviderId: d.Provider,
	}
	for _, t := range d.Tries.All() {
		m.FailedAttempts = append(m.FailedAttempts, &pb.Delivery_FailedAttempt{AttemptTime: stamp(t.At), Code: t.Reason})
	}
	if device, ok := s.names.GetDevice(d.Device); ok {
		m.AddressHint = device.Name
	}
	if u, ok := s.names.User(d.User); ok && d.Kind != roster.Push {
		if method, ok := u.Method(d.Method); ok {
			m.AddressHint = addressHint(method.Address)
		}
	}
	switch {
	case d.Silent:
		m.Audible = pb.Delivery_AUDIBLE_NO
	case d.State >= incident.DeliveryDisplayed && d.Audible:
		m.Audible = pb.Delivery_AUDIBLE_YES
	case d.State >= incident.DeliveryReceived:
		m.Audible = pb.Delivery_AUDIBLE_UNKNOWN
	default:
	}
	return m
}

// addressHint shortens an address so that it can be shown: "a***@example.org",
// or of a webhook its host.
func addressHint(address string) string {
	if rest, ok := strings.CutPrefix(address, "https://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return host
	}
	local, host, ok := strings.Cut(address, "@")
	if !ok || local == "" {
		return ""
	}
	return local[:1] + "***@" + host
}
