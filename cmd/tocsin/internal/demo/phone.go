package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

const (
	appID       = "dev.tocsin.demo"
	callTimeout = 5 * time.Second // of one HTTP call of a phone
)

// mood is what a phone does with what it gets.
type mood int32

const (
	moodWell    mood = iota
	moodMute         // gets pushes and shows them, but its app says nothing: no receipts
	moodOffline      // gets nothing
)

func (m mood) String() string { return [...]string{"well", "silent", "offline"}[m] }

// phone is a simulated phone: pushtest's screen, push service and agent, and
// here what the agent leaves to the app: enrolling, and what the card says.
type phone struct {
	owner    person
	name     string // "Ann's iPhone"
	platform tocsinv1.Device_Platform
	origin   string // the server's public URL, as the enrolment link has it
	sim      *pushtest.Phone
	agent    *pushtest.Agent
	http     *http.Client
	install  string
	log      func(sighting)

	mu      sync.Mutex
	mood    mood
	pending string // what the lock screen says about a tap; "" for nothing
}

// newPhone switches a phone on, until close: it outlives the step that does it.
func newPhone(owner person, name string, platform tocsinv1.Device_Platform, log func(sighting)) (*phone, error) {
	p := &phone{owner: owner, name: name, platform: platform, install: uuid.NewString(), log: log, http: &http.Client{Timeout: callTimeout}}
	var err error
	if p.agent, err = pushtest.NewAgent(pushtest.AgentOptions{Platform: p.service(), AppVersion: "1.0.0"}); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.sim = pushtest.NewPhone(pushtest.PhoneOptions{Name: name, OnPush: p.arrived, Agent: p.agent})
	return p, nil
}

func (p *phone) close() {
	p.sim.Close()
	p.agent.Close()
	p.http.CloseIdleConnections()
}

// service is the platform as push services name it.
func (p *phone) service() string {
	if p.ios() {
		return "ios"
	}
	return "android"
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
	p.agent.Connect(origin, done.GetCredential())

	device.Address = p.address(token)
	var known tocsinv1.RegisterDeviceResponse
	if err := p.post(ctx, "/v1/devices:register", p.agent.Credential(), &tocsinv1.RegisterDeviceRequest{Device: device}, &known); err != nil {
		return fmt.Errorf("%s: register its address: %w", p.name, err)
	}
	if known.GetConfirmationRequired() {
		return fmt.Errorf("%s: its address is said to be another person's", p.name)
	}
	return nil
}

// device is what the app knows of itself, but for its address.
func (p *phone) device() (*tocsinv1.Device, error) {
	public, err := p.agent.UnlockKey()
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
	p.sim.Behave(func(b *pushtest.Behaviour) { b.Offline, b.NoReceipts = m == moodOffline, m != moodWell })
}

func (p *phone) moodNow() mood {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mood
}

// arrived notes what the phone shows; its agent reports it.
func (p *phone) arrived(n pushtest.Notification) {
	p.log(sighting{at: n.At, where: atPhone, who: p.owner, text: describePush(n), push: &n, incident: incidentName(n.IncidentID)})
}

// act is a tap on a button of the newest page. Everything but acknowledge asks
// the person to unlock first: only then the phone signs.
func (p *phone) act(ctx context.Context, verb pushtest.Verb) (pushtest.ActResult, error) {
	p.say(verb.String() + " pending…")
	answer, err := p.sim.Act(ctx, verb)
	switch {
	case err == nil || errors.Is(err, pushtest.ErrNoCard):
		p.say("")
	default:
		p.say(verb.String() + " failed, tap again")
		err = fmt.Errorf("%s: %w", p.name, err)
	}
	return answer, err
}

// card is the page on the lock screen that a tap is meant for.
func (p *phone) card() (pushtest.Notification, bool) {
	n, err := p.sim.Card()
	return n, err == nil
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
