package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

const (
	appID        = "dev.tocsin.demo"
	callTimeout  = 5 * time.Second        // of one HTTP call of a phone
	retryEvery   = 300 * time.Millisecond // a real phone waits longer; a demo has no time
	actPatience  = 15 * time.Second       // then the card says that the tap failed
	receiptQueue = 100                    // also what one call may carry
)

// mood is what a phone does with what it gets.
type mood int32

const (
	moodWell    mood = iota
	moodMute         // gets pushes and shows them, but its app says nothing: no receipts
	moodOffline      // gets nothing
)

func (m mood) String() string { return [...]string{"well", "silent", "offline"}[m] }

// phone is a simulated phone: pushtest's screen and push service, and here the
// app, which knows the server's public address and the contract of a phone.
type phone struct {
	owner    person
	name     string // "Ann's iPhone"
	platform tocsinv1.Device_Platform
	origin   string // the server's public URL, as the enrolment link has it
	sim      *pushtest.Phone
	http     *http.Client
	unlock   *ecdsa.PrivateKey // can be used only while the phone is unlocked
	install  string
	log      func(sighting)

	outbox  chan *tocsinv1.Receipt
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex
	mood       mood
	credential string
	pending    string // what the lock screen says about a tap; "" for nothing
}

// newPhone switches a phone on, until close: it outlives the step that does it.
func newPhone(ctx context.Context, owner person, name string, platform tocsinv1.Device_Platform, log func(sighting)) (*phone, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("%s: make its unlock key: %w", name, err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &phone{
		owner: owner, name: name, platform: platform, unlock: key, install: uuid.NewString(), log: log,
		http: &http.Client{Timeout: callTimeout}, outbox: make(chan *tocsinv1.Receipt, receiptQueue), cancel: cancel,
	}
	p.sim = pushtest.NewPhone(pushtest.PhoneOptions{Name: name, OnPush: p.arrived})
	p.running.Go(func() { p.sendReceipts(ctx) })
	return p, nil
}

func (p *phone) close() {
	p.sim.Close()
	p.cancel()
	p.running.Wait()
	p.http.CloseIdleConnections()
}

func (p *phone) ios() bool { return p.platform == tocsinv1.Device_PLATFORM_IOS }

// address is where the push service finds the app, by the token that it gave.
func (p *phone) address(token string) *tocsinv1.Device_Address {
	kind := tocsinv1.Device_Address_KIND_FCM
	if p.ios() {
		kind = tocsinv1.Device_Address_KIND_APNS
	}
	return &tocsinv1.Device_Address{Kind: kind, Value: token}
}

// enrol opens the link of a QR code, which says where the server is: whose
// phone it would become is shown, then the code is exchanged for a credential.
// Then the app starts for the first time, and registers all that it knows.
func (p *phone) enrol(ctx context.Context, link, token string) error {
	origin, code, ok := strings.Cut(link, "/enrol#")
	if !ok {
		return fmt.Errorf("%s: the link has no code", p.name)
	}
	p.origin = origin // pinned: no push can change it
	var preview tocsinv1.Enrolment
	if err := p.post(ctx, "/v1/devices:previewEnrolment", "", &tocsinv1.PreviewEnrolmentRequest{Code: code}, &preview); err != nil {
		return fmt.Errorf("%s: look at the enrolment: %w", p.name, err)
	}
	if preview.GetUser() != p.owner.name() {
		return fmt.Errorf("%s would become the phone of %s", p.name, preview.GetUser())
	}
	device, err := p.device()
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	var done tocsinv1.EnrolDeviceResponse
	if err := p.post(ctx, "/v1/devices:enrol", "", &tocsinv1.EnrolDeviceRequest{Code: code, Device: device}, &done); err != nil {
		return fmt.Errorf("%s: enrol: %w", p.name, err)
	}
	if done.GetCredential() == "" {
		return fmt.Errorf("%s: the enrolment answered no credential", p.name)
	}
	p.mu.Lock()
	p.credential = done.GetCredential()
	p.mu.Unlock()

	device.Address = p.address(token)
	var known tocsinv1.RegisterDeviceResponse
	if err := p.post(ctx, "/v1/devices:register", p.secret(), &tocsinv1.RegisterDeviceRequest{Device: device}, &known); err != nil {
		return fmt.Errorf("%s: register its address: %w", p.name, err)
	}
	if known.GetConfirmationRequired() {
		return fmt.Errorf("%s: its address is said to be another person's", p.name)
	}
	return nil
}

// device is what the app knows of itself, but for its address.
func (p *phone) device() (*tocsinv1.Device, error) {
	public, err := p.unlock.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("write its unlock key: %w", err)
	}
	device := &tocsinv1.Device{
		DisplayName: p.name, InstallId: p.install, Platform: p.platform, AppId: appID, UnlockKey: public,
		Model: "Pixel 11", OsVersion: "18", AppVersion: "1.0.0", Locale: "en", TimeZone: "UTC",
		Permission: tocsinv1.Device_PERMISSION_GRANTED,
		Capabilities: &tocsinv1.Device_Capabilities{
			Critical: true, TimeSensitive: true, FullScreen: !p.ios(), DndBypass: true, ChannelOk: true, Actions: true,
			LockScreen: true, BatteryUnrestricted: true, Alert: true, Sound: true,
		},
	}
	if p.ios() {
		device.Model, device.OsVersion = "iPhone18,1", "27.1"
	}
	return device, nil
}

