package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

const (
	redrawEvery = 100 * time.Millisecond
	downFor     = 2 * time.Second // so that one sees that the server is down
	messageFor  = 6 * time.Second
	firstAlert  = 6 * time.Second // time to look around
)

// live lets a person take part, in a terminal or by lines.
func live(ctx context.Context, o Options) (err error) {
	t := &theatre{stage: &stage{pace: livePace, journal: newJournal()}}
	defer func() { err = errors.Join(err, t.close()) }()
	say := func(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }
	if err := t.open(ctx, o.Program, o.Dir); err != nil {
		return err
	}
	say("tocsin demo: everything is on this machine, in %s", t.dir)
	if err := t.server.start(ctx); err != nil {
		return err
	}
	say("the server answers at %s", t.server.url)
	to, err := t.employ(ctx)
	if err != nil {
		return err
	}
	if err := t.handOut(ctx); err != nil {
		return err
	}
	say("the shop is applied; Ann's iPhone and Bo's Android are enrolled")
	if err := t.server.ready(ctx); err != nil {
		return fmt.Errorf("the server is not ready: %w", err)
	}
	if err := t.listen(ctx, to); err != nil {
		return err
	}
	say("alerts come from: %s", t.monitor.name())
	if !o.Terminal {
		return plain(ctx, t, o)
	}
	program := tea.NewProgram(&model{theatre: t, perform: func(k string) string { return t.perform(ctx, k) }},
		tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out))
	_, err = program.Run()
	if errors.Is(err, tea.ErrProgramKilled) || errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil // a Ctrl-C is how one leaves
	}
	return err
}

// theatre is the stage with a person who presses keys.
type theatre struct {
	*stage
	serving sync.Mutex // held while the server is killed and started
	next    int        // alert to fire
	alerts  sync.Mutex
}

// keyHelp is what the keys do.
const keyHelp = "a/A ack  r/R resolve  e/E escalate  s/S silence  f fire  m mend  k kill  q quit"

// perform does what a key stands for, and returns what came of it. Small
// letters are Ann's phone, capitals Bo's.
func (t *theatre) perform(ctx context.Context, key string) string {
	p := t.ann
	if key != strings.ToLower(key) {
		p = t.bo
	}
	switch strings.ToLower(key) {
	case "a":
		return t.tap(ctx, p, pushtest.Acknowledge)
	case "r":
		return t.tap(ctx, p, pushtest.Resolve)
	case "e":
		return t.tap(ctx, p, pushtest.Escalate)
	case "s":
		next := (p.moodNow() + 1) % (moodOffline + 1)
		p.setMood(next)
		return p.name + ": " + moodText[next]
	case "f":
		return t.fireNext(ctx)
	case "m":
		if _, err := t.mend(ctx); err != nil {
			return err.Error()
		}
		return "Alertmanager was told that all is well; it tells tocsin within a second or two"
	case "k":
		return t.crash(ctx)
	}
	return ""
}

//nolint:gochecknoglobals // look-up table
var moodText = [...]string{
	moodWell:    "answers again",
	moodMute:    "rings, and its app says nothing: tocsin will notice",
	moodOffline: "off line: nothing arrives",
}

// tap presses a button of a phone's newest page.
func (t *theatre) tap(ctx context.Context, p *phone, verb pushtest.Verb) string {
	if p.moodNow() == moodOffline {
		return p.name + " is off line: the tap waits in vain"
	}
	answer, err := p.act(ctx, verb)
	if err != nil {
		return err.Error()
	}
	outcome := strings.ToLower(strings.TrimPrefix(answer.Outcome, "OUTCOME_"))
	state := strings.ToLower(strings.TrimPrefix(answer.State, "STATE_"))
	text := fmt.Sprintf("%s: %s, #%d is %s", p.name, outcome, answer.Number, state)
	switch {
	case answer.Holder == "":
	case answer.State == tocsinv1.Incident_STATE_TRIGGERED.String():
		text += "; it is the turn of " + answer.Holder
	default:
		text += ", held by " + answer.Holder
	}
	return text
}

// fireNext lets the next thing in the shop break.
func (t *theatre) fireNext(ctx context.Context) string {
	t.alerts.Lock()
	a := shopAlerts[t.next%len(shopAlerts)]
	t.next++
	t.alerts.Unlock()
	if err := t.fire(ctx, a); err != nil {
		return err.Error()
	}
	return a.name + " fires on " + a.service
}

// crash kills the server and starts it again.
func (t *theatre) crash(ctx context.Context) string {
	if !t.serving.TryLock() {
		return "the server is on its way already"
	}
	defer t.serving.Unlock()
	t.kill()
	rest(ctx, downFor)
	if err := t.revive(ctx); err != nil {
		return err.Error()
	}
	return "the server is back, on the Redis that outlived it"
}

// model is the screen as Bubble Tea runs it.
type model struct {
	theatre *theatre
	perform func(key string) string

	width, height int
	begin         time.Time // when the first alert fires by itself; zero before the first tick
	begun         bool
	message       string
	messageAt     time.Time
	now           time.Time
}

type (
	redraw struct{ now time.Time }
	result struct{ text string }
)

// Init starts the clock.
func (m *model) Init() tea.Cmd { return tick() }

func tick() tea.Cmd {
	return tea.Tick(redrawEvery, func(now time.Time) tea.Msg { return redraw{now} })
}

// Update takes in a key, a tick or the size.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case redraw:
		m.now = msg.now
		if m.begin.IsZero() {
			m.begin = m.now.Add(firstAlert)
		}
		if !m.begun && !m.now.Before(m.begin) { // the first alert comes by itself
			m.begun = true
			return m, tea.Batch(tick(), m.do("f"))
		}
		return m, tick()
	case result:
		if msg.text != "" {
			m.message, m.messageAt = msg.text, m.now
		}
	case tea.KeyPressMsg:
		switch key := msg.String(); key {
		case "q", "ctrl+c", "esc":
			return m, tea.Quit
		default:
			m.begun = m.begun || key == "f"
			return m, m.do(key)
		}
	}
	return m, nil
}

// do performs a key beside the screen, which goes on being drawn.
func (m *model) do(key string) tea.Cmd {
	return func() tea.Msg { return result{m.perform(key)} }
}

// View draws the screen.
func (m *model) View() tea.View {
	s := m.theatre.look(m.now)
	s.width, s.height = m.width, m.height
	switch {
	case m.now.Sub(m.messageAt) < messageFor:
		s.message = m.message
	case !m.begun && !m.begin.IsZero():
		s.message = fmt.Sprintf("An alert fires in %s. Press s first, and Ann's phone will not answer.", clockText(m.begin.Sub(m.now)))
	}
	v := tea.NewView(s.render())
	v.AltScreen, v.WindowTitle = true, "tocsin demo"
	return v
}
