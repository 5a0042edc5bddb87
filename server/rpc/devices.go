package rpc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Notifier is what the API asks of package notify: *notify.Notifier.
type Notifier interface {
	Report(ctx context.Context, caller auth.Principal, key string, receipts []notify.Receipt) ([]notify.ReceiptStatus, error)
	Acted(ctx context.Context, delivery string) error
	// Listed returns the incidents that the card of a delivery showed.
	Listed(ctx context.Context, delivery string) ([]attention.Item, error)
	SendTest(ctx context.Context, device roster.DeviceID, critical bool, request string) (notify.Test, error)
	GetTest(ctx context.Context, id string) (notify.Test, error)
	WatchTest(ctx context.Context, id string, f func(notify.Test) error) error
	ConfirmTest(ctx context.Context, caller auth.Principal, id string, heard bool) (notify.Test, error)
}

// Prover sends small secrets that come back when somebody holds what they went to.
type Prover interface {
	// PushNonce pushes the nonce to an address that is not the device's yet.
	PushNonce(ctx context.Context, d *directory.Device, address directory.AddressSecret, kind directory.AddressKind, nonce string) error
	// SendCode sends the code to a contact method.
	SendCode(ctx context.Context, u roster.User, m roster.Method, code string, until time.Time) error
}

// devices is tocsin.v1.DeviceService.
type devices struct {
	pb.UnimplementedDeviceServiceServer
	*Server
}

// device resolves a device's name; "devices/me" is the caller.
func (c *call) device(field, name string) (roster.DeviceID, error) {
	id := roster.DeviceID(last(name))
	if id != "me" {
		return id, nil
	}
	if c.principal.Device == "" {
		return "", fault.InvalidField(field, "devices/me is the device that calls, and %s is no device", c.principal.String())
	}
	return c.principal.Device, nil
}

