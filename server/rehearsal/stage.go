package rehearsal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// view is the snapshot as decisions see it. No platform is silent, and turns are
// those that were taken here.
type view struct {
	*directory.Snapshot

	taken map[Level]roster.UserID
}

var _ incident.View = view{}

// Turn implements [incident.View].
func (v view) Turn(p escalation.PolicyID, level int) (roster.UserID, bool) {
	u, ok := v.taken[Level{Policy: p, Number: level}]
	return u, ok
}

// Silent implements [incident.View].
func (view) Silent(roster.Platform) bool { return false }

// stage is one rehearsal under way. One thing is done after the other, but the
// notifier does its part on goroutines of its own.
type stage struct {
	q        Question
	view     view
	notifier *notify.Notifier
	ledger   *ledger

	mu       sync.Mutex
	now      time.Time
	in       *incident.Incident
	alerts   map[string]incident.Alert
	timeline []incident.Entry
	queue    []store.WorkItem
	items    int
	doing    incident.Work // in hand; of kind 0 while there is none
	name     string        // of the item that it came by
	messages []Message
	last     time.Time // since when nobody but the last resort is left to be asked; zero: there is
	failed   error     // of what the notifier asked for
}

// newStage returns a stage on which nothing has happened.
func newStage(snap *directory.Snapshot, q Question) *stage {
	s := &stage{q: q, now: q.At, view: view{snap, map[Level]roster.UserID{}}, alerts: map[string]incident.Alert{}}
	s.ledger = newLedger(s)
	ring, _ := auth.NewKeyring([auth.MasterKeySize]byte{1}) // signs what nobody gets
	way := address{s}
	s.notifier = notify.New(notify.Options{
		Ledger: s.ledger, Directory: people{snap}, Push: phones{s}, Signer: auth.NewSigner(ring), Now: s.clock,
		Channels:    map[roster.MethodKind]notify.Channel{roster.Email: way, roster.Webhook: way},
		Undelivered: s.undelivered,
	})
	return s
}

func (s *stage) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// play lets things happen until nothing new would.
func (s *stage) play(ctx context.Context, begin incident.Command) (Answer, error) {
	defer s.notifier.Close()
	if err := s.decide(ctx, begin); err != nil {
		return Answer{}, err
	}
	a := Answer{Opened: s.in}
	var err error
	if a.End, err = s.run(ctx); err != nil {
		return Answer{}, err
	}
	if len(s.messages) > MostMessages {
		a.End, s.messages = Unfinished, s.messages[:MostMessages]
	}
	a.EndAt, a.Closed, a.Timeline, a.Messages = s.now, s.in, s.timeline, s.messages
	slices.SortStableFunc(a.Messages, func(x, y Message) int {
		return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.User, y.User), cmp.Compare(x.Device, y.Device))
	})
	return a, nil
}

// run goes from one due instant to the next.
func (s *stage) run(ctx context.Context) (End, error) {
	limit := s.q.At.Add(Window)
	for range mostInstants {
		if err := s.work(ctx); err != nil {
			return 0, err
		}
		due := s.due()
		switch {
		case s.in.Status == incident.Resolved:
			return Resolved, nil
		case due.IsZero():
			return Quiet, nil
		case !s.last.IsZero() && !due.Before(s.last.Add(s.view.Pace().RemindRarely)):
			return Repeating, nil
		case due.After(limit), len(s.messages) > MostMessages:
			return Unfinished, nil
		}
		s.move(due)
		if err := s.tick(ctx); err != nil {
			return 0, err
		}
	}
	return Unfinished, nil
}

func (s *stage) move(to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to.After(s.now) {
		s.now = to
	}
}

