package directory

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Cover is a request for cover, or, when something is taken in return, for a swap.
type Cover struct {
	schedule.Cover
	Theirs    schedule.Part // what is taken in return; zero: nothing
	Overrides []schedule.OverrideID
	Meta
}

func (c *Cover) key() Key       { return Key{KindCover, string(c.ID)} }
func (c *Cover) meta() *Meta    { return &c.Meta }
func (c *Cover) copied() Record { r := *c; return &r }

func (c *Cover) refs(f func(string, Key)) {
	f("schedule", Key{KindSchedule, string(c.Schedule)})
	refPerson(c.User, "user", f)
	refPerson(c.Theirs.User, "swap.user", f)
}

// Swaps reports whether something is taken in return.
func (c *Cover) Swaps() bool { return c.Theirs.User != "" }

// swap is the request as the rules of swaps see it.
func (c *Cover) swap() schedule.Swap {
	return schedule.Swap{
		ID: c.ID, Schedule: c.Schedule, CreatedAt: c.CreatedAt, Note: c.Note, Outcome: c.Outcome,
		Mine: schedule.Part{User: c.User, Start: c.Start, End: c.End}, Theirs: c.Theirs,
	}
}

// StateAt is how the request stands at an instant.
func (c *Cover) StateAt(now time.Time) schedule.RequestState {
	if c.Swaps() {
		return c.swap().StateAt(now)
	}
	return c.Cover.StateAt(now)
}

// Reminders are when those who may take the request are reminded of it.
func (c *Cover) Reminders() []time.Time {
	if c.Swaps() {
		return c.swap().Reminders()
	}
	return c.Cover.Reminders()
}

// Candidates are those who may take the request.
func (c *Cover) Candidates(s schedule.Schedule) []roster.UserID {
	if c.Swaps() {
		return []roster.UserID{c.Theirs.User}
	}
	return c.Cover.Candidates(s)
}

// taken returns what becomes of the request, and the overrides, when somebody takes it.
func (c *Cover) taken(by roster.UserID, turns *schedule.Resolver, now time.Time) (schedule.Outcome, []schedule.Override, error) {
	if c.Swaps() {
		w, overrides, err := c.swap().Accept(by, turns, now)
		return w.Outcome, overrides, err
	}
	t, overrides, err := c.Take(by, turns, now)
	return t.Outcome, overrides, err
}

// GetCover returns a request for cover, one that is over too.
func (s *Snapshot) GetCover(id schedule.RequestID) (*Cover, bool) {
	return find[*Cover](s, KindCover, string(id))
}

// AskCover makes a request. It has to lie ahead, in time that is the person's.
func (e *Edit) AskCover(c *Cover) error {
	turns, err := e.Turns(c.Schedule)
	if err != nil {
		return err
	}
	made := *c
	made.CreatedAt = e.Now
	if made.Swaps() {
		err = made.swap().Validate(turns, e.Now)
	} else {
		err = made.Validate(turns, e.Now)
	}
	if err != nil {
		return about(c.key(), err)
	}
	return e.Create(&made)
}

// TakeCover gives the time to who takes it: the request and the overrides of
// both sides change together or not at all. To take again what one has taken
// changes nothing; of two who take at once, one is told that it is not open.
func (e *Edit) TakeCover(id schedule.RequestID, by roster.UserID, etag string) error {
	c, ok := e.GetCover(id)
	if !ok {
		return notFound(Key{KindCover, string(id)})
	}
	turns, err := e.Turns(c.Schedule)
	if err != nil {
		return err
	}
	outcome, overrides, err := c.taken(by, turns, e.Now)
	if err != nil || len(overrides) == 0 { // the same person again
		return err
	}
	now := *c
	now.Outcome = outcome
	for _, o := range overrides {
		now.Overrides = append(now.Overrides, o.ID)
	}
	if err := e.Update(&now, etag); err != nil {
		return err
	}
	return e.AddOverrides(c.Schedule, overrides...)
}

// CancelCover takes a request back that nobody has taken.
func (e *Edit) CancelCover(id schedule.RequestID, by roster.UserID, etag string) error {
	c, ok := e.GetCover(id)
	if !ok {
		return notFound(Key{KindCover, string(id)})
	}
	now := *c
	if c.Swaps() {
		w, err := c.swap().Cancel(by, e.Now)
		if err != nil {
			return err
		}
		now.Outcome = w.Outcome
	} else {
		t, err := c.Cancel(by, e.Now)
		if err != nil {
			return err
		}
		now.Outcome = t.Outcome
	}
	return e.Update(&now, etag)
}

// rowBefore is how far around the time of a request doubts are looked for: a
// row of days that is too long begins before it.
const rowBefore = 8 * 24 * time.Hour

// CoverWarnings says what would be doubtful that is not so already if somebody
// took the request: one sentence each, none for who cannot take it.
func (s *Snapshot) CoverWarnings(c *Cover, by roster.UserID, now time.Time) []string {
	turns, err := s.Turns(c.Schedule)
	if err != nil {
		return nil
	}
	_, overrides, err := c.taken(by, turns, now)
	if err != nil || len(overrides) == 0 {
		return nil
	}
	whole, err := turns.Schedule().WithOverrides(now, overrides...)
	if err != nil {
		f, _ := asFault(err)
		return []string{f.Message}
	}
	after, err := schedule.New(whole, s.zones.get)
	if err != nil {
		return nil
	}
	from, to := c.Start, c.End
	if c.Swaps() {
		from, to = earlier(from, c.Theirs.Start), latest(to, c.Theirs.End)
	}
	return s.newDoubts(turns, after, from, to, by, c.User)
}

// OverrideWarnings says what is doubtful about an override that was not so before it:
// one sentence each.
func (s *Snapshot) OverrideWarnings(before *Snapshot, id schedule.ID, o schedule.Override) []string {
	was, err := before.Turns(id)
	if err != nil {
		return nil
	}
	is, err := s.Turns(id)
	if err != nil {
		return nil
	}
	return s.newDoubts(was, is, o.Start, o.End, o.User)
}

// newDoubts says what is doubtful about people by one form of a schedule and not by
// the form before it, around a time.
func (s *Snapshot) newDoubts(was, is *schedule.Resolver, from, to time.Time, people ...roster.UserID) []string {
	from, to = from.Add(-rowBefore), to.Add(rowBefore)
	before := s.Doubts(was, from, to)
	var out []string
	for _, d := range s.Doubts(is, from, to) {
		if slices.Contains(people, d.User) && !slices.Contains(before, d) {
			out = append(out, d.Text+" "+stretch(d.Start, d.End, s.Zone(is.Schedule().Zone)))
		}
	}
	return shortened(out, "doubts")
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
