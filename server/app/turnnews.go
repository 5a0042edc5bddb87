package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// turnNews tells people what becomes of requests for cover and swaps, reminds
// those who could take one, and tells the owners of a schedule of gaps ahead.
// Each schedule is looked after by the owner of its partition; of one notice, one
// is sent, whoever owns what and however often a server starts.
type turnNews struct {
	snapshot func() *directory.Snapshot
	once     claims
	tell     func(notify.News)
	owned    func() []store.Partition
	now      func() time.Time
	log      *slog.Logger
	every    time.Duration
}

const (
	// coverLate is how late a notice about a request is still worth telling.
	coverLate = 24 * time.Hour
	// coverTold is how long it is remembered that it was told: longer than it may be late.
	coverTold = 2 * coverLate
	// gapsAhead is how far ahead gaps are looked for.
	gapsAhead = 30 * 24 * time.Hour
	// gapsEvery is how often: it renders a month of every schedule.
	gapsEvery = 15 * time.Minute
)

// run looks now and then until ctx ends.
func (n *turnNews) run(ctx context.Context) error {
	var looked time.Time // for gaps
	return rounds(ctx, n.every, n.log, "cover requests and gaps were not looked at", func(ctx context.Context) error {
		gaps := n.now().Sub(looked) >= gapsEvery
		err := n.round(ctx, gaps)
		if err == nil && gaps {
			looked = n.now()
		}
		return err
	})
}

// round tells what is to be told now; of gaps, too, when asked. One that fails
// keeps nothing back of the others.
func (n *turnNews) round(ctx context.Context, gaps bool) error {
	s, now := n.snapshot(), n.now()
	mine := mineOf(n.owned())
	var errs []error
	for c := range s.Covers() {
		if !mine[store.PartitionOf(string(c.Schedule))] {
			continue
		}
		if err := n.cover(ctx, s, c, now); err != nil {
			errs = append(errs, fmt.Errorf("look at cover request %s: %w", c.ID, err))
		}
	}
	if !gaps {
		return errors.Join(errs...)
	}
	for r := range s.Schedules() {
		if !mine[store.PartitionOf(string(r.ID))] {
			continue
		}
		if err := n.gaps(ctx, s, r, now); err != nil {
			errs = append(errs, fmt.Errorf("look for gaps of schedule %s: %w", r.ID, err))
		}
	}
	return errors.Join(errs...)
}

// first reports whether nobody has told what has this name.
func (n *turnNews) first(ctx context.Context, name string, kept time.Duration) (bool, error) {
	return n.once.first(ctx, "told/"+name, kept)
}

// cover tells what there is to tell about one request.
func (n *turnNews) cover(ctx context.Context, s *directory.Snapshot, c *directory.Cover, now time.Time) error {
	r, ok := s.GetSchedule(c.Schedule)
	if !ok {
		return nil
	}
	what, at := coverTurn(c, now)
	if now.Sub(at) > coverLate {
		return nil
	}
	name := fmt.Sprintf("cover/%s/%s/%d", c.ID, what, at.Unix())
	if ok, err := n.first(ctx, name, coverTold); !ok {
		return err
	}
	for _, news := range coverNews(s, r, c, what) {
		news.Name = name
		n.tell(news)
	}
	return nil
}

// coverTurn returns the latest thing that is to be told of a request, and since
// when: that it is asked, a reminder of it, or what has become of it.
func coverTurn(c *directory.Cover, now time.Time) (what string, at time.Time) {
	switch state := c.StateAt(now); state {
	case schedule.RequestTaken, schedule.RequestCancelled:
		return state.String(), c.At
	case schedule.RequestPastDue:
		at = c.Start
		if c.Swaps() && c.Theirs.Start.Before(at) {
			at = c.Theirs.Start
		}
		return state.String(), at
	case schedule.RequestOpen:
	}
	what, at = "asked", c.CreatedAt
	for _, t := range c.Reminders() {
		if !t.After(now) {
			what, at = "reminded", t
		}
	}
	return what, at
}

