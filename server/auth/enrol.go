package auth

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// EnrolmentLife is how long an enrolment link may be used.
const EnrolmentLife = 10 * time.Minute

// enrolCodeLength gives about 165 bits, so that guessing needs no limit of its own.
const enrolCodeLength = 32

// OnceStore keeps a value until it is taken or its time is over. Take removes
// it, and of two callers one gets it.
type OnceStore interface {
	PutOnce(ctx context.Context, key string, value []byte, life time.Duration) error
	Take(ctx context.Context, key string) (value []byte, ok bool, err error)
}

// Enrolment is the permission to make one phone the phone of a person.
type Enrolment struct {
	User    roster.UserID `json:"user"`
	By      string        `json:"by"` // who allowed it, as Principal.String
	Expires time.Time     `json:"expires"`
}

// Link is an enrolment as it is handed over, shown once.
type Link struct {
	Enrolment
	Code string
	URL  string // <public URL>/enrol#<code>
}

// Enroller makes and redeems enrolment links.
type Enroller struct {
	Store OnceStore
	// PublicURL is where phones reach this server; the code goes into the
	// fragment, which browsers do not send and proxies do not log.
	PublicURL string
	Now       func() time.Time
}

// Create makes a link for the person.
func (e Enroller) Create(ctx context.Context, user roster.UserID, by Principal) (Link, error) {
	base, err := url.Parse(strings.TrimSuffix(e.PublicURL, "/"))
	if err != nil || base.Host == "" {
		return Link{}, fault.New(fault.Precondition, "NO_PUBLIC_URL",
			"enrolment needs the address at which phones reach this server; set public_url", "public_url", e.PublicURL)
	}
	code := randomText(enrolCodeLength)
	en := Enrolment{User: user, By: by.String(), Expires: e.Now().Add(EnrolmentLife).UTC().Truncate(time.Second)}
	value, err := json.Marshal(en)
	if err != nil {
		return Link{}, fmt.Errorf("encode enrolment of %s: %w", user, err)
	}
	if err := e.Store.PutOnce(ctx, enrolKey(code), value, EnrolmentLife); err != nil {
		return Link{}, fmt.Errorf("keep enrolment of %s: %w", user, err)
	}
	base = base.JoinPath("enrol")
	base.Fragment = code
	return Link{Enrolment: en, Code: code, URL: base.String()}, nil
}

// Redeem uses the code up and returns what it allows. The code may be given
// bare or as the whole link, as a person pastes it.
func (e Enroller) Redeem(ctx context.Context, code string) (Enrolment, error) {
	if i := strings.LastIndexByte(code, '#'); i >= 0 {
		code = code[i+1:]
	}
	code = strings.TrimSpace(code)
	gone := fault.New(fault.Unauthenticated, "ENROLMENT_CODE", "the enrolment link was used, is over or never existed; ask for a new one")
	if len(code) != enrolCodeLength || !isKeyText(code) {
		return Enrolment{}, gone
	}
	value, ok, err := e.Store.Take(ctx, enrolKey(code))
	if err != nil {
		return Enrolment{}, fmt.Errorf("take enrolment: %w", err)
	}
	if !ok {
		return Enrolment{}, gone
	}
	var en Enrolment
	if err := json.Unmarshal(value, &en); err != nil {
		return Enrolment{}, fmt.Errorf("decode enrolment: %w", err)
	}
	if !e.Now().Before(en.Expires) { // the store's own expiry only tidies up
		return Enrolment{}, gone
	}
	return en, nil
}

// enrolKey is where the code is kept: under its hash, so that reading the
// store does not hand out usable links.
func enrolKey(code string) string {
	h := HashSecret("enrol/" + code)
	return "enrol:" + hex.EncodeToString(h[:])
}