// message returns a device with what was last heard of it.
func (s *devices) message(ctx context.Context, d *directory.Device) (*pb.Device, error) {
	words, err := s.c.Store.Devices(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	return deviceMessage(d, wordOf(words[d.ID]), s.c.Now()), nil
}

func (s *devices) read(ctx context.Context, snap *directory.Snapshot, id roster.DeviceID) (*pb.Device, error) {
	d, ok := snap.GetDevice(id)
	if !ok {
		return nil, missing("name", deviceName(id))
	}
	return s.message(ctx, d)
}

func (s *devices) GetDevice(ctx context.Context, req *pb.GetDeviceRequest) (*pb.Device, error) {
	id, err := callOf(ctx).device("name", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.read(ctx, s.c.Directory.Snapshot(), id)
}

func (s *devices) ListDevices(ctx context.Context, req *pb.ListDevicesRequest) (*pb.ListDevicesResponse, error) {
	c := callOf(ctx)
	user := c.principal.User
	if req.GetUser() != "" {
		var err error
		if user, err = c.user("user", req.GetUser()); err != nil {
			return nil, err
		}
	}
	if err := c.mine(user); err != nil {
		return nil, err
	}
	page, next, err := byAgePage(req, usualPage, mostPage, s.c.Directory.Snapshot().AllDevices(),
		func(d *directory.Device) int64 { return d.Created.UnixMilli() },
		func(d *directory.Device) bool {
			return (user == "" || d.User == user) && (req.GetShowRevoked() || d.State != roster.DeviceRevoked)
		})
	if err != nil {
		return nil, err
	}
	words, err := s.c.Store.Devices(ctx, each(page, func(d *directory.Device) roster.DeviceID { return d.ID })...)
	if err != nil {
		return nil, err
	}
	return &pb.ListDevicesResponse{Devices: each(page, func(d *directory.Device) *pb.Device {
		return deviceMessage(d, wordOf(words[d.ID]), s.c.Now())
	}), NextPageToken: next}, nil
}

// registration is a device on its way into the directory.
type registration struct {
	user       roster.UserID
	message    *pb.Device
	self       roster.DeviceID // the device that calls, when it does
	id         roster.DeviceID
	credential string // of a new device
	nonce      string // to be pushed to the claimed address

	// out are the records that this change has taken the address of already:
	// an edit shows the configuration as it was before.
	out map[roster.DeviceID]bool
}

// register makes the app a device of the person, or brings its record up to date.
func (s *devices) register(ctx context.Context, r *registration) (*directory.Device, error) {
	fresh := roster.DeviceID(auth.NewID())
	nonce := newNonce()
	snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
		r.id, r.credential, r.nonce, r.out = fresh, "", "", map[roster.DeviceID]bool{}
		d := &directory.Device{}
		old, known := e.DeviceByInstall(r.message.GetInstallId())
		switch {
		case known && old.State == roster.DeviceRevoked:
			known = false
			if err := r.release(e, old); err != nil {
				return err
			}
		case known && old.User != r.user:
			return fault.New(fault.Denied, "NOT_THIS_DEVICE",
				"the app is somebody else's device; sign out there, or reset the app to get an install_id of its own")
		}
		switch {
		case known && old.ID == r.self:
			*d = *old
			r.id = old.ID
		default:
			if known { // the same person signs in again: the old credential may be lost
				if err := r.retire(e, old); err != nil {
					return err
				}
			}
			r.credential = auth.NewDeviceCredential(r.id)
			d.ID, d.User, d.State, d.Credential = r.id, r.user, roster.DeviceActive, auth.HashSecret(r.credential)
			if err := r.makeRoom(e); err != nil {
				return err
			}
		}
		deviceOf(d, r.message, e.Now)
		if err := s.address(e, r, d, r.message.GetAddress(), nonce); err != nil {
			return err
		}
		if r.credential == "" {
			return e.Update(d, "")
		}
		return e.Create(d)
	})
	if err != nil {
		return nil, inField("device", err)
	}
	d, ok := snap.GetDevice(r.id)
	if !ok {
		return nil, missing("name", deviceName(r.id))
	}
	if r.nonce != "" {
		if err := s.pushNonce(ctx, d, r.nonce); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// retire revokes a record that the same app replaces.
func (r *registration) retire(e *directory.Edit, old *directory.Device) error {
	r.out[old.ID] = true
	d := *old
	d.State, d.Credential, d.Epoch = roster.DeviceRevoked, auth.Hash{}, old.Epoch+1
	d.Address, d.Claim, d.Install = directory.Address{}, nil, ""
	return e.Update(&d, "")
}

// release takes the install id from a revoked record, for the app to be used again.
func (r *registration) release(e *directory.Edit, old *directory.Device) error {
	r.out[old.ID] = true
	d := *old
	d.Install, d.Address, d.Claim = "", directory.Address{}, nil
	return e.Update(&d, "")
}

// makeRoom removes the oldest unverified device of somebody who has as many as may be.
func (r *registration) makeRoom(e *directory.Edit) error {
	var inForce []*directory.Device
	for _, d := range e.DevicesOf(r.user) {
		if d.State != roster.DeviceRevoked && !r.out[d.ID] {
			inForce = append(inForce, d)
		}
	}
	if len(inForce) < directory.MaxDevices {
		return nil
	}
	i := slices.IndexFunc(inForce, func(d *directory.Device) bool {
		return d.State == roster.DeviceUnverified || d.State == roster.DeviceDead || d.Address.Kind == 0
	})
	if i < 0 {
		return nil // the directory refuses, and says why
	}
	return r.retire(e, inForce[i])
}

// claimLife is how long the phone has to show the nonce.
const claimLife = 10 * time.Minute

// address gives the device the address that its message names. One that
// belongs to another person's device is only claimed, until the phone shows
// the nonce that goes there.
func (s *devices) address(e *directory.Edit, r *registration, d *directory.Device, m *pb.Device_Address, nonce string) error {
	if m.GetValue() == "" {
		if d.Address.Kind == 0 && d.State == roster.DeviceActive {
			d.State = roster.DeviceUnverified
		}
		return nil
	}
	kind, secret := directory.AddressKind(m.GetKind()), secretOf(m) //nolint:gosec // checked by the rules
	sealed, err := s.c.Directory.SealAddress(d.ID, kind, secret, e.Now)
	if err != nil {
		return err
	}
	holder, taken := e.DeviceByAddress(kind, secret.Value)
	taken = taken && !r.out[holder.ID]
	switch {
	case taken && holder.ID == d.ID:
		d.Address, d.Claim = sealed, nil
	case taken && holder.User != d.User && holder.State != roster.DeviceRevoked:
		r.nonce = nonce
		d.Claim = &directory.Claim{Address: sealed, Nonce: auth.HashSecret(nonce), Expires: e.Now.Add(claimLife)}
		if d.Address.Kind == 0 {
			d.State = roster.DeviceUnverified
		}
		return nil
	case taken: // an app that was installed anew, or a phone that was revoked
		if err := s.vacate(e, holder); err != nil {
			return err
		}
		d.Address, d.Claim = sealed, nil
	default:
		d.Address, d.Claim = sealed, nil
	}
	if d.State != roster.DeviceRevoked {
		d.State, d.StateReason = roster.DeviceActive, ""
	}
	return nil
}

// vacate takes its address from a device.
func (s *devices) vacate(e *directory.Edit, holder *directory.Device) error {
	h := *holder
	h.Address = directory.Address{}
	if h.State == roster.DeviceActive {
		h.State = roster.DeviceUnverified
	}
	return e.Update(&h, "")
}

// pushNonce sends the nonce of a device's claim to the claimed address.
func (s *devices) pushNonce(ctx context.Context, d *directory.Device, nonce string) error {
	if d.Claim == nil || s.c.Prover == nil {
		return fault.New(fault.Unavailable, "PUSH_UNAVAILABLE", "the address cannot be proven now; register again later").After(time.Minute)
	}
	secret, err := s.c.Directory.OpenAddress(d.ID, d.Claim.Address)
	if err != nil {
		return err
	}
	return s.c.Prover.PushNonce(ctx, d, secret, d.Claim.Kind, nonce)
}

func (s *devices) RegisterDevice(ctx context.Context, req *pb.RegisterDeviceRequest) (*pb.RegisterDeviceResponse, error) {
	p := callOf(ctx).principal
	if p.User == "" {
		return nil, fault.New(fault.Denied, "NOT_A_PERSON", "a device is somebody's; sign in as a person, or enrol")
	}
	r := &registration{user: p.User, message: req.GetDevice(), self: p.Device}
	d, err := s.register(ctx, r)
	if err != nil {
		return nil, err
	}
	m, err := s.message(ctx, d)
	if err != nil {
		return nil, err
	}
	return &pb.RegisterDeviceResponse{Device: m, Credential: r.credential, ConfirmationRequired: r.nonce != ""}, nil
}

func (s *devices) ConfirmDeviceAddress(ctx context.Context, req *pb.ConfirmDeviceAddressRequest) (*pb.Device, error) {
	c := callOf(ctx)
	id, err := c.device("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if c.principal.Device != id {
		return nil, fault.New(fault.Denied, "NOT_THIS_DEVICE", "only the device itself can prove its address")
	}
	snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
		old, ok := e.GetDevice(id)
		if !ok {
			return missing("name", deviceName(id))
		}
		claim := old.Claim
		if claim == nil || !e.Now.Before(claim.Expires) || !claim.Nonce.Equal(auth.HashSecret(req.GetNonce())) {
			return fault.New(fault.Precondition, "NONCE_INVALID", "the nonce is wrong or over 10 minutes old; register again to get a new one", "name", deviceName(id))
		}
		d := *old
		d.Address, d.Claim, d.State, d.StateReason = claim.Address, nil, roster.DeviceActive, ""
		for other := range e.AllDevices() {
			if other.ID != id && other.Address.Kind == claim.Kind && other.Address.Lookup == claim.Lookup {
				if err := s.vacate(e, other); err != nil {
					return err
				}
			}
		}
		return e.Update(&d, "")
	})
	if err != nil {
		return nil, err
	}
	return s.read(ctx, snap, id)
}

