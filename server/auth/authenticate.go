package auth

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// maxBearer is the greatest length in bytes of a sign-in token (a JWT with
// many groups is long); our own credentials are far below maxCredential.
const maxBearer = 16 << 10

// Book is what is known of callers: one snapshot of the directory.
type Book interface {
	TokenByHash(h Hash) (Token, bool)
	DeviceLogin(id roster.DeviceID) (DeviceLogin, bool)
	IntegrationByHash(h Hash) (catalog.Integration, bool)
	User(id roster.UserID) (roster.User, bool)
	// Managed returns the teams that a person manages.
	Managed(id roster.UserID) []roster.TeamID
}

// Verifier is another way of signing in, such as OpenID Connect: it checks the
// bearer token of a person. ok false says that the token is not of its kind.
type Verifier interface {
	Verify(ctx context.Context, bearer string) (user roster.UserID, ok bool, err error)
}

// Authenticator finds out who is calling. Every field but Verifiers is needed.
type Authenticator struct {
	// Book returns the newest snapshot.
	Book func() Book
	// CatchUp brings the snapshot up to the last committed change. It is asked
	// once before a credential is refused as unknown, because one made a moment
	// ago on another instance may be ahead of the log; it must fold parallel calls.
	CatchUp   func(ctx context.Context) error
	Now       func() time.Time
	Verifiers []Verifier
}

// Faults of authentication.
var (
	errMissing = fault.New(fault.Unauthenticated, "CREDENTIAL_MISSING",
		"this call needs a credential: send the header Authorization: Bearer …")
	// ErrUnknown is a credential that is good for nothing, or not any more.
	ErrUnknown = fault.New(fault.Unauthenticated, "CREDENTIAL_INVALID",
		"the credential is unknown, expired or revoked")
)

// Authenticate returns the caller of a request. header returns a header or
// gRPC metadata value by its lower-case name, empty when there is none.
//
// Without a credential the answer is the anonymous principal, which may call
// public methods only. A credential that is wrong is an Unauthenticated fault
// even where none would have been needed: a phone that was signed out must
// learn of it.
func (a *Authenticator) Authenticate(ctx context.Context, header func(name string) string) (Principal, error) {
	value := strings.TrimSpace(header("authorization"))
	if value == "" {
		return Principal{}, nil
	}
	scheme, credential, ok := strings.Cut(value, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return Principal{}, errMissing.With("scheme", "Bearer")
	}
	return a.Credential(ctx, strings.TrimSpace(credential))
}

// Credential returns the caller who holds the credential, of whatever kind it is.
func (a *Authenticator) Credential(ctx context.Context, credential string) (Principal, error) {
	switch {
	case credential == "":
		return Principal{}, errMissing
	case len(credential) > maxBearer:
		return Principal{}, ErrUnknown
	case strings.HasPrefix(credential, TokenPrefix), strings.HasPrefix(credential, DevicePrefix), IsIntegrationKey(credential):
		if len(credential) > maxCredential {
			return Principal{}, ErrUnknown
		}
		return a.local(ctx, credential)
	default:
		return a.foreign(ctx, credential)
	}
}

// Integration returns the integration whose key it is; for the doors of
// monitors, which carry the key in the path or the body.
func (a *Authenticator) Integration(ctx context.Context, key string) (catalog.Integration, error) {
	if !IsIntegrationKey(key) {
		return catalog.Integration{}, ErrUnknown
	}
	hash := HashSecret(key)
	in, ok := a.Book().IntegrationByHash(hash)
	if !ok {
		if err := a.catchUp(ctx); err != nil {
			return catalog.Integration{}, err
		}
		if in, ok = a.Book().IntegrationByHash(hash); !ok {
			return catalog.Integration{}, ErrUnknown
		}
	}
	return in, nil
}

// local looks the credential up, and once more after catching up.
func (a *Authenticator) local(ctx context.Context, credential string) (Principal, error) {
	if p, ok := a.lookUp(a.Book(), credential); ok {
		return p, nil
	}
	if err := a.catchUp(ctx); err != nil {
		return Principal{}, err
	}
	if p, ok := a.lookUp(a.Book(), credential); ok {
		return p, nil
	}
	return Principal{}, ErrUnknown
}

func (a *Authenticator) catchUp(ctx context.Context) error {
	if err := a.CatchUp(ctx); err != nil {
		// Not "unknown": a monitor that reads 401 throws its event away, one that reads 503 keeps it.
		return fault.New(fault.Unavailable, "DIRECTORY_BEHIND",
			"the credential cannot be checked now; try again").Because(fmt.Errorf("catch up with the directory: %w", err))
	}
	return nil
}

func (a *Authenticator) lookUp(b Book, credential string) (Principal, bool) {
	hash := HashSecret(credential)
	switch {
	case strings.HasPrefix(credential, TokenPrefix):
		t, ok := b.TokenByHash(hash)
		if !ok || !t.Valid(a.Now()) {
			return Principal{}, false
		}
		return t.principal(b)
	case strings.HasPrefix(credential, DevicePrefix):
		id, ok := DeviceOf(credential)
		if !ok {
			return Principal{}, false
		}
		d, ok := b.DeviceLogin(id)
		if !ok || !d.Hash.Equal(hash) || d.Hash.IsZero() || !d.Usable {
			return Principal{}, false
		}
		p, ok := personal(b, d.User)
		p.Kind, p.Device, p.Epoch = KindDevice, d.Device, d.Epoch
		p.Role, p.Manages = max(p.Role, roster.Responder), nil // a phone of an administrator is not an administrator's desk
		return p, ok
	default:
		in, ok := b.IntegrationByHash(hash)
		return Principal{Kind: KindIntegration, Name: in.Name, Integration: in.ID, Service: in.Service}, ok
	}
}

func (t Token) principal(b Book) (Principal, bool) {
	if t.User == "" {
		return Principal{Kind: KindService, Name: t.Name, Role: t.Role, Scopes: t.Scopes, Token: t.ID}, true
	}
	p, ok := personal(b, t.User)
	p.Token, p.Scopes = t.ID, t.Scopes
	if t.Role > p.Role { // a greater role number may less
		p.Role, p.Manages = t.Role, nil
	}
	return p, ok
}

// personal returns a person who may sign in.
func personal(b Book, id roster.UserID) (Principal, bool) {
	u, ok := b.User(id)
	if !ok || u.Inactive || u.Role == 0 {
		return Principal{}, false
	}
	return Principal{Kind: KindUser, User: u.ID, Name: u.Name, Role: u.Role, Manages: b.Managed(id)}, true
}

func (a *Authenticator) foreign(ctx context.Context, bearer string) (Principal, error) {
	for _, v := range a.Verifiers {
		user, ok, err := v.Verify(ctx, bearer)
		switch {
		case err != nil:
			return Principal{}, fmt.Errorf("verify sign-in: %w", err)
		case ok:
			p, known := personal(a.Book(), user)
			if !known {
				return Principal{}, ErrUnknown
			}
			return p, nil
		}
	}
	return Principal{}, ErrUnknown
}