// coverNews words what is told of a request, to each whom it concerns.
func coverNews(s *directory.Snapshot, r *directory.Schedule, c *directory.Cover, what string) []notify.News {
	switch what {
	case schedule.RequestTaken.String():
		return takenNews(s, r, c)
	case schedule.RequestCancelled.String():
		return cancelledNews(s, r, c)
	case schedule.RequestPastDue.String():
		return lapsedNews(s, r, c)
	}
	title := displayName(s, c.User) + " asks for cover"
	if c.Swaps() {
		title = displayName(s, c.User) + " offers you a swap"
	}
	if what == "reminded" {
		title = "Still open: " + title
	}
	var all []notify.News
	for _, u := range c.Candidates(r.Schedule) {
		body := coverTimes(s, r, c, u) + "."
		if c.Note != "" {
			body += " " + strings.TrimRight(c.Note, ". ") + "."
		}
		all = append(all, notify.News{User: u, Title: title, Body: body + " To take it: tocsin oncall cover accept " + string(c.ID) + "."})
	}
	return all
}

// takenNews tells both sides that somebody has taken it.
func takenNews(s *directory.Snapshot, r *directory.Schedule, c *directory.Cover) []notify.News {
	asked := notify.News{User: c.User, Title: displayName(s, c.By) + " covers for you", Body: coverTimes(s, r, c, c.User) + "."}
	took := notify.News{User: c.By, Title: "You cover for " + displayName(s, c.User), Body: coverTimes(s, r, c, c.By) + "."}
	if c.Swaps() {
		asked.Title, took.Title = displayName(s, c.By)+" has accepted the swap", "You have swapped with "+displayName(s, c.User)
	}
	return []notify.News{asked, took}
}

// cancelledNews tells both sides of a swap that one of them, or somebody who may,
// has taken it back or declined it; of a request for cover the one who asked.
func cancelledNews(s *directory.Snapshot, r *directory.Schedule, c *directory.Cover) []notify.News {
	var all []notify.News
	for _, u := range []roster.UserID{c.User, c.Theirs.User} {
		title := displayName(s, c.By) + " has taken the request back"
		switch {
		case u == "" || u == c.By && !c.Swaps():
			continue // he knows
		case c.Swaps() && c.By == c.Theirs.User && u == c.By:
			title = "You have declined the swap with " + displayName(s, c.User)
		case c.Swaps() && c.By == c.Theirs.User:
			title = displayName(s, c.By) + " has declined the swap"
		case u == c.By:
			title = "You have taken the swap with " + displayName(s, c.Theirs.User) + " back"
		}
		all = append(all, notify.News{User: u, Title: title, Body: coverTimes(s, r, c, u) + ". Everybody keeps his own time on call."})
	}
	return all
}

// lapsedNews tells both sides that its time has begun without anybody.
func lapsedNews(s *directory.Snapshot, r *directory.Schedule, c *directory.Cover) []notify.News {
	title := "Nobody has taken your time on call"
	if c.Swaps() {
		title = "The swap was not accepted in time"
	}
	var all []notify.News
	for _, u := range []roster.UserID{c.User, c.Theirs.User} {
		if u != "" {
			all = append(all, notify.News{User: u, Title: title, Body: coverTimes(s, r, c, u) + ". Everybody keeps his own time on call."})
		}
	}
	return all
}

// coverTimes says by which schedule and when, on the wall of the one who is told.
func coverTimes(s *directory.Snapshot, r *directory.Schedule, c *directory.Cover, to roster.UserID) string {
	text := fmt.Sprintf("By %q, %s", r.Name, wallSpan(s, to, c.Start, c.End))
	if c.Swaps() {
		text += fmt.Sprintf(" (%s's) for %s (%s's)", displayName(s, c.User), wallSpan(s, to, c.Theirs.Start, c.Theirs.End), displayName(s, c.Theirs.User))
	}
	return text
}

// wallSpan says a time as the person's wall shows it.
func wallSpan(s *directory.Snapshot, u roster.UserID, from, to time.Time) string {
	person, _ := s.User(u)
	zone := s.Zone(person.Zone)
	return from.In(zone).Format(wallTime) + " to " + to.In(zone).Format(wallTime)
}