// due is the earliest instant at which a document wants to be decided again. An
// incident that waits to end by itself has nothing left to send.
func (s *stage) due() time.Time {
	due := s.in.Due()
	for _, p := range s.ledger.people() {
		if at := p.Due(); !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return due
}

// tick decides what is due: the incident first, then what people are owed.
func (s *stage) tick(ctx context.Context) error {
	now := s.now
	is := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	if is(s.in.Due()) {
		cmd := incident.Tick{Receipts: s.receipts()}
		if s.in.AutoResolveDue(now) {
			for _, a := range s.alerts {
				cmd.Alerts = append(cmd.Alerts, a)
			}
		}
		if err := s.decide(ctx, cmd); err != nil {
			return err
		}
		if err := s.work(ctx); err != nil {
			return err
		}
	}
	for _, p := range s.ledger.people() {
		if !is(p.Due()) {
			continue
		}
		if err := s.notifier.Tick(ctx, store.PersonDoc(p.User), now); err != nil {
			return err
		}
		s.notifier.Settle()
	}
	return nil
}

// receipts are what phones have said of the pages whose confirmation is due.
func (s *stage) receipts() map[roster.UserID]incident.Receipt {
	if !s.in.ReceiptDue(s.now) {
		return nil
	}
	return incident.Receipts(s.ledger.all(), s.in.PagedSince(s.view.Pace().ReceiptWait))
}

// work does what decisions have asked for, one item after the other.
func (s *stage) work(ctx context.Context) error {
	for {
		item, ok := s.next()
		if !ok {
			return s.failed
		}
		if item.Work.Kind == incident.WorkCloseMerged || item.Work.Kind == incident.WorkUnlink {
			continue // of other incidents and services
		}
		ended := make(chan error, 1)
		s.notifier.Do(ctx, item, func(err error) { ended <- err })
		s.notifier.Settle()
		if err := <-ended; err != nil {
			return err
		}
	}
}

func (s *stage) next() (store.WorkItem, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doing, s.name = incident.Work{}, ""
	if len(s.queue) == 0 {
		return store.WorkItem{}, false
	}
	item := s.queue[0]
	s.queue, s.doing, s.name = s.queue[1:], item.Work, item.Key()
	return item, true
}

// decide has the rules decide and keeps what they say.
func (s *stage) decide(ctx context.Context, cmd incident.Command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		d, err := incident.Decide(s.in, cmd, s.view, s.now)
		if need, ok := errors.AsType[*incident.UnclaimedTurnError](err); ok {
			if err := s.claim(ctx, need); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("decide %T: %w", cmd, err)
		}
		s.keep(d)
		return nil
	}
}

// claim takes the turn at a round-robin level.
func (s *stage) claim(ctx context.Context, need *incident.UnclaimedTurnError) error {
	level := Level{Policy: need.Policy, Number: need.Level}
	ready := slices.DeleteFunc(slices.Clone(need.Members), func(u roster.UserID) bool { return u == "" })
	user := ready[0]
	if s.q.Turn != nil {
		var err error
		if user, err = s.q.Turn(ctx, level, ready); err != nil {
			return fmt.Errorf("look whose turn it is at level %d of policy %s: %w", need.Level+1, need.Policy, err)
		}
	}
	s.view.taken[level] = user
	return nil
}

// keep makes a decision what is.
func (s *stage) keep(d incident.Decision) {
	for _, a := range d.Alerts {
		if s.alerts[a.Key] = a; !a.Open {
			delete(s.alerts, a.Key)
		}
	}
	if d.Coalesce != nil {
		s.timeline[len(s.timeline)-1] = *d.Coalesce
	}
	s.timeline = append(s.timeline, d.Timeline...)
	for _, w := range d.Work {
		s.items++
		s.queue = append(s.queue, store.WorkItem{ID: fmt.Sprintf("%d-%d", s.now.UnixMilli(), s.items), Work: w})
	}
	if d.Changed {
		after := *d.Incident
		after.Revision++
		s.in = &after
	}
	switch final := s.in.Exhausted || lastResort(s.in); {
	case !final:
		s.last = time.Time{}
	case s.last.IsZero():
		s.last = s.now
	}
}

// lastResort reports whether nobody is asked by the policy itself.
func lastResort(in *incident.Incident) bool {
	return !slices.ContainsFunc(in.Assignees, func(a incident.Assignee) bool { return a.Via != incident.ViaFallback && a.Via != incident.ViaCatchAll })
}

// undelivered takes in that a contact step has no way left.
func (s *stage) undelivered(ctx context.Context, _ incident.ID, u incident.Undelivered) error {
	err := s.decide(ctx, u)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = errors.Join(s.failed, err)
	}
	return err
}

// sent notes a message that has left.
func (s *stage) sent(m Message, d incident.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.At, m.User, m.Method, m.By, m.Device, m.Level = s.now, d.User, d.Method, d.Kind, d.Device, -1
	if a := s.in.Asked(d.User); a != nil {
		m.Level, m.Follows, m.Mode = a.Level, a.Shadow.Follows, a.Shadow.Mode
	}
	if w := s.doing; m.Kind == Page && w.Kind == incident.WorkPage && w.User == d.User && w.Method == d.Method {
		m.Reason = w.Reason
	}
	s.messages = append(s.messages, m)
}

// kind is what a delivery is for: one that is not of the work in hand is of a card.
func (s *stage) kind(d incident.Delivery) MessageKind {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !d.Page:
		return Notice
	case s.name != "" && strings.HasSuffix(d.Work, "."+s.name):
		return Page
	}
	return Card
}
