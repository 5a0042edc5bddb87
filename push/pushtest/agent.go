package pushtest

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
	"strings"
	"sync"
	"time"
)

const (
	agentQueue   = 100 // receipts that wait, and what one call may carry
	agentTimeout = 5 * time.Second
	agentRetry   = 300 * time.Millisecond
	agentWait    = 15 * time.Second
)

// AgentOptions describe the app on a phone as its server sees it.
type AgentOptions struct {
	BaseURL    string // of a tocsin server, as http://127.0.0.1:8080; Connect can set it later
	Credential string // of the device; "" uses what the pushes carry: receipt keys and action tokens
	Client     *http.Client

	Platform   string // "ios", "android", "web": who can report what; "" takes the notification's
	AppVersion string
	OS         string
	Net        string        // "wifi", "cellular"; empty is wifi
	RetryEvery time.Duration // between tries of a call; 0 is 300 ms
	Patience   time.Duration // how long a tap is tried; 0 is 15 s

	// AcknowledgeAfter is how long the owner takes to acknowledge a page that
	// can be heard; 0 is never.
	AcknowledgeAfter time.Duration
	// OnError is told what was given up; nil tells nobody.
	OnError func(error)
}

// Agent is the part of an app that talks to a tocsin server: it reports
// receipts (POST /v1/push/receipts) and taps (POST /v1/push/actions), as JSON
// over HTTP, and repeats both until they are answered. It may be used by
// several goroutines.
type Agent struct {
	opts   AgentOptions
	unlock *ecdsa.PrivateKey
	outbox chan Receipt
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // of the agent's own goroutines: it ends in Close
	wg     sync.WaitGroup

	mu         sync.Mutex
	base       string
	credential string
	lost       int
	closed     bool
}

