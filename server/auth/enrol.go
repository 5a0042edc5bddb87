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
// it, and of two callers one gets it; Peek leaves it. Both are a NotFound fault
// when there is none. The store is one.
type OnceStore interface {
	PutOnce(ctx context.Context, key string, value []byte, life time.Duration) error
	Take(ctx context.Context, key string) ([]byte, error)
	Peek(ctx context.Context, key string) ([]byte, error)
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
	if err := e.keep(ctx, code, en, EnrolmentLife); err != nil {
		return Link{}, err
	}
	base = base.JoinPath("enrol")
	base.Fragment = code
	return Link{Enrolment: en, Code: code, URL: base.String()}, nil
}

// Preview returns what the code allows and leaves it usable, so that a phone
// can show whose it would become. The code may be given bare or as the whole
// link, as a person pastes it.
func (e Enroller) Preview(ctx context.Context, code string) (Enrolment, error) {
	return e.look(ctx, code, e.Store.Peek)
}

// Redeem is Preview that uses the code up.
func (e Enroller) Redeem(ctx context.Context, code string) (Enrolment, error) {
	return e.look(ctx, code, e.Store.Take)
}

// GiveBack makes a redeemed code usable again for what is left of its time:
// nothing came of it.
func (e Enroller) GiveBack(ctx context.Context, code string, en Enrolment) error {
	left := en.Expires.Sub(e.Now())
	if left <= 0 {
		return nil
	}
	return e.keep(ctx, bare(code), en, left)
}

func (e Enroller) keep(ctx context.Context, code string, en Enrolment, life time.Duration) error {
	value, err := json.Marshal(en)
	if err != nil {
		return fmt.Errorf("encode enrolment of %s: %w", en.User, err)
	}
	if err := e.Store.PutOnce(ctx, enrolKey(code), value, life); err != nil {
		return fmt.Errorf("keep enrolment of %s: %w", en.User, err)
	}
	return nil
}

// bare is the code of what a person pasted, which may be the whole link.
func bare(code string) string {
	return strings.TrimSpace(code[strings.LastIndexByte(code, '#')+1:])
}

func (e Enroller) look(ctx context.Context, code string, get func(context.Context, string) ([]byte, error)) (Enrolment, error) {
	code = bare(code)
	gone := fault.New(fault.Unauthenticated, "ENROLMENT_INVALID", "the enrolment link was used, is over or never existed; ask for a new one")
	if len(code) != enrolCodeLength || !isKeyText(code) {
		return Enrolment{}, gone
	}
	value, err := get(ctx, enrolKey(code))
	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return Enrolment{}, gone
	case err != nil:
		return Enrolment{}, fmt.Errorf("look for enrolment: %w", err)
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