func (s *devices) UpdateDevice(ctx context.Context, req *pb.UpdateDeviceRequest) (*pb.Device, error) {
	c := callOf(ctx)
	id, err := c.device("device.name", req.GetDevice().GetName())
	if err != nil {
		return nil, err
	}
	nonce, reg := newNonce(), &registration{}
	snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
		reg.nonce = ""
		old, ok := e.GetDevice(id)
		if !ok {
			return missing("device.name", deviceName(id))
		}
		if old.State == roster.DeviceRevoked {
			return fault.New(fault.Precondition, "DEVICE_REVOKED", "the device was taken out; enrol it anew", "name", deviceName(id))
		}
		m := deviceMessage(old, word{}, e.Now)
		m.Address = nil
		taken, err := update(m, req.GetDevice(), req.GetUpdateMask())
		if err != nil {
			return err
		}
		if c.principal.Device != id && slices.ContainsFunc(taken, func(p string) bool { return p != "display_name" }) {
			return fault.New(fault.Denied, "NOT_THIS_DEVICE", "only the device itself says what it can do; its person may change its name")
		}
		d := *old
		deviceOf(&d, m, e.Now)
		d.Install, d.Platform = old.Install, old.Platform // what it is does not change
		if slices.ContainsFunc(taken, func(p string) bool { return p == "address" || strings.HasPrefix(p, "address.") }) {
			if err := s.address(e, reg, &d, req.GetDevice().GetAddress(), nonce); err != nil {
				return err
			}
		}
		return e.Update(&d, unquote(req.GetDevice().GetEtag()))
	})
	if err != nil {
		return nil, inField("device", err)
	}
	if reg.nonce != "" {
		if d, ok := snap.GetDevice(id); ok {
			if err := s.pushNonce(ctx, d, reg.nonce); err != nil {
				return nil, err
			}
		}
	}
	return s.read(ctx, snap, id)
}

