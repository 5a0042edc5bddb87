package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// tokenJSON is an address: a token of Apple's or Google's, or an endpoint of a
// browser, with the keys that its server needs.
type tokenJSON struct {
	Token  string `json:"token"`
	App    string `json:"app,omitempty"`
	Phone  string `json:"phone,omitempty"`
	P256dh string `json:"p256dh,omitempty"`
	Auth   string `json:"auth,omitempty"`
}

// atService is for which application server a browser subscribes, and at which
// push service: its endpoint has that host, and a provider that knows where
// the simulator is connects there in its place.
type atService struct {
	Vapid string `json:"vapid"`
	Host  string `json:"host"`
}

// register gives a phone, or nobody, an address.
func (c *Control) register(p *pushtest.Phone, app, token string, web atService) (tokenJSON, error) {
	if app == "" {
		app = c.app
	}
	if web.Host != "" && !hostForm.MatchString(web.Host) {
		return tokenJSON{}, fmt.Errorf("host: %q is no name as web.push.apple.com", web.Host)
	}
	out := tokenJSON{Token: token, App: app}
	if p != nil {
		out.Phone = p.Name()
	}
	switch s := c.sim.(type) {
	case *pushtest.APNs:
		if token == "" {
			out.Token = s.Register(p, app)
		} else {
			s.RegisterToken(p, app, token)
		}
	case *pushtest.FCM:
		if token == "" {
			out.Token = s.Register(p, app)
		} else {
			s.RegisterToken(p, app, token)
		}
	case *pushtest.WebPush:
		if token != "" {
			return out, errors.New("token: a browser makes its endpoint by itself")
		}
		sub, err := s.SubscribeWith(web.Vapid, web.Host, p)
		if err != nil {
			return out, err
		}
		out.Token, out.P256dh, out.Auth, out.App = sub.Endpoint, sub.P256dh, sub.Auth, ""
	}
	return out, nil
}

var hostForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

func (c *Control) addToken(w http.ResponseWriter, r *http.Request) {
	var in struct {
		App   string `json:"app"`
		Token string `json:"token"`
		atService
	}
	if err := read(r, &in); err != nil {
		refuse(w, err)
		return
	}
	out, err := c.register(nil, in.App, in.Token, in.atService)
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, out)
}

// endToken makes a token dead: at once, or after a while in which it is still
// accepted.
func (c *Control) endToken(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token       string `json:"token"`
		AcceptedFor span   `json:"accepted_for"`
		Expired     bool   `json:"expired"`
	}
	if err := read(r, &in); err != nil {
		refuse(w, err)
		return
	}
	if in.Token == "" {
		refuse(w, errors.New("token is missing"))
		return
	}
	switch s := c.sim.(type) {
	case *pushtest.APNs:
		if in.Expired {
			s.Expire(in.Token)
			break
		}
		s.Uninstall(in.Token, time.Duration(in.AcceptedFor))
	case *pushtest.FCM:
		s.Uninstall(in.Token, time.Duration(in.AcceptedFor))
	case *pushtest.WebPush:
		s.Uninstall(in.Token, time.Duration(in.AcceptedFor))
	}
	reply(w, struct{}{})
}

// addKey makes a key of a team, for APNs: the answer is the .p8 file.
func (c *Control) addKey(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Team  string `json:"team"`
		KeyID string `json:"key_id"`
	}
	s, ok := c.sim.(*pushtest.APNs)
	switch err := read(r, &in); {
	case err != nil:
		refuse(w, err)
	case !ok:
		refuse(w, errors.New("only APNs has keys of teams"))
	case in.Team == "" || in.KeyID == "":
		refuse(w, errors.New("team and key_id are needed"))
	default:
		reply(w, map[string]string{"team": in.Team, "key_id": in.KeyID, "p8": string(s.NewKey(in.Team, in.KeyID))})
	}
}

func (c *Control) revokeKey(w http.ResponseWriter, r *http.Request) {
	var in struct {
		KeyID string `json:"key_id"`
	}
	s, ok := c.sim.(*pushtest.APNs)
	switch err := read(r, &in); {
	case err != nil:
		refuse(w, err)
	case !ok || in.KeyID == "":
		refuse(w, errors.New("key_id is missing, or this is not APNs"))
	default:
		s.RevokeKey(in.KeyID)
		reply(w, struct{}{})
	}
}

