package pushtest

import "github.com/tocsin-oncall/tocsin/push/seal"

// SealKey is a key of a phone's app for sealed pushes, and what its server
// knows both by.
type SealKey struct {
	Device string // the server's id of the device
	ID     string // the app's name for the key
	Key    seal.PrivateKey
}

// SetSealKey gives the phone's apps the key that they open sealed pushes with.
// A push that opens shows its fuller text ([Notification.Opened]); any other
// keeps the text that came in the clear, and Notification.Unopened says why.
func (p *Phone) SetSealKey(k SealKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sealKey = &k
}

// open does what the app's extension does with a sealed push.
func (k *SealKey) open(n *Notification) {
	switch {
	case n.Sealed == "":
		return
	case k == nil:
		n.Unopened = "decrypt"
		return
	}
	b := seal.Binding{Delivery: n.DeliveryID, Incident: n.IncidentID, Device: k.Device, Key: n.SealedKeyID, Deadline: n.Expires.Unix()}
	plain, err := k.Key.Open(n.Sealed, b)
	if err != nil || n.SealedKeyID != k.ID {
		n.Unopened = "decrypt"
		return
	}
	text, err := seal.ParseText(plain)
	if err != nil {
		n.Unopened = "decrypt"
		return
	}
	n.Opened = &text
	n.Title, n.Subtitle, n.Body = text.Title, text.Subtitle, text.Body
	if text.ActionToken != "" {
		n.ActionToken = text.ActionToken
	}
}