// Receipt is what a phone has to say about one push.
type Receipt struct {
	DeliveryID string    `json:"deliveryId"`
	State      string    `json:"state"`
	DeviceAt   time.Time `json:"deviceAt"`
	Net        string    `json:"net,omitempty"`
	AppVersion string    `json:"appVersion,omitempty"`
	OS         string    `json:"os,omitempty"`
	Prio       string    `json:"prio,omitempty"`
	OrigPrio   string    `json:"origPrio,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Audible    string    `json:"audible,omitempty"`

	key string // good for this receipt only, where there is no credential
}

// The states of a receipt.
const (
	StateReceived   = "STATE_RECEIVED"
	StateDisplayed  = "STATE_DISPLAYED"
	StateOpened     = "STATE_OPENED"
	StateSuppressed = "STATE_SUPPRESSED"
)

// Verb is a button of a page.
type Verb string

// The buttons. All but Acknowledge ask the owner to unlock the phone.
const (
	Acknowledge Verb = "VERB_ACKNOWLEDGE"
	Resolve     Verb = "VERB_RESOLVE"
	Escalate    Verb = "VERB_ESCALATE"
)

// ParseVerb reads a button's name, as "acknowledge".
func ParseVerb(s string) (Verb, error) {
	for _, v := range []Verb{Acknowledge, Resolve, Escalate} {
		if strings.EqualFold(s, v.String()) {
			return v, nil
		}
	}
	return "", fmt.Errorf("there is no button %q; there are acknowledge, resolve, escalate", s)
}

// String is the verb as people say it.
func (v Verb) String() string { return strings.ToLower(strings.TrimPrefix(string(v), "VERB_")) }

// ActResult is what the server answered to a tap.
type ActResult struct {
	Outcome        string    `json:"outcome"`
	State          string    `json:"state"`
	Number         int64     `json:"number,string"`
	Holder         string    `json:"holder"`
	HolderIsCaller bool      `json:"holderIsCaller"`
	Changed        bool      `json:"changed"`
	Reopen         bool      `json:"reopen"`
	ServerTime     time.Time `json:"serverTime"`
}

// RefusedError is an answer of the server other than 200.
type RefusedError struct {
	Status int
	Text   string
}

func (r *RefusedError) Error() string { return fmt.Sprintf("HTTP %d: %s", r.Status, r.Text) }

// NewAgent makes an agent, with a key of its own for what needs an unlocked
// phone. Close it after its phone.
func NewAgent(o AgentOptions) (*Agent, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the agent's unlock key: %w", err)
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: agentTimeout, Transport: http.DefaultTransport.(*http.Transport).Clone()} //nolint:errcheck // it is one
	}
	if o.Net == "" {
		o.Net = "wifi"
	}
	if o.RetryEvery == 0 {
		o.RetryEvery = agentRetry
	}
	if o.Patience == 0 {
		o.Patience = agentWait
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &Agent{
		opts: o, unlock: key, outbox: make(chan Receipt, agentQueue), ctx: ctx, cancel: cancel,
		base: strings.TrimSuffix(o.BaseURL, "/"), credential: o.Credential,
	}
	a.wg.Go(a.send)
	return a, nil
}

// Close ends the agent; what was not reported yet never is.
func (a *Agent) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.wg.Wait()
	a.opts.Client.CloseIdleConnections()
}

// Connect says where the server is and who the device is, once it has enrolled.
func (a *Agent) Connect(baseURL, credential string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.base, a.credential = strings.TrimSuffix(baseURL, "/"), credential
}

// Credential is the device's credential.
func (a *Agent) Credential() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.credential
}

// UnlockKey is the public half of the key that an unlocked phone signs with,
// as a device registers it: an uncompressed point of P-256.
func (a *Agent) UnlockKey() ([]byte, error) { return a.unlock.PublicKey.Bytes() }

// Report says what the phone has to say about a push. A phone of [NewPhone]
// with this agent calls it by itself.
func (a *Agent) Report(n Notification) {
	for _, r := range a.Receipts(n) {
		a.queue(r)
	}
	if n.Kind == "page" && n.Audible() && a.opts.AcknowledgeAfter > 0 && !n.Tablet {
		a.later(n)
	}
}

// later acknowledges when the owner has come to it.
func (a *Agent) later(n Notification) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.wg.Go(func() {
		if !rest(a.ctx, a.opts.AcknowledgeAfter) {
			return
		}
		if _, err := a.Act(a.ctx, n, Acknowledge); err != nil && a.ctx.Err() == nil {
			a.complain(err)
		}
	})
}

// Opened reports that the owner opened a push.
func (a *Agent) Opened(n Notification) { a.queue(a.receipt(n, StateOpened)) }

func (a *Agent) queue(r Receipt) {
	select {
	case a.outbox <- r:
	default: // a phone that cannot reach its server for so long forgets
		a.mu.Lock()
		a.lost++
		a.mu.Unlock()
	}
}

// Forgotten is how many receipts did not fit into the queue.
func (a *Agent) Forgotten() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

func (a *Agent) receipt(n Notification, state string) Receipt {
	r := Receipt{
		DeliveryID: n.DeliveryID, State: state, DeviceAt: n.At.UTC(), Net: a.opts.Net, AppVersion: a.opts.AppVersion, OS: a.opts.OS, key: n.ReceiptKey,
	}
	if a.platform(n) == "android" {
		r.Prio, r.OrigPrio = priorityWord(n.HighPrio && !n.Lowered), priorityWord(n.HighPrio)
	}
	return r
}

func (a *Agent) platform(n Notification) string {
	if a.opts.Platform != "" {
		return a.opts.Platform
	}
	return n.Platform
}

func priorityWord(high bool) string {
	if high {
		return "high"
	}
	return "normal"
}

// Receipts is what there is to say about a push: nothing unless it asks for it
// and the app's code ran. An iPhone cannot prove that something was shown; an
// Android phone can, and whether it was heard; a browser only the former.
func (a *Agent) Receipts(n Notification) []Receipt {
	if n.ReceiptPath == "" || n.Asleep || n.DeliveryID == "" {
		return nil
	}
	received := a.receipt(n, StateReceived)
	received.Reason = n.Unopened
	late := func(reason string) []Receipt {
		r := a.receipt(n, StateSuppressed)
		r.Reason = reason
		return []Receipt{received, r}
	}
	switch {
	case n.Suppressed != "":
		return late(n.Suppressed)
	case n.Stale:
		return late("stale")
	case n.Missed:
		return late("expired")
	case a.platform(n) == "ios":
		return []Receipt{received}
	}
	displayed := a.receipt(n, StateDisplayed)
	displayed.Reason = n.Quiet
	switch {
	case a.platform(n) == "web":
		displayed.Reason = ""
	case n.Audible():
		displayed.Audible = "AUDIBLE_YES"
	default:
		displayed.Audible = "AUDIBLE_NO"
	}
	return []Receipt{received, displayed}
}

// send reports until the server has taken it, all that waits in one call. What
// a page's own key is good for goes in a call of its own.
func (a *Agent) send() {
	for {
		var batch []Receipt
		select {
		case r := <-a.outbox:
			batch = append(batch, r)
		case <-a.ctx.Done():
			return
		}
		for len(batch) < agentQueue && len(a.outbox) > 0 {
			batch = append(batch, <-a.outbox)
		}
		if a.Credential() != "" {
			a.report(batch, "")
			continue
		}
		for _, r := range batch {
			a.report([]Receipt{r}, r.key)
		}
	}
}

func (a *Agent) report(batch []Receipt, key string) {
	in := struct {
		Receipts   []Receipt `json:"receipts"`
		ReceiptKey string    `json:"receiptKey,omitempty"`
	}{batch, key}
	for a.ctx.Err() == nil {
		err := a.post(a.ctx, "/v1/push/receipts", in, nil)
		if !temporary(err) {
			if err != nil {
				a.complain(fmt.Errorf("report %d receipts: %w", len(batch), err))
			}
			return // taken, or refused for good
		}
		rest(a.ctx, a.opts.RetryEvery)
	}
}

func (a *Agent) complain(err error) {
	if a.opts.OnError != nil {
		a.opts.OnError(err)
	}
}

// Act taps a button of a page. The call is repeated with the same id until the
// server has answered, or patience ends.
func (a *Agent) Act(ctx context.Context, n Notification, v Verb) (result ActResult, err error) {
	in := struct {
		ActionID    string    `json:"actionId"`
		DeliveryID  string    `json:"deliveryId"`
		Verb        Verb      `json:"verb"`
		AtDevice    time.Time `json:"atDevice"`
		ActionToken string    `json:"actionToken,omitempty"`
		Signature   []byte    `json:"unlockSignature,omitempty"`
	}{ActionID: newUUID(), DeliveryID: n.DeliveryID, Verb: v, AtDevice: time.Now().UTC()}
	if a.Credential() == "" {
		in.ActionToken = n.ActionToken
	}
	if v != Acknowledge {
		sum := sha256.Sum256([]byte(in.ActionID))
		if in.Signature, err = ecdsa.SignASN1(rand.Reader, a.unlock, sum[:]); err != nil {
			return result, fmt.Errorf("sign the tap: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, a.opts.Patience)
	defer cancel()
	for {
		if err = a.post(ctx, "/v1/push/actions", in, &result); err == nil {
			return result, nil
		}
		if !temporary(err) || ctx.Err() != nil {
			return result, fmt.Errorf("%s: %w", v, err)
		}
		rest(ctx, a.opts.RetryEvery)
	}
}

// temporary reports whether trying again may help: no answer at all, or one
// that says so.
func temporary(err error) bool {
	if err == nil || errors.Is(err, errNoServer) {
		return false
	}
	r, answered := errors.AsType[*RefusedError](err)
	return !answered || r.Status >= http.StatusInternalServerError || r.Status == http.StatusTooManyRequests
}

var errNoServer = errors.New("the agent does not know its server yet")

func (a *Agent) post(ctx context.Context, path string, in, out any) error {
	a.mu.Lock()
	base, credential := a.base, a.credential
	a.mu.Unlock()
	if base == "" {
		return errNoServer
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if credential != "" {
		request.Header.Set("Authorization", "Bearer "+credential)
	}
	answer, err := a.opts.Client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return &RefusedError{Status: answer.StatusCode, Text: refusalText(text)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// refusalText is the message of a google.rpc.Status, or whatever came.
func refusalText(body []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return status.Message
	}
	return strings.TrimSpace(string(body[:min(len(body), 200)]))
}

// rest waits, or until ctx ends; it tells whether it waited in full.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