func (s *devices) RevokeDevice(ctx context.Context, req *pb.RevokeDeviceRequest) (*pb.Device, error) {
	c := callOf(ctx)
	id, err := c.device("name", req.GetName())
	if err != nil {
		return nil, err
	}
	snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
		old, ok := e.GetDevice(id)
		if !ok {
			return missing("name", deviceName(id))
		}
		if old.State == roster.DeviceRevoked {
			return nil
		}
		d := *old
		d.State, d.StateReason, d.Credential, d.Epoch = roster.DeviceRevoked, req.GetReason(), auth.Hash{}, old.Epoch+1
		d.Address, d.Claim = directory.Address{}, nil
		return e.Update(&d, "")
	})
	if err != nil {
		return nil, err
	}
	return s.read(ctx, snap, id)
}

// heardEvery is how often a device's sign of life is written down.
const heardEvery = time.Minute

// presence writes down when devices were last heard of, each once a minute.
type presence struct {
	mu   sync.Mutex
	seen map[roster.DeviceID]time.Time
}

// due reports whether the device's sign of life is to be written.
func (p *presence) due(id roster.DeviceID, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[roster.DeviceID]time.Time{}
	}
	if now.Sub(p.seen[id]) < heardEvery {
		return false
	}
	if len(p.seen) > 100_000 { // what is forgotten is written once more
		clear(p.seen)
	}
	p.seen[id] = now
	return true
}

// heard keeps what a device has said of itself last.
func (s *Server) heard(ctx context.Context, id roster.DeviceID, change func(*word)) {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	words, err := s.c.Store.Devices(after, id)
	if err == nil {
		w := wordOf(words[id])
		change(&w)
		var raw []byte
		if raw, err = json.Marshal(w); err == nil {
			err = s.c.Store.PutDevice(after, id, raw)
		}
	}
	if err != nil {
		s.c.Log.WarnContext(ctx, "sign of life not kept", slog.String("device", string(id)), slog.Any("err", err))
	}
}
