package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Load is what somebody has of a plan. Hours are those of his own wall: the
// night is 22:00 to 08:00, the weekend is what is left of Saturday and Sunday.
type Load struct {
	User       roster.UserID
	Total      time.Duration
	Night      time.Duration
	Weekend    time.Duration
	Nights     int  // of which he has an hour or more
	Overloaded bool // has more in total than the mean
}

// The hours that weigh more.
const (
	nightBegins = 22 * time.Hour
	nightLasts  = 10 * time.Hour
	nightCounts = time.Hour
)

// Loads returns what everybody has of the stints, whoever has the most first.
// zone tells the zone of a person; where it answers nil, that is UTC.
func Loads(stints []Stint, zone func(roster.UserID) *time.Location) []Load {
	of := map[roster.UserID][]Stint{}
	for _, s := range stints {
		of[s.User] = append(of[s.User], s)
	}
	loads := make([]Load, 0, len(of))
	for user, mine := range of {
		clock := civil.NewClock(cmp.Or(zone(user), time.UTC))
		loads = append(loads, load(user, mine, &clock))
	}
	slices.SortFunc(loads, func(a, b Load) int { return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.User, b.User)) })
	var sum time.Duration
	for _, l := range loads {
		sum += l.Total
	}
	for i := range loads {
		loads[i].Overloaded = loads[i].Total > sum/time.Duration(len(loads))
	}
	return loads
}

// load counts one person's stints, day by day.
func load(user roster.UserID, stints []Stint, clock *civil.Clock) Load {
	l := Load{User: user}
	nights := map[civil.Day]time.Duration{}
	for _, stint := range stints {
		s := span{stint.Start, stint.End}
		l.Total += length(s)
		for d := clock.Show(s.start).Day - 1; d <= clock.Show(s.end).Day; d++ {
			nights[d] += length(night(d, clock).within(s))
			if isoWeekday(d) >= 6 {
				l.Weekend += length(span{night(d-1, clock).end, night(d, clock).start}.within(s))
			}
		}
	}
	for _, n := range nights {
		if l.Night += n; n >= nightCounts {
			l.Nights++
		}
	}
	return l
}

// night is the one that begins on the evening of the day.
func night(d civil.Day, clock *civil.Clock) span {
	begin := civil.Time{Day: d, Clock: nightBegins}
	return span{clock.First(begin), clock.First(begin.Add(int64(nightLasts / time.Second)))}
}

func length(s span) time.Duration { return max(0, s.end.Sub(s.start)) }

// Quality rates a plan from 0 to 100.
type Quality struct {
	Coverage float64 // share of the window with somebody on call
	Balance  float64 // how alike the totals are
	Nights   float64 // how alike the hours at night are
	Weekends float64 // how alike those of weekends are
	Score    float64 // mean of coverage and balance
}

// Rate rates loads of a window of that length. A balance is the mean over all
// pairs of the smaller share of the greater; 95 is as good as 100, as turns
// seldom divide a window evenly.
func Rate(loads []Load, window time.Duration) Quality {
	var covered time.Duration
	for _, l := range loads {
		covered += l.Total
	}
	q := Quality{
		Balance:  balance(loads, func(l Load) time.Duration { return l.Total }),
		Nights:   balance(loads, func(l Load) time.Duration { return l.Night }),
		Weekends: balance(loads, func(l Load) time.Duration { return l.Weekend }),
	}
	if window > 0 {
		q.Coverage = 100 * min(1, float64(covered)/float64(window))
	}
	q.Score = (q.Coverage + q.Balance) / 2
	return q
}

func balance(loads []Load, of func(Load) time.Duration) float64 {
	sum, pairs := 0.0, 0
	for i, a := range loads {
		for _, b := range loads[i+1:] {
			share := 1.0 // nobody has anything: that is even
			if most := max(of(a), of(b)); most > 0 {
				share = float64(min(of(a), of(b))) / float64(most)
			}
			sum, pairs = sum+share, pairs+1
		}
	}
	if pairs == 0 {
		return 100
	}
	if percent := 100 * sum / float64(pairs); percent < 95 {
		return percent
	}
	return 100
}
