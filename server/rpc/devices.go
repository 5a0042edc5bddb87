package rpc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
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
	// Judged keeps how a test ended.
	Judged(ctx context.Context, t notify.Test)
}

// Prover sends small secrets that come back when somebody holds what they went to.
type Prover interface {
	// PushNonce pushes the nonce to an address that is not the device's yet.
	PushNonce(ctx context.Context, d *directory.Device, address directory.AddressSecret, kind directory.AddressKind, nonce string) error
	// SendCode sends the code to a contact method.
	SendCode(ctx context.Context, u roster.User, m roster.Method, code string, until time.Time) error
}

// Browsers is what the API has to know of pushing to browsers.
type Browsers interface {
	// WebKey returns the id of a web app and the public key that its browsers
	// subscribe with; an empty id is the only web app. ok is false without one.
	WebKey(app string) (id string, key []byte, ok bool)
	// CheckSubscription tells what is wrong with a subscription: whoever
	// registers one chooses where pushes go.
	CheckSubscription(app string, s directory.AddressSecret) error
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
	return deviceMessage(d, words[d.ID], s.c.Now()), nil
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
		return deviceMessage(d, words[d.ID], s.c.Now())
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
		self, own := e.GetDevice(r.self)
		if r.self != "" && (!own || self.State == roster.DeviceRevoked) {
			return auth.ErrUnknown // revoked since the call was let in
		}
		own = own && self.User == r.user && (!known || old.ID != self.ID)
		theirs := known && old.User != r.user && old.State != roster.DeviceRevoked
		label := r.message.GetInstallId()
		switch {
		case known && old.State == roster.DeviceRevoked:
			known = false
			if err := r.release(e, old); err != nil {
				return err
			}
		case theirs && !s.claimed(old, r.message.GetAddress()):
			return fault.New(fault.Denied, "NOT_THIS_DEVICE",
				"the app is somebody else's device, and that is not its address; sign out there, or reset the app to get an install_id of its own")
		case theirs: // somebody else signs in on the phone: it keeps its label until this one has proven to be it
			known, label = false, ""
		}
		switch {
		case known && old.ID == r.self:
			*d = *old
			r.id = old.ID
		case own && theirs: // the same app once more, before it has proven its address
			*d = *self
			r.id = self.ID
		default:
			if known { // the same person signs in again: the old credential may be lost
				if err := r.retire(e, old, "signed in again"); err != nil {
					return err
				}
			}
			r.credential = auth.NewDeviceCredential(r.id)
			d.ID, d.User, d.State, d.Credential = r.id, r.user, roster.DeviceActive, auth.HashSecret(r.credential)
			if err := r.makeRoom(e); err != nil {
				return err
			}
		}
		was := *d
		deviceOf(d, r.message, e.Now)
		d.Install = label
		if err := s.address(e, r, d, r.message.GetAddress(), nonce); err != nil {
			return err
		}
		keepConfirmed(&was, d)
		if d.Claim != nil && label == "" {
			d.Claim.Install = r.message.GetInstallId()
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

// claimed reports whether the address is the one by which the device is known.
func (s *devices) claimed(d *directory.Device, m *pb.Device_Address) bool {
	kind := directory.AddressKind(m.GetKind()) //nolint:gosec // checked by the rules
	return m.GetValue() != "" && d.Address.Kind == kind && d.Address.Lookup == directory.LookupOf(kind, m.GetValue())
}

func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// retire revokes a record that the same app replaces.
func (r *registration) retire(e *directory.Edit, old *directory.Device, why string) error {
	r.out[old.ID] = true
	d := old.Revoked(why)
	d.Install = ""
	return e.Update(d, "")
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
	return r.retire(e, inForce[i], "made room for another device")
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
	if err := s.subscription(d.App, m); err != nil {
		return err
	}
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

// keepConfirmed keeps the environment that a push has proven for as long as the
// address is the same, whatever the app believes.
func keepConfirmed(was, d *directory.Device) {
	if d.Confirmed = was.Confirmed && d.Address.Lookup == was.Address.Lookup; d.Confirmed {
		d.Environment = was.Environment
	}
}

// subscription refuses a Web Push address that no browser has made.
func (s *devices) subscription(app string, m *pb.Device_Address) error {
	if directory.AddressKind(m.GetKind()) != directory.WebPush { //nolint:gosec // checked by the rules
		return nil
	}
	if s.c.Browsers == nil {
		return fault.InvalidField("address.kind", "this installation pages no browsers: its administrator has to add a web app under push.apps")
	}
	if err := s.c.Browsers.CheckSubscription(app, secretOf(m)); err != nil {
		return fault.InvalidField("address.value", "%v", err)
	}
	return nil
}

func (s *devices) GetWebPushKey(_ context.Context, req *pb.GetWebPushKeyRequest) (*pb.WebPushKey, error) {
	if s.c.Browsers != nil {
		if id, key, ok := s.c.Browsers.WebKey(req.GetAppId()); ok {
			return &pb.WebPushKey{AppId: id, Key: key}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "NO_WEB_APP", "this installation pages no browsers; its administrator has to add a web app under push.apps")
}

// vacate takes its address from a device.
func (s *devices) vacate(e *directory.Edit, holder *directory.Device) error {
	h := *holder
	h.Address, h.Confirmed = directory.Address{}, false
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
		d.Address, d.Claim, d.Confirmed, d.State, d.StateReason = claim.Address, nil, false, roster.DeviceActive, ""
		if claim.Install != "" {
			d.Install = claim.Install
		}
		for other := range e.AllDevices() {
			holds := other.Address.Kind == claim.Kind && other.Address.Lookup == claim.Lookup
			switch {
			case other.ID == id:
			case claim.Install != "" && other.Install == claim.Install: // the same app: its person is signed out there
				gone := other.Revoked("another person signed in on the phone")
				gone.Install = ""
				if err := e.Update(gone, ""); err != nil {
					return err
				}
			case holds:
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
		m := deviceMessage(old, roster.Word{}, e.Now)
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
		keepConfirmed(old, &d)
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
		return e.Update(old.Revoked(req.GetReason()), "")
	})
	if err != nil {
		return nil, err
	}
	return s.read(ctx, snap, id)
}

// heardEvery is how often a device's sign of life is written down.
const heardEvery = time.Minute

// presence writes down when devices were last heard of, each once a minute, and
// apart from that when their app was last open.
type presence struct {
	mu   sync.Mutex
	seen map[sign]time.Time
}

// sign is a sign of life: a call of any kind, or one that an app makes when
// somebody has opened it.
type sign struct {
	device roster.DeviceID
	open   bool
}

// due reports whether the sign of life is to be written.
func (p *presence) due(s sign, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[sign]time.Time{}
	}
	if now.Sub(p.seen[s]) < heardEvery {
		return false
	}
	if len(p.seen) > 100_000 { // what is forgotten is written once more
		clear(p.seen)
	}
	p.seen[s] = now
	return true
}

// background are the calls that an app makes with nobody looking at it.
var background = map[string]bool{ //nolint:gochecknoglobals // look-up table
	pb.DeviceService_ReportReceipts_FullMethodName: true, pb.DeviceService_Act_FullMethodName: true,
}

// heard keeps that a device has spoken. One that had not been heard of for long
// is as good as any other from now on.
func (s *Server) heard(ctx context.Context, c *call) {
	id, at := c.principal.Device, sign{c.principal.Device, !background[c.method]}
	if !s.present.due(at, c.started) {
		return
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	if err := s.c.Store.TouchDevice(after, id, signs(at, c.started)); err != nil {
		s.c.Log.WarnContext(ctx, "sign of life not kept", slog.String("device", string(id)), slog.Any("err", err))
	}
	if err := s.revive(after, id); err != nil {
		s.c.Log.WarnContext(ctx, "device stays unverified", slog.String("device", string(id)), slog.Any("err", err))
	}
}

// signs are the fields of a device's word that a sign of life sets.
func signs(s sign, at time.Time) map[string]any {
	set := map[string]any{roster.WordSeen: at}
	if s.open {
		set[roster.WordOpened] = at
	}
	return set
}

// revive makes an unverified device that has an address active again. Most
// devices are, and nothing is written.
func (s *Server) revive(ctx context.Context, id roster.DeviceID) error {
	stale := func(d *directory.Device, ok bool) bool {
		return ok && d.State == roster.DeviceUnverified && d.Address.Kind != 0
	}
	if !stale(s.c.Directory.Snapshot().GetDevice(id)) {
		return nil
	}
	_, err := s.c.Directory.Change(ctx, directory.ByServer("heard"), func(e *directory.Edit) error {
		d, ok := e.GetDevice(id)
		if !stale(d, ok) {
			return nil
		}
		c := *d
		c.State, c.StateReason = roster.DeviceActive, ""
		return e.Update(&c, "")
	})
	return err
}
