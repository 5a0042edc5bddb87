package auth_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// book is a Book of maps.
type book struct {
	tokens       map[auth.Hash]auth.Token
	devices      map[roster.DeviceID]auth.DeviceLogin
	integrations map[auth.Hash]catalog.Integration
	users        map[roster.UserID]roster.User
	managed      map[roster.UserID][]roster.TeamID
}

func (b *book) TokenByHash(h auth.Hash) (auth.Token, bool) { t, ok := b.tokens[h]; return t, ok }

func (b *book) DeviceLogin(id roster.DeviceID) (auth.DeviceLogin, bool) {
	d, ok := b.devices[id]
	return d, ok
}

func (b *book) IntegrationByHash(h auth.Hash) (catalog.Integration, bool) {
	i, ok := b.integrations[h]
	return i, ok
}
func (b *book) User(id roster.UserID) (roster.User, bool) { u, ok := b.users[id]; return u, ok }

func (b *book) Managed(id roster.UserID) []roster.TeamID { return b.managed[id] }

func TestAuthenticate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b := &book{
		tokens: map[auth.Hash]auth.Token{}, devices: map[roster.DeviceID]auth.DeviceLogin{},
		integrations: map[auth.Hash]catalog.Integration{},
		users: map[roster.UserID]roster.User{
			"ann":  {ID: "ann", Name: "Ann", Role: roster.Admin},
			"ben":  {ID: "ben", Name: "Ben", Role: roster.Responder},
			"dan":  {ID: "dan", Name: "Dan", Role: roster.Responder},
			"gone": {ID: "gone", Name: "Gone", Role: roster.Admin, Inactive: true},
		},
		managed: map[roster.UserID][]roster.TeamID{"dan": {"core"}},
	}
	token := func(tok auth.Token) string {
		text := auth.NewToken()
		tok.Hash = auth.HashSecret(text)
		b.tokens[tok.Hash] = tok
		return text
	}
	device := func(id roster.DeviceID, user roster.UserID, usable bool) string {
		text := auth.NewDeviceCredential(id)
		b.devices[id] = auth.DeviceLogin{Device: id, User: user, Hash: auth.HashSecret(text), Epoch: 4, Usable: usable}
		return text
	}
	key := auth.NewIntegrationKey()
	b.integrations[auth.HashSecret(key)] = catalog.Integration{ID: "in1", Service: "web", Name: "alerts"}
	stolen := device("a_b", "ben", true)

	for _, tc := range []struct {
		name, header string
		want         auth.Principal
		kind         fault.Kind
	}{
		{"nothing", "", auth.Principal{}, 0},
		{"person", "Bearer " + token(auth.Token{ID: "t1", User: "ann"}), auth.Principal{Kind: auth.KindUser, User: "ann", Name: "Ann", Role: roster.Admin, Token: "t1"}, 0},
		{
			"narrowed by the token", "bearer  " + token(auth.Token{ID: "t2", User: "ann", Role: roster.Stakeholder}),
			auth.Principal{Kind: auth.KindUser, User: "ann", Name: "Ann", Role: roster.Stakeholder, Token: "t2"},
			0,
		},
		{
			"never widened by the token", "Bearer " + token(auth.Token{ID: "t3", User: "ben", Role: roster.Admin}),
			auth.Principal{Kind: auth.KindUser, User: "ben", Name: "Ben", Role: roster.Responder, Token: "t3"},
			0,
		},
		{
			"service account", "Bearer " + token(auth.Token{ID: "t4", Name: "ci", Role: roster.Responder}),
			auth.Principal{Kind: auth.KindService, Name: "ci", Role: roster.Responder, Token: "t4"},
			0,
		},
		{
			"manager", "Bearer " + token(auth.Token{ID: "t8", User: "dan", Role: roster.Admin}),
			auth.Principal{Kind: auth.KindUser, User: "dan", Name: "Dan", Role: roster.Responder, Manages: []roster.TeamID{"core"}, Token: "t8"},
			0,
		},
		{
			"a narrowed token of a manager is none", "Bearer " + token(auth.Token{ID: "t9", User: "dan", Role: roster.Stakeholder}),
			auth.Principal{Kind: auth.KindUser, User: "dan", Name: "Dan", Role: roster.Stakeholder, Token: "t9"},
			0,
		},
		{
			"nor is his phone", "Bearer " + device("d3", "dan", true),
			auth.Principal{Kind: auth.KindDevice, User: "dan", Name: "Dan", Role: roster.Responder, Device: "d3", Epoch: 4},
			0,
		},
		{"expired", "Bearer " + token(auth.Token{ID: "t5", User: "ann", Expires: now}), auth.Principal{}, fault.Unauthenticated},
		{"revoked", "Bearer " + token(auth.Token{ID: "t6", User: "ann", Revoked: now}), auth.Principal{}, fault.Unauthenticated},
		{"of somebody inactive", "Bearer " + token(auth.Token{ID: "t7", User: "gone"}), auth.Principal{}, fault.Unauthenticated},
		{"unknown", "Bearer " + auth.NewToken(), auth.Principal{}, fault.Unauthenticated},
		{
			"phone of an admin is a responder", "Bearer " + device("d1", "ann", true),
			auth.Principal{Kind: auth.KindDevice, User: "ann", Name: "Ann", Role: roster.Responder, Device: "d1", Epoch: 4},
			0,
		},
		{
			"device id with an underscore", "Bearer " + stolen,
			auth.Principal{Kind: auth.KindDevice, User: "ben", Name: "Ben", Role: roster.Responder, Device: "a_b", Epoch: 4},
			0,
		},
		{"revoked phone", "Bearer " + device("d2", "ann", false), auth.Principal{}, fault.Unauthenticated},
		{"one phone's secret for another", "Bearer " + strings.Replace(stolen, "a_b", "d1", 1), auth.Principal{}, fault.Unauthenticated},
		{"monitor", "Bearer " + key, auth.Principal{Kind: auth.KindIntegration, Name: "alerts", Integration: "in1", Service: "web"}, 0},
		{"basic", "Basic YTpi", auth.Principal{}, fault.Unauthenticated},
		{"bare", auth.NewToken(), auth.Principal{}, fault.Unauthenticated},
		{"foreign without a verifier", "Bearer aaa.bbb.ccc", auth.Principal{}, fault.Unauthenticated},
		{"huge", "Bearer " + auth.TokenPrefix + strings.Repeat("a", 1<<20), auth.Principal{}, fault.Unauthenticated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := &auth.Authenticator{
				Book: func() auth.Book { return b }, CatchUp: func(context.Context) error { return nil },
				Now: func() time.Time { return now },
			}
			got, err := a.Authenticate(t.Context(), func(name string) string {
				if name == "authorization" {
					return tc.header
				}
				return ""
			})
			if (err != nil) != (tc.kind != 0) || (err != nil && fault.KindOf(err) != tc.kind) {
				t.Fatalf("err %v; want kind %v", err, tc.kind)
			}
			if got.String() != tc.want.String() || got.Role != tc.want.Role || got.Name != tc.want.Name ||
				got.Token != tc.want.Token || got.Epoch != tc.want.Epoch || got.Service != tc.want.Service {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestUnknownCredentialCatchesUpOnce(t *testing.T) {
	b := &book{integrations: map[auth.Hash]catalog.Integration{}}
	key := auth.NewIntegrationKey()
	var asked int
	var broken error
	a := &auth.Authenticator{
		Book: func() auth.Book { return b },
		Now:  time.Now,
		CatchUp: func(context.Context) error {
			asked++
			if broken == nil {
				b.integrations[auth.HashSecret(key)] = catalog.Integration{ID: "new"}
			}
			return broken
		},
	}
	broken = errors.New("redis is out")
	if _, err := a.Integration(t.Context(), key); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("behind and Redis out: %v; want unavailable, because a monitor drops an event on 401", err)
	}
	broken = nil
	if in, err := a.Integration(t.Context(), key); err != nil || in.ID != "new" {
		t.Errorf("got %v, %v; want the integration made on another instance", in.ID, err)
	}
	if _, err := a.Credential(t.Context(), key); err != nil || asked != 2 {
		t.Errorf("known by now: %v after %d catch-ups; want 2", err, asked)
	}
	if _, err := a.Integration(t.Context(), "UPPER"); fault.KindOf(err) != fault.Unauthenticated || asked != 2 {
		t.Errorf("not a key at all: %v after %d catch-ups; want a refusal without asking Redis", err, asked)
	}
}

type verifier struct {
	user roster.UserID
	err  error
}

func (v verifier) Verify(_ context.Context, bearer string) (roster.UserID, bool, error) {
	return v.user, strings.HasPrefix(bearer, "jwt"), v.err
}

func TestVerifiers(t *testing.T) {
	b := &book{users: map[roster.UserID]roster.User{"ann": {ID: "ann", Role: roster.Admin}}}
	for _, tc := range []struct {
		name, bearer string
		with         []auth.Verifier
		user         roster.UserID
		kind         fault.Kind
	}{
		{"signed in", "jwt.a.b", []auth.Verifier{verifier{user: "ann"}}, "ann", 0},
		{"nobody of ours", "jwt.a.b", []auth.Verifier{verifier{user: "eve"}}, "", fault.Unauthenticated},
		{"not its kind", "saml", []auth.Verifier{verifier{user: "ann"}}, "", fault.Unauthenticated},
	} {
		a := &auth.Authenticator{Book: func() auth.Book { return b }, Now: time.Now, Verifiers: tc.with}
		p, err := a.Credential(t.Context(), tc.bearer)
		if p.User != tc.user || (err != nil && fault.KindOf(err) != tc.kind) || (err == nil) != (tc.kind == 0) {
			t.Errorf("%s: %v, %v; want %q, %v", tc.name, p, err, tc.user, tc.kind)
		}
	}
}

func TestMayGrant(t *testing.T) {
	admin := auth.Principal{Kind: auth.KindUser, User: "ann", Role: roster.Admin}
	ben := auth.Principal{Kind: auth.KindUser, User: "ben", Role: roster.Responder}
	phone := auth.Principal{Kind: auth.KindDevice, User: "ben", Role: roster.Responder}
	for _, tc := range []struct {
		name string
		p    auth.Principal
		as   roster.UserID
		role roster.Role
		want bool
	}{
		{"admin for a service account", admin, "", roster.Admin, true},
		{"admin for ben", admin, "ben", 0, true},
		{"ben for himself", ben, "ben", 0, true},
		{"ben more than he has", ben, "ben", roster.Admin, false},
		{"ben for ann", ben, "ann", roster.Responder, false},
		{"ben for a service account", ben, "", roster.Responder, false},
		{"a phone", phone, "ben", roster.Responder, false},
		{"nobody", auth.Principal{}, "", roster.Responder, false},
	} {
		if got := tc.p.MayGrant(tc.as, tc.role); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