// setMood changes what the phone does from now on. Back on line, it gets what
// the push service kept.
func (p *phone) setMood(m mood) {
	p.mu.Lock()
	p.mood = m
	p.mu.Unlock()
	p.sim.Offline(m == moodOffline)
}

func (p *phone) moodNow() mood {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mood
}

// arrived is the app's code that runs for a push: on iOS its extension, on
// Android onMessageReceived. Only pages and tests ask for a receipt.
func (p *phone) arrived(n pushtest.Notification) {
	p.log(sighting{at: n.At, where: atPhone, who: p.owner, text: describePush(n), push: &n, incident: incidentName(n.IncidentID)})
	if n.ReceiptPath == "" || p.moodNow() != moodWell {
		return
	}
	for _, r := range p.receipts(n) {
		select {
		case p.outbox <- r:
		default: // a phone in such a storm forgets the oldest first; a demo has none
		}
	}
}

// receipts is what the phone has to say about a push. An iPhone cannot prove
// that something was shown, an Android phone can, and whether it was heard.
func (p *phone) receipts(n pushtest.Notification) []*tocsinv1.Receipt {
	make1 := func(s tocsinv1.Receipt_State) *tocsinv1.Receipt {
		return &tocsinv1.Receipt{DeliveryId: n.DeliveryID, State: s, DeviceAt: timestamppb.New(n.At), Net: "wifi", AppVersion: "1.0.0"}
	}
	received := make1(tocsinv1.Receipt_STATE_RECEIVED)
	switch {
	case n.Stale, n.Missed:
		late := make1(tocsinv1.Receipt_STATE_SUPPRESSED)
		late.Reason = "expired"
		if n.Stale {
			late.Reason = "stale"
		}
		return []*tocsinv1.Receipt{received, late}
	case p.ios():
		return []*tocsinv1.Receipt{received}
	}
	displayed := make1(tocsinv1.Receipt_STATE_DISPLAYED)
	displayed.Audible = tocsinv1.Delivery_AUDIBLE_NO
	if n.Audible() {
		displayed.Audible = tocsinv1.Delivery_AUDIBLE_YES
	}
	for _, r := range []*tocsinv1.Receipt{received, displayed} {
		r.Prio, r.OrigPrio = "high", "high"
	}
	return []*tocsinv1.Receipt{received, displayed}
}