// wallTime is an instant of the next weeks.
const wallTime = "Mon 2 Jan 15:04"

// gaps tells the owners of a schedule of those gaps of the next 30 days of which
// it is time to tell: each 30, 7 and 1 days before, or at once when it came to be
// later than that.
func (n *turnNews) gaps(ctx context.Context, s *directory.Snapshot, r *directory.Schedule, now time.Time) error {
	turns, err := s.Turns(r.ID)
	if err != nil {
		return err
	}
	var fresh []schedule.Gap
	name := ""
	for _, g := range turns.Gaps(now, now.Add(gapsAhead)) {
		if g.Override != "" || !g.Start.After(now) || routine(s, r, turns, g) {
			continue // meant so, or there already, which paging tells
		}
		due := 0
		for _, t := range g.Notices() {
			if !t.After(now) {
				due++
			}
		}
		key := fmt.Sprintf("gap/%s/%d/%d", r.ID, g.Start.Unix(), due)
		ok, err := n.first(ctx, key, g.Start.Sub(now)+time.Hour)
		if err != nil {
			return err
		}
		if ok {
			fresh, name = append(fresh, g), key
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	for _, u := range ownersOf(s, r) {
		news := gapNews(s, r, turns, fresh, u)
		news.Name = name
		n.tell(news)
	}
	return nil
}

// routine reports whether a gap comes back every week, as the nights of office
// hours do: that was meant so, and is for the review to show. A schedule that is
// younger than a week is held against the week that follows.
func routine(s *directory.Snapshot, r *directory.Schedule, turns *schedule.Resolver, g schedule.Gap) bool {
	const week = 7 * 24 * time.Hour
	if next, ok := turns.NextHandOff(g.Start, ""); !ok || next.At.Sub(g.Start) >= week {
		return false
	}
	local := g.Start.In(s.Zone(r.Zone))
	other := local.AddDate(0, 0, -7)
	if other.Before(r.Created) {
		other = local.AddDate(0, 0, 7)
	}
	return turns.At(other).User == ""
}

// ownersOf returns who sees to a schedule: the managers of its team, or its
// members when it has none; where there is no team, the catch-all.
func ownersOf(s *directory.Snapshot, r *directory.Schedule) []roster.UserID {
	team, ok := s.GetTeam(r.Team)
	switch {
	case ok && len(team.Managers) > 0:
		return team.Managers
	case ok && len(team.Members) > 0:
		return team.Members
	}
	return s.GetSettings().CatchAll
}

// mostGaps is how many gaps are told one by one.
const mostGaps = 3

// gapNews words the gaps of a schedule for one of its owners. They are critical
// where a policy would have nobody else to ask.
func gapNews(s *directory.Snapshot, r *directory.Schedule, turns *schedule.Resolver, gaps []schedule.Gap, to roster.UserID) notify.News {
	person, _ := s.User(to)
	zone := s.Zone(person.Zone)
	n := notify.News{User: to, Title: fmt.Sprintf("Nobody is on call by %q from %s", r.Name, gaps[0].Start.In(zone).Format(wallTime))}
	var lines []string
	for i, g := range gaps {
		if i == mostGaps {
			lines = append(lines, fmt.Sprintf("And %d more gaps within 30 days.", len(gaps)-mostGaps))
			break
		}
		line := "Nobody is on call from " + g.Start.In(zone).Format(wallTime) + " on."
		if next, ok := turns.NextHandOff(g.Start, ""); ok {
			line = "Nobody is on call from " + g.Start.In(zone).Format(wallTime) + " to " + next.At.In(zone).Format(wallTime) + "."
		}
		if bare := s.BareLevels(r.ID, g.Start); len(bare) > 0 {
			if !n.Aside {
				n.Aside, n.Title = true, "Critical: n"+strings.TrimPrefix(n.Title, "N")
			}
			line += " Then there is nobody else at " + strings.Join(bare, " and at ") + "."
		}
		lines = append(lines, line)
	}
	n.Body = strings.Join(lines, " ") + " Put somebody there, or make an override that says that it is meant so."
	return n
}
