package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

const (
	maxBody    = 1 << 20
	maxWait    = 30 * time.Second
	maxAnswers = 1000
	pageSize   = 200
)

// routes are the calls of the API.
func (c *Control) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/state", c.state)
	mux.HandleFunc("GET /api/requests", c.requests)
	mux.HandleFunc("DELETE /api/requests", func(w http.ResponseWriter, _ *http.Request) {
		c.sim.Forget()
		reply(w, struct{}{})
	})
	mux.HandleFunc("POST /api/answers", c.script)
	mux.HandleFunc("DELETE /api/answers", func(w http.ResponseWriter, _ *http.Request) {
		c.sim.ForgetScripts()
		reply(w, struct{}{})
	})
	mux.HandleFunc("PATCH /api/settings", c.settings)
	mux.HandleFunc("POST /api/connections", c.connections)
	mux.HandleFunc("POST /api/tokens", c.addToken)
	mux.HandleFunc("DELETE /api/tokens", c.endToken)
	mux.HandleFunc("POST /api/keys", c.addKey)
	mux.HandleFunc("DELETE /api/keys", c.revokeKey)
	mux.HandleFunc("POST /api/oauth", c.oauth)
	mux.HandleFunc("POST /api/phones", c.addPhone)
	mux.HandleFunc("GET /api/phones/{name}", c.with(c.readPhone))
	mux.HandleFunc("PATCH /api/phones/{name}", c.with(c.changePhone))
	mux.HandleFunc("DELETE /api/phones/{name}", c.with(c.removePhone))
	mux.HandleFunc("POST /api/phones/{name}/{verb}", c.with(c.phoneDoes))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Errorf("there is no call %s %s; docs/simulators.md lists them", r.Method, r.URL.Path))
	})
}

// fault is an error with the status that it is answered with.
type fault struct {
	status int
	error
}

func (f fault) Unwrap() error { return f.error }

func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // whoever has gone needs no answer
}

func refuse(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	if f, ok := errors.AsType[fault](err); ok {
		status = f.status
	}
	fail(w, status, err)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // whoever has gone needs no answer
}

// read takes a body of JSON; an unknown field is a mistake that is told.
func read(r *http.Request, into any) error {
	return parse(http.MaxBytesReader(nil, r.Body, maxBody), into)
}

func parse(from io.Reader, into any) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	switch err := d.Decode(into); {
	case errors.Is(err, io.EOF):
		return nil // nothing was said
	case err != nil:
		return fmt.Errorf("read the body: %w", err)
	case d.More():
		return errors.New("read the body: there is something behind the JSON")
	}
	return nil
}

// span is a duration in JSON: text as "1.5s".
type span time.Duration

// MarshalText implements encoding.TextMarshaler.
func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration: write it as 1.5s", b)
	}
	*s = span(d)
	return nil
}

// answerJSON is a pushtest.Answer.
type answerJSON struct {
	Status    int               `json:"status"`
	Reason    string            `json:"reason"`
	Header    map[string]string `json:"header"`
	Body      *string           `json:"body"`
	HTML      bool              `json:"html"`
	Delay     span              `json:"delay"`
	Drip      span              `json:"drip"`
	Fault     pushtest.Fault    `json:"fault"`
	Deliver   bool              `json:"deliver"`
	Late      span              `json:"late"`
	Held      bool              `json:"held"`
	GoAway    bool              `json:"goaway"`
	Timestamp any               `json:"timestamp"`
	Detail    any               `json:"detail"`
}

func (j *answerJSON) answer() (pushtest.Answer, error) {
	if j.Status != 0 && (j.Status < 200 || j.Status > 599) {
		return pushtest.Answer{}, fmt.Errorf("status %d is outside 200 to 599; 0 lets the simulator judge", j.Status)
	}
	for what, d := range map[string]span{"delay": j.Delay, "drip": j.Drip, "late": j.Late} {
		if d < 0 || time.Duration(d) > time.Hour {
			return pushtest.Answer{}, fmt.Errorf("%s %v is outside 0 to 1h", what, time.Duration(d))
		}
	}
	a := pushtest.Answer{Status: j.Status, Reason: j.Reason, Header: j.Header}
	if j.HTML {
		if j.Status == 0 {
			return a, errors.New("html needs a status")
		}
		a = pushtest.Page(j.Status)
		maps.Copy(a.Header, j.Header)
	}
	if j.Body != nil {
		a.Body = []byte(*j.Body)
	}
	a.Delay, a.Drip, a.Fault, a.Deliver, a.Late, a.Held, a.GoAway = time.Duration(j.Delay), time.Duration(j.Drip), j.Fault, j.Deliver, time.Duration(j.Late), j.Held, j.GoAway
	a.Timestamp, a.Detail = j.Timestamp, j.Detail
	return a, nil
}