// sendReceipts reports until the server has taken it, all that waits in one call.
func (p *phone) sendReceipts(ctx context.Context) {
	for {
		var batch []*tocsinv1.Receipt
		select {
		case r := <-p.outbox:
			batch = append(batch, r)
		case <-ctx.Done():
			return
		}
		for len(batch) < receiptQueue && len(p.outbox) > 0 {
			batch = append(batch, <-p.outbox)
		}
		for ctx.Err() == nil {
			err := p.post(ctx, "/v1/push/receipts", p.secret(), &tocsinv1.ReportReceiptsRequest{Receipts: batch}, &tocsinv1.ReportReceiptsResponse{})
			if !temporary(err) {
				break // taken, or refused for good
			}
			rest(ctx, retryEvery)
		}
	}
}

func (p *phone) secret() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.credential
}

// card is the page on the lock screen that a tap is meant for: the newest one.
func (p *phone) card() (pushtest.Notification, bool) {
	for _, n := range slices.Backward(p.sim.Shown()) {
		if n.Kind == "page" {
			return n, true
		}
	}
	return pushtest.Notification{}, false
}

// errNoCard is a tap beside every button.
var errNoCard = errors.New("there is no page on its screen")

// act is a tap on a button of the newest page. It is repeated with the same id
// until the server has answered, or the card has to say that it failed.
// Everything but acknowledge asks the person to unlock first: only then the
// phone signs.
func (p *phone) act(ctx context.Context, verb tocsinv1.ActRequest_Verb) (*tocsinv1.ActResponse, error) {
	n, ok := p.card()
	if !ok {
		return nil, fmt.Errorf("%s: %w", p.name, errNoCard)
	}
	request := &tocsinv1.ActRequest{
		ActionId: uuid.NewString(), DeliveryId: n.DeliveryID, Verb: verb, AtDevice: timestamppb.New(time.Now()),
	}
	if verb != tocsinv1.ActRequest_VERB_ACKNOWLEDGE {
		sum := sha256.Sum256([]byte(request.GetActionId()))
		signature, err := ecdsa.SignASN1(rand.Reader, p.unlock, sum[:])
		if err != nil {
			return nil, fmt.Errorf("%s: sign: %w", p.name, err)
		}
		request.UnlockSignature = signature
	}
	word := strings.ToLower(strings.TrimPrefix(verb.String(), "VERB_"))
	p.say(word + " pending…")
	ctx, cancel := context.WithTimeout(ctx, actPatience)
	defer cancel()
	for {
		var answer tocsinv1.ActResponse
		err := p.post(ctx, "/v1/push/actions", p.secret(), request, &answer)
		if err == nil {
			p.say("")
			return &answer, nil
		}
		if !temporary(err) || ctx.Err() != nil {
			p.say(word + " failed, tap again")
			return nil, fmt.Errorf("%s: %s: %w", p.name, word, err)
		}
		rest(ctx, retryEvery)
	}
}

func (p *phone) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = text
}

func (p *phone) saying() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending
}

// refusal is an answer that is not 200.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("HTTP %d: %s", r.status, r.text) }

// temporary reports whether trying again may help: no answer at all, or one
// that says so.
func temporary(err error) bool {
	if err == nil {
		return false
	}
	r, answered := errors.AsType[*refusal](err)
	return !answered || r.status >= http.StatusInternalServerError || r.status == http.StatusTooManyRequests
}

// post calls the public HTTP API as JSON.
func (p *phone) post(ctx context.Context, path, credential string, in, out proto.Message) error {
	body, err := protojson.Marshal(in)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.origin+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call %s: %w", path, err)
	}
	request.Header.Set("Content-Type", "application/json")
	if credential != "" {
		request.Header.Set("Authorization", "Bearer "+credential)
	}
	answer, err := p.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return &refusal{status: answer.StatusCode, text: errorText(text)}
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return nil
}

// errorText is the message of a google.rpc.Status, or whatever came.
func errorText(body []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return status.Message
	}
	return strings.TrimSpace(string(body[:min(len(body), 200)]))
}

// rest waits, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