// oauth drives Google's token service: scripted answers, tokens revoked, the
// account's right to send taken away.
func (c *Control) oauth(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Revoke  bool        `json:"revoke"`
		Deny    *bool       `json:"deny"`
		Always  bool        `json:"always"`
		Heal    bool        `json:"heal"`
		Answer  *answerJSON `json:"answer"`
		Partner *string     `json:"partner"`
		Broken  bool        `json:"broken"`
	}
	s, ok := c.sim.(*pushtest.FCM)
	err := read(r, &in)
	if err == nil && !ok {
		err = errors.New("only FCM has an OAuth token service")
	}
	var a pushtest.Answer
	if err == nil && in.Answer != nil {
		a, err = in.Answer.answer()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	if in.Revoke {
		s.RevokeTokens()
	}
	if in.Deny != nil {
		s.Deny(*in.Deny)
	}
	if in.Partner != nil {
		s.BreakPartner(*in.Partner, in.Broken)
	}
	switch {
	case in.Heal:
		s.AlwaysOAuth(pushtest.Answer{}, false)
	case in.Answer != nil && in.Always:
		s.AlwaysOAuth(a, true)
	case in.Answer != nil:
		s.ScriptOAuth(a)
	}
	reply(w, struct{}{})
}

// phoneJSON is a phone as it is now.
type phoneJSON struct {
	Name      string             `json:"name"`
	Tablet    bool               `json:"tablet"`
	Agent     bool               `json:"agent"`
	Tokens    []string           `json:"tokens"`
	Behaviour pushtest.Behaviour `json:"behaviour"`
	Shown     []pushJSON         `json:"shown"`
	Arrived   int                `json:"arrived"`
	Lost      int                `json:"lost"`
}

// pushJSON is a push on a phone.
type pushJSON struct {
	At         time.Time `json:"at"`
	App        string    `json:"app"`
	Kind       string    `json:"kind"`
	DeliveryID string    `json:"delivery_id"`
	IncidentID string    `json:"incident_id"`
	Revision   int64     `json:"revision"`
	Title      string    `json:"title"`
	Subtitle   string    `json:"subtitle"`
	Body       string    `json:"body"`
	Sound      string    `json:"sound"`
	Critical   bool      `json:"critical"`
	CollapseID string    `json:"collapse_id"`
	Audible    bool      `json:"audible"`
	Visible    bool      `json:"visible"`
	Replaced   bool      `json:"replaced"`
	Duplicate  bool      `json:"duplicate"`
	Stale      bool      `json:"stale"`
	Missed     bool      `json:"missed"`
	HighPrio   bool      `json:"high_prio"`
	Lowered    bool      `json:"lowered"`
	Asleep     bool      `json:"asleep"`
	Suppressed string    `json:"suppressed"`
	Quiet      string    `json:"quiet"`
	Unopened   string    `json:"unopened"`
	Lost       string    `json:"lost"`
}

func showPush(n pushtest.Notification) pushJSON {
	return pushJSON{
		At: n.At, App: n.App, Kind: n.Kind, DeliveryID: n.DeliveryID, IncidentID: n.IncidentID, Revision: n.Revision,
		Title: n.Title, Subtitle: n.Subtitle, Body: n.Body, Sound: n.Sound, Critical: n.Critical, CollapseID: n.CollapseID,
		Audible: n.Audible(), Visible: n.Visible, Replaced: n.Replaced, Duplicate: n.Duplicate, Stale: n.Stale, Missed: n.Missed,
		HighPrio: n.HighPrio, Lowered: n.Lowered, Asleep: n.Asleep, Suppressed: n.Suppressed, Quiet: n.Quiet, Unopened: n.Unopened, Lost: n.Lost,
	}
}

func showAll(all []pushtest.Notification) []pushJSON {
	out := make([]pushJSON, 0, len(all))
	for _, n := range all {
		out = append(out, showPush(n))
	}
	return out
}

func showPhone(p *owned) phoneJSON {
	tokens := p.Tokens("")
	if tokens == nil {
		tokens = []string{}
	}
	return phoneJSON{
		Name: p.Name(), Tablet: p.Tablet(), Agent: p.Agent() != nil, Tokens: tokens, Behaviour: p.Behaviour(),
		Shown: showAll(p.Shown()), Arrived: len(p.Got()), Lost: len(p.Lost()),
	}
}

// newPhone is what a phone can be made with.
type newPhone struct {
	Name        string              `json:"name"`
	App         string              `json:"app"`
	Token       string              `json:"token"`
	Tablet      bool                `json:"tablet"`
	Server      string              `json:"server"`
	Credential  string              `json:"credential"`
	Acknowledge span                `json:"acknowledge_after"`
	Behaviour   *pushtest.Behaviour `json:"behaviour"`
	atService
}

func (n *newPhone) check() error {
	if n.Name == "" || len(n.Name) > 100 {
		return errors.New("name is missing, or longer than 100 bytes")
	}
	if n.Server == "" {
		return nil
	}
	if u, err := url.Parse(n.Server); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("server: %q is no URL as http://127.0.0.1:8080", n.Server)
	}
	return nil
}