// scriptJSON asks for answers: to a token, or "" for any; each of them so many
// times, or the last of them always.
type scriptJSON struct {
	Token   string       `json:"token"`
	Times   int          `json:"times"`
	Always  bool         `json:"always"`
	Answer  *answerJSON  `json:"answer"`
	Answers []answerJSON `json:"answers"`
}

// plan is what a script asks for, checked.
func (s *scriptJSON) plan() ([]pushtest.Answer, error) {
	all := s.Answers
	if s.Answer != nil {
		all = append(all, *s.Answer)
	}
	if s.Times == 0 {
		s.Times = 1
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("answer is missing: what should be answered?")
	case s.Times < 0, s.Times > maxAnswers, s.Times*len(all) > maxAnswers:
		return nil, fmt.Errorf("times has to be from 1 to %d in all", maxAnswers)
	case s.Always && len(all) != 1:
		return nil, errors.New("always takes one answer")
	}
	var answers []pushtest.Answer
	for i := range all {
		a, err := all[i].answer()
		if err != nil {
			return nil, err
		}
		for range s.Times {
			answers = append(answers, a)
		}
	}
	return answers, nil
}

func (c *Control) script(w http.ResponseWriter, r *http.Request) {
	var in scriptJSON
	if err := read(r, &in); err != nil {
		refuse(w, err)
		return
	}
	answers, err := in.plan()
	switch {
	case err != nil:
		refuse(w, err)
		return
	case in.Always:
		c.sim.Always(in.Token, answers[0])
	case in.Token == "":
		c.sim.ScriptAny(answers...)
	default:
		c.sim.Script(in.Token, answers...)
	}
	reply(w, map[string]int{"answers": len(answers)})
}

// settingsJSON changes what is given and leaves the rest.
type settingsJSON struct {
	Latency     *span             `json:"latency"`
	Skew        *span             `json:"skew"`
	Streams     *uint32           `json:"streams"`
	IgnorePings *bool             `json:"ignore_pings"`
	Weather     *pushtest.Weather `json:"weather"`
}

func (c *Control) settings(w http.ResponseWriter, r *http.Request) {
	var in settingsJSON
	err := read(r, &in)
	switch {
	case err != nil:
	case in.Latency != nil && (*in.Latency < 0 || time.Duration(*in.Latency) > time.Hour):
		err = errors.New("latency is outside 0 to 1h")
	case in.Streams != nil && *in.Streams == 0:
		err = errors.New("streams has to be at least 1; to refuse connections, POST /api/connections with down")
	case in.Weather != nil:
		err = c.sim.SetWeather(*in.Weather)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	if in.Latency != nil {
		c.sim.SetLatency(time.Duration(*in.Latency))
	}
	if in.Skew != nil {
		c.sim.SetSkew(time.Duration(*in.Skew))
	}
	if in.Streams != nil {
		c.sim.MaxStreams(*in.Streams)
	}
	if in.IgnorePings != nil {
		c.sim.IgnorePings(*in.IgnorePings)
		c.mu.Lock()
		c.mute = *in.IgnorePings
		c.mu.Unlock()
	}
	c.state(w, r)
}

// connections does something to all connections.
func (c *Control) connections(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Do    string `json:"do"`
		Debug string `json:"debug"`
	}
	if err := read(r, &in); err != nil {
		refuse(w, err)
		return
	}
	apple, isApple := c.sim.(*pushtest.APNs)
	switch in.Do {
	case "goaway":
		c.sim.GoAway(in.Debug)
	case "cut":
		c.sim.Cut()
	case "freeze", "wake":
		c.sim.Freeze(in.Do == "freeze")
	case "down", "up":
		c.sim.Down(in.Do == "down")
		c.mu.Lock()
		c.down = in.Do == "down"
		c.mu.Unlock()
	case "shutdown":
		if !isApple {
			refuse(w, errors.New("do: shutdown is a way of APNs; use goaway"))
			return
		}
		apple.ShutDown()
	default:
		refuse(w, fmt.Errorf("do: there is no %q; there are goaway, shutdown, cut, freeze, wake, down, up", in.Do))
		return
	}
	c.state(w, r)
}

// requestJSON is a request as it was recorded. The body is JSON where it is
// JSON, else text; opened is what a Web Push carried.
type requestJSON struct {
	Number     int               `json:"number"`
	At         time.Time         `json:"at"`
	Connection int               `json:"connection"`
	Stream     uint32            `json:"stream"`
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Token      string            `json:"token"`
	Header     map[string]string `json:"header"`
	Body       any               `json:"body"`
	Opened     any               `json:"opened,omitempty"`
	Status     int               `json:"status"`
	Reason     string            `json:"reason"`
	Fault      string            `json:"fault"`
}

