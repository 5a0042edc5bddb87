package directory

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Device is one app on one phone or browser, with everything that a push to it
// needs. Receipts, heartbeats and tests are not in here: they would move the
// configuration many times a minute.
type Device struct {
	roster.Device
	Install     string // UUID that the app made; a label, not a secret
	App         string // bundle id or package name
	Environment Environment
	Confirmed   bool // a push to Address in Environment has been accepted: it is the right one
	Address     Address
	// Claim is an address that the phone says it has and another person's device
	// is known by. It takes effect when the phone shows a nonce pushed there.
	Claim       *Claim
	SealKey     []byte // P-256 point to seal pages for; empty: redacted instead
	SealKeyID   string
	SealKeyAt   time.Time // when the key came in
	SealFailed  time.Time // when the phone said that it cannot open what is sealed for the key; zero: it can
	UnlockKey   []byte    // P-256 point that signs actions while unlocked; empty: acknowledge only
	Locale      string
	Zone        string
	AppVersion  string
	OSVersion   string
	Model       string
	Can         Capabilities
	Permission  Permission
	StateReason string // why it is parked or dead, in the provider's word
	Epoch       uint32 // rises when it is revoked: what was signed before is void
	Credential  auth.Hash
	Meta
}

// Environment is which of Apple's two worlds an app was built for.
type Environment uint8

// The environments. Production is also all of Android and web.
const (
	Production Environment = iota
	Sandbox
)

// AddressKind is which push service an address belongs to.
type AddressKind uint8

// The push services.
const (
	APNs AddressKind = iota + 1
	FCM
	WebPush
)

// Address is where a push service finds the app; its secret part is sealed.
type Address struct {
	Kind   AddressKind // 0: none yet
	Sealed []byte      // an AddressSecret, sealed for the device
	Lookup auth.Hash   // see LookupOf
	Hint   string      // last characters, to tell two apart
	At     time.Time
}

// Claim is an address that is not proven yet.
type Claim struct {
	Address
	// Install is the label of an app that is another person's device, whose
	// phone this is when the claim is proven; empty: the device has its own.
	Install string    `json:",omitempty"`
	Nonce   auth.Hash // of what was pushed there
	Expires time.Time
}

// AddressSecret is the part of an address that lets anybody push to it.
type AddressSecret struct {
	Value  string `json:"v"`           // device token, registration token, or endpoint
	P256dh []byte `json:"k,omitempty"` // Web Push only
	Auth   []byte `json:"a,omitempty"` // Web Push only
}

// Permission is whether the person has allowed notifications.
type Permission uint8

// The permissions. The zero Permission was not reported and counts as allowed.
const (
	PermissionGranted Permission = iota + 1
	PermissionDenied
	PermissionNotDetermined
	PermissionProvisional // without sound or banner: wakes nobody
)

// Capabilities is what the app and its settings can do, as the app reports it.
type Capabilities struct {
	Critical            bool `json:",omitempty"`
	TimeSensitive       bool `json:",omitempty"`
	FullScreen          bool `json:",omitempty"`
	DNDBypass           bool `json:",omitempty"`
	ChannelOK           bool `json:",omitempty"`
	LiveActivity        bool `json:",omitempty"`
	Actions             bool `json:",omitempty"`
	LockScreen          bool `json:",omitempty"`
	ScheduledSummary    bool `json:",omitempty"`
	BatteryUnrestricted bool `json:",omitempty"`
	Alert               bool `json:",omitempty"`
	Sound               bool `json:",omitempty"`
}

// MaxDevices is how many devices one person may have.
const MaxDevices = 10

// LookupOf returns the hash by which an address is found without opening any.
func LookupOf(kind AddressKind, value string) auth.Hash {
	return sha256.Sum256(append([]byte{byte(kind)}, value...))
}

// Login returns what signing in as the device is checked against.
func (d *Device) Login() auth.DeviceLogin {
	return auth.DeviceLogin{
		Device: d.ID, User: d.User, Hash: d.Credential, Epoch: d.Epoch,
		Usable: d.State != roster.DeviceRevoked && d.Deleted.IsZero(),
	}
}

// Seen returns the device as decisions see it: one without an address, or whose
// app may not notify, cannot be the way that a person is reached.
func (d *Device) Seen() roster.Device {
	r := d.Device
	if d.Address.Kind == 0 && r.Pageable() {
		r.State = roster.DeviceParked
	}
	if d.Permission > PermissionGranted {
		r.Silenced = true
	}
	return r
}

// SetSealKey takes in the key of which the app says that pages can be sealed
// for it. One that failed stays so until there is another.
func (d *Device) SetSealKey(key []byte, id string, now time.Time) {
	if bytes.Equal(d.SealKey, key) && d.SealKeyID == id {
		return
	}
	d.SealKey, d.SealKeyID, d.SealKeyAt, d.SealFailed = key, id, now.UTC(), time.Time{}
}

// Seals reports whether pages can be sealed for the device.
func (d *Device) Seals() bool { return len(d.SealKey) > 0 && d.SealFailed.IsZero() }

// Revoked returns the device taken out for good: without address and
// credential, and with everything void that was signed for it.
func (d *Device) Revoked(why string) *Device {
	c := *d
	c.State, c.StateReason, c.Credential, c.Epoch = roster.DeviceRevoked, why, auth.Hash{}, d.Epoch+1
	c.Address, c.Claim, c.Confirmed = Address{}, nil, false
	return &c
}

const addressPurpose = "device address"

// SealAddress returns the address for the record of the device.
func (d *Directory) SealAddress(device roster.DeviceID, kind AddressKind, secret AddressSecret, at time.Time) (Address, error) {
	plain, err := json.Marshal(secret)
	if err != nil {
		return Address{}, fmt.Errorf("encode address of device %s: %w", device, err)
	}
	sealed, err := d.addresses.Seal(plain, "devices/"+string(device))
	if err != nil {
		return Address{}, fmt.Errorf("seal address of device %s: %w", device, err)
	}
	hint := secret.Value
	if len(hint) > 6 {
		hint = hint[len(hint)-6:]
	}
	return Address{Kind: kind, Sealed: sealed, Lookup: LookupOf(kind, secret.Value), Hint: hint, At: at.UTC()}, nil
}

// OpenAddress returns the secret part of an address (the device's own or its claim's).
func (d *Directory) OpenAddress(device roster.DeviceID, a Address) (AddressSecret, error) {
	var secret AddressSecret
	plain, err := d.addresses.Open(a.Sealed, "devices/"+string(device))
	if err != nil {
		return secret, fmt.Errorf("open address of device %s: %w", device, err)
	}
	if err := json.Unmarshal(plain, &secret); err != nil {
		return secret, fmt.Errorf("decode address of device %s: %w", device, err)
	}
	return secret, nil
}