func (c *Control) addPhone(w http.ResponseWriter, r *http.Request) {
	var in newPhone
	err := read(r, &in)
	if err == nil {
		err = in.check()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	o := pushtest.PhoneOptions{Name: in.Name, Tablet: in.Tablet, OnPush: c.onPush}
	if in.Behaviour != nil {
		o.Behaviour = *in.Behaviour
	}
	if in.Server != "" {
		platform := map[string]string{"apns": "ios", "fcm": "android", "webpush": "web"}[c.service]
		if o.Agent, err = pushtest.NewAgent(pushtest.AgentOptions{
			BaseURL: in.Server, Credential: in.Credential, Platform: platform, AcknowledgeAfter: time.Duration(in.Acknowledge),
		}); err != nil {
			refuse(w, err)
			return
		}
	}
	p := &owned{Phone: pushtest.NewPhone(o), mine: true}
	if err := c.admit(p); err != nil {
		p.off()
		refuse(w, err)
		return
	}
	out, err := c.register(p.Phone, in.App, in.Token, in.atService)
	if err != nil {
		c.forget(p)
		refuse(w, err)
		return
	}
	reply(w, out)
}

func (c *Control) admit(p *owned) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return fault{http.StatusServiceUnavailable, errors.New("the simulator is closing")}
	case slices.ContainsFunc(c.phones, func(o *owned) bool { return o.Name() == p.Name() }):
		return fault{http.StatusConflict, fmt.Errorf("there is a phone %q already", p.Name())}
	}
	c.phones = append(c.phones, p)
	return nil
}

func (c *Control) forget(p *owned) {
	c.mu.Lock()
	c.phones = slices.DeleteFunc(c.phones, func(o *owned) bool { return o == p })
	c.mu.Unlock()
	p.off()
}

// with finds the phone that a path names.
func (c *Control) with(do func(http.ResponseWriter, *http.Request, *owned)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		c.mu.Lock()
		at := slices.IndexFunc(c.phones, func(p *owned) bool { return p.Name() == name })
		var p *owned
		if at >= 0 {
			p = c.phones[at]
		}
		c.mu.Unlock()
		if p == nil {
			refuse(w, fault{http.StatusNotFound, fmt.Errorf("there is no phone %q", name)})
			return
		}
		do(w, r, p)
	}
}

func (c *Control) readPhone(w http.ResponseWriter, _ *http.Request, p *owned) {
	reply(w, struct {
		phoneJSON
		Got     []pushJSON `json:"got"`
		LostAll []pushJSON `json:"lost_pushes"`
	}{showPhone(p), showAll(p.Got()), showAll(p.Lost())})
}

// changePhone changes the parts of its behaviour that are named.
func (c *Control) changePhone(w http.ResponseWriter, r *http.Request, p *owned) {
	b := p.Behaviour()
	if err := read(r, &b); err != nil {
		refuse(w, err)
		return
	}
	p.Behave(func(now *pushtest.Behaviour) { *now = b })
	reply(w, showPhone(p))
}

func (c *Control) removePhone(w http.ResponseWriter, _ *http.Request, p *owned) {
	p.Uninstall("", 0)
	c.forget(p)
	reply(w, struct{}{})
}

// phoneDoes is what happens to a phone once.
func (c *Control) phoneDoes(w http.ResponseWriter, r *http.Request, p *owned) {
	var in struct {
		App         string `json:"app"`
		CollapseID  string `json:"collapse_id"`
		AcceptedFor span   `json:"accepted_for"`
	}
	if err := read(r, &in); err != nil {
		refuse(w, err)
		return
	}
	verb := r.PathValue("verb")
	switch verb {
	case "uninstall":
		reply(w, map[string]any{"tokens": p.Uninstall(in.App, time.Duration(in.AcceptedFor))})
	case "rotate":
		reply(w, map[string]any{"tokens": p.RotateToken(in.App)})
	case "let-through":
		reply(w, map[string]int{"delivered": p.LetThrough()})
	case "dismiss":
		for _, n := range p.Shown() {
			if (in.App == "" || n.App == in.App) && (in.CollapseID == "" || n.CollapseID == in.CollapseID) {
				p.Dismiss(n.App, n.CollapseID)
			}
		}
		reply(w, showPhone(p))
	case "open":
		n, err := p.Card()
		switch {
		case err != nil:
			refuse(w, fault{http.StatusConflict, err})
		case p.Agent() == nil:
			refuse(w, fault{http.StatusConflict, pushtest.ErrNoAgent})
		default:
			p.Agent().Opened(n)
			reply(w, showPush(n))
		}
	default:
		c.tap(w, r, p, verb)
	}
}

// tap presses a button of the newest page.
func (c *Control) tap(w http.ResponseWriter, r *http.Request, p *owned, button string) {
	v, err := pushtest.ParseVerb(button)
	if err != nil {
		refuse(w, fault{http.StatusNotFound, fmt.Errorf("a phone cannot %q; it can acknowledge, resolve, escalate, open, dismiss, uninstall, rotate, let-through", button)})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	result, err := p.Act(ctx, v)
	if err != nil {
		refuse(w, fault{http.StatusConflict, err})
		return
	}
	reply(w, result)
}