func (c *Control) show(r pushtest.Request) requestJSON {
	j := requestJSON{
		Number: r.Number, At: r.At, Connection: r.Connection, Stream: r.Stream, Method: r.Method, Path: r.Path, Token: r.Token,
		Header: make(map[string]string, len(r.Header)), Body: readable(r.Body), Status: r.Status, Reason: r.Reason, Fault: r.Fault.String(),
	}
	for k, v := range r.Header {
		if k == "authorization" {
			v = shorten(v) // it may be a real key's
		}
		j.Header[k] = v
	}
	if web, ok := c.sim.(*pushtest.WebPush); ok {
		j.Body = fmt.Sprintf("%d bytes, encrypted", len(r.Body))
		if plain, err := web.Open(r); err == nil {
			j.Opened = readable(plain)
		}
	}
	return j
}

func shorten(s string) string {
	const most = 24
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

func readable(b []byte) any {
	if json.Valid(b) {
		return json.RawMessage(b)
	}
	return string(b)
}

// requests lists what arrived after a number, and waits for the first of it as
// long as is asked for.
func (c *Control) requests(w http.ResponseWriter, r *http.Request) {
	after, wait, limit, err := window(r)
	if err != nil {
		refuse(w, err)
		return
	}
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	got, news := c.sim.RequestsSince(after, limit)
	for ended := wait == 0; len(got) == 0 && !ended; {
		select {
		case <-news:
			got, news = c.sim.RequestsSince(after, limit)
		case <-deadline.C:
			ended = true
		case <-r.Context().Done():
			ended = true
		case <-c.quit:
			ended = true
		}
	}
	out := struct {
		Requests []requestJSON `json:"requests"`
		Next     int           `json:"next"`
	}{Requests: make([]requestJSON, 0, len(got)), Next: after}
	for _, q := range got {
		out.Requests = append(out.Requests, c.show(q))
		out.Next = q.Number
	}
	reply(w, out)
}

func window(r *http.Request) (after int, wait time.Duration, limit int, err error) {
	q := r.URL.Query()
	limit = pageSize
	number := func(name string, into *int, least, most int) {
		if s := q.Get(name); s != "" && err == nil {
			if *into, err = strconv.Atoi(s); err != nil || *into < least || *into > most {
				err = fmt.Errorf("%s: %q is no number from %d to %d", name, s, least, most)
			}
		}
	}
	number("after", &after, 0, 1<<53)
	number("limit", &limit, 1, 1000)
	if s := q.Get("wait"); s != "" && err == nil {
		if wait, err = time.ParseDuration(s); err != nil || wait < 0 || wait > maxWait {
			err = fmt.Errorf("wait: %q is no duration from 0s to %v", s, maxWait)
		}
	}
	return after, wait, limit, err
}

// stateJSON is everything but the requests.
type stateJSON struct {
	Service     string            `json:"service"`
	URL         string            `json:"url"`
	App         string            `json:"app"`
	Project     string            `json:"project,omitempty"`
	Now         time.Time         `json:"now"`
	Count       int               `json:"count"`
	InFlight    int               `json:"in_flight"`
	Connections connectionsJSON   `json:"connections"`
	Latency     span              `json:"latency"`
	Skew        span              `json:"skew"`
	Streams     uint32            `json:"streams"`
	IgnorePings bool              `json:"ignore_pings"`
	Down        bool              `json:"down"`
	Weather     pushtest.Weather  `json:"weather"`
	Phones      []phoneJSON       `json:"phones"`
	Tokens      []tokenJSON       `json:"tokens"`
	Reasons     []pushtest.Reason `json:"reasons"`
	Faults      []string          `json:"faults"`
}

type connectionsJSON struct {
	Opened       int `json:"opened"`
	Open         int `json:"open"`
	MostInFlight int `json:"most_in_flight"`
}

func (c *Control) state(w http.ResponseWriter, _ *http.Request) {
	s := stateJSON{
		Service: c.service, URL: c.sim.URL(), App: c.app, Now: time.Now().UTC(), Count: c.sim.Count(), InFlight: c.sim.InFlight(),
		Latency: span(c.sim.Latency()), Skew: span(c.sim.Skew()), Streams: c.sim.Streams(), Weather: c.sim.Weather(),
		Faults: pushtest.FaultNames(), Reasons: c.reasons(), Phones: []phoneJSON{}, Tokens: []tokenJSON{},
	}
	s.Connections.Opened, s.Connections.Open, s.Connections.MostInFlight = c.sim.Connections()
	if f, ok := c.sim.(*pushtest.FCM); ok {
		s.Project = f.Project()
	}
	c.mu.Lock()
	s.Down, s.IgnorePings = c.down, c.mute
	phones := slices.Clone(c.phones)
	c.mu.Unlock()
	for _, p := range phones {
		s.Phones = append(s.Phones, showPhone(p))
	}
	for _, t := range c.sim.Tokens() {
		s.Tokens = append(s.Tokens, tokenJSON{Token: t.Token, App: t.App, Phone: t.Phone})
	}
	reply(w, s)
}

func (c *Control) reasons() []pushtest.Reason {
	switch c.service {
	case "apns":
		return pushtest.APNsReasons()
	case "fcm":
		return pushtest.FCMReasons()
	}
	return pushtest.WebPushReasons()
}
