package rpc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/readiness"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

var zeroTime time.Time //nolint:gochecknoglobals // the zero instant

func msTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// lateBy is how long something may wait before it is worth a sentence.
const lateBy = 10 * time.Second

// mostUnreachable is how many people are named who cannot be woken.
const mostUnreachable = 100

// statusWait bounds what the status asks of Redis: it answers while Redis is
// slow, with what is known.
const statusWait = 3 * time.Second

// GetStatus puts together what there is. What cannot be had is a problem, and
// the rest is told.
func (s *operator) GetStatus(ctx context.Context, req *pb.GetStatusRequest) (*pb.SystemStatus, error) {
	now := s.c.Now()
	m := &pb.SystemStatus{StatusTime: stamp(now), Readiness: pb.SystemStatus_READINESS_READY}
	ask, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	able := true
	if s.c.Problems != nil {
		m.Problems, able = s.c.Problems(ask)
	}
	snap := s.c.Directory.Snapshot()
	s.partitions(ask, m, req.GetVerbose(), now)
	s.instances(ask, m)
	s.incidents(ask, m)
	s.redis(ask, m)
	s.people(m, snap)
	s.doubtful(ask, m, snap)
	m.Hold = shaper{snap}.hold(snap.GetSettings())
	if m.GetHold().GetHeld() {
		m.Problems = append(m.Problems, "All paging is held; resume it with: tocsin resume")
	}
	s.overdue(ask, m, snap.Settings())
	if err := snap.Ready(); err != nil {
		able = false
		m.Problems = append(m.Problems, "The catch-all cannot be paged: "+err.Error())
	}
	if age, ok := s.c.Directory.Age(); !ok {
		m.Problems = append(m.Problems, "The configuration was read from disk and is not confirmed yet.")
	} else {
		m.ConfigurationAge = durationpb.New(age)
		if age > lateBy {
			m.Problems = append(m.Problems, fmt.Sprintf("The configuration has not been confirmed for %s.", age.Round(time.Second)))
		}
	}
	switch {
	case !able:
		m.Readiness = pb.SystemStatus_READINESS_NOT_READY
	case len(m.GetProblems()) > 0:
		m.Readiness = pb.SystemStatus_READINESS_DEGRADED
	}
	return m, nil
}

// overdue tells that incidents wait because they were due long ago.
func (s *operator) overdue(ctx context.Context, m *pb.SystemStatus, set catalog.Settings) {
	if set.OverdueBefore.IsZero() {
		return
	}
	count := "Incidents"
	if n, err := s.c.Store.Aside(ctx); err == nil {
		count = times(n, "incident")
	}
	m.Problems = append(m.Problems, fmt.Sprintf("%s that had been due before %s wait until somebody has looked (a restore, or a long outage): tocsin incidents list, then tocsin resume",
		count, set.OverdueBefore.UTC().Format("2006-01-02 15:04 MST")))
}

// partitions tells what waits where.
func (s *operator) partitions(ctx context.Context, m *pb.SystemStatus, verbose bool, now time.Time) {
	stats, err := s.c.Store.Stats(ctx)
	if err != nil {
		if fault.KindOf(err) != fault.Unavailable { // that is told once, below
			m.Problems = append(m.Problems, "Redis does not say what waits: "+plain(err))
		}
		return
	}
	since := func(t time.Time) time.Duration {
		if t.IsZero() || !t.Before(now) {
			return 0
		}
		return now.Sub(t)
	}
	var owners store.Membership
	if s.c.Members != nil {
		owners, _ = s.c.Members(ctx) // what is wrong is told with the instances
	}
	var inbox, timers, work time.Duration
	for _, p := range stats {
		row := &pb.SystemStatus_Partition{
			Partition: int32(p.Partition), InboxLength: int64(p.Inbox), WorkLength: int64(p.Work), DeadLetterCount: int64(p.Dead),
			InstanceId: owners.Leases[p.Partition].Owner,
			InboxAge:   span(since(p.Oldest)), TimerLag: span(since(p.Due)), WorkAge: span(since(p.OldestJob)),
		}
		inbox, timers, work = max(inbox, since(p.Oldest)), max(timers, since(p.Due)), max(work, since(p.OldestJob))
		m.InboxLength += row.GetInboxLength()
		m.DeadLetterCount += row.GetDeadLetterCount()
		m.OpenIncidentCount += int64(p.Open)
		unowned := len(owners.Members) > 0 && row.GetInstanceId() == ""
		if unowned {
			m.UnownedPartitionCount++
		}
		busy := p.Inbox > 0 || p.Work > 0 || p.Dead > 0 || unowned || since(p.Due) > time.Second
		if verbose || busy {
			m.Partitions = append(m.Partitions, row)
		}
	}
	m.InboxAge, m.TimerLag, m.UnsentAge = span(inbox), span(timers), span(work)
	say := func(wrong bool, format string, args ...any) {
		if wrong {
			m.Problems = append(m.Problems, fmt.Sprintf(format, args...))
		}
	}
	say(inbox > lateBy, "An accepted event has waited for %s to be decided.", inbox.Round(time.Second))
	say(timers > lateBy, "A timer is %s overdue.", timers.Round(time.Second))
	say(work > lateBy, "A page or message has waited for %s to be sent.", work.Round(time.Second))
	say(m.GetDeadLetterCount() > 0, "%d pieces of work were given up; see: tocsin dlq list", m.GetDeadLetterCount())
	say(m.GetUnownedPartitionCount() > 0, "Nobody owns %d partitions.", m.GetUnownedPartitionCount())
}

// instances tells who lives.
func (s *operator) instances(ctx context.Context, m *pb.SystemStatus) {
	if s.c.Members == nil {
		return
	}
	members, err := s.c.Members(ctx)
	if err != nil {
		if fault.KindOf(err) != fault.Unavailable {
			m.Problems = append(m.Problems, "It is not known who owns what: "+plain(err))
		}
		return
	}
	owned := map[string]int32{}
	for _, l := range members.Leases {
		owned[l.Owner]++
	}
	for _, i := range members.Members {
		m.Instances = append(m.Instances, &pb.SystemStatus_Instance{
			InstanceId: i.Instance, Host: i.Name, Version: i.Version, StartTime: stamp(i.Started), HeartbeatTime: stamp(i.Seen),
			PartitionCount: owned[i.Instance], Schema: int32(i.Schema), //nolint:gosec // a version
		})
	}
	m.Schema = &pb.SystemStatus_Schema{
		Written: int32(members.Schema.Written), Version: members.Schema.By, //nolint:gosec // two digits
		Next: int32(members.Schema.To), RiseTime: stamp(members.Schema.At), //nolint:gosec // two digits
	}
	readers := members.Readers()
	for _, i := range members.Members {
		if !slices.Contains(readers, i.Instance) {
			m.Problems = append(m.Problems, fmt.Sprintf("The instance on %s (%s) is too old for what is stored, and owns no partition: run %s or later there.",
				i.Name, i.Version, members.Schema.By))
		}
	}
}

// incidents counts those that nobody has taken, as far as a few pages reach.
func (s *operator) incidents(ctx context.Context, m *pb.SystemStatus) {
	q := store.Query{Statuses: []incident.Status{incident.Triggered}, PageSize: mostPage}
	next := ""
	for range mostReads {
		page, err := s.c.Store.List(ctx, q, next)
		if err != nil {
			return // Redis is out, which is said above
		}
		m.TriggeredIncidentCount += int64(len(page.Incidents))
		if next = page.Next; next == "" {
			return
		}
	}
	m.Problems = append(m.Problems, fmt.Sprintf("More than %d incidents are triggered.", m.GetTriggeredIncidentCount()))
}

// redis tells what Redis is and what is wrong with its settings.
func (s *operator) redis(ctx context.Context, m *pb.SystemStatus) {
	info, err := s.c.Store.Info(ctx)
	if err != nil {
		m.Problems = append(m.Problems, "Redis does not answer: events are refused and nobody is paged until it does. Look at its log, its memory and its disk.")
		return
	}
	if m.RedisVersion = info["redis_version"]; info["valkey_version"] != "" {
		m.RedisVersion = "Valkey " + info["valkey_version"]
	}
	if full, err := s.c.Store.Full(ctx); err == nil && full {
		m.Problems = append(m.Problems, "Redis is full: events are refused until maxmemory is raised or something is removed. Acknowledgements, timers and pages go on.")
	}
	if v := info["config:maxmemory-policy"]; v != "" && v != "noeviction" {
		m.RedisWarnings = append(m.RedisWarnings, "maxmemory-policy is "+v+": Redis may throw incidents away; set noeviction.")
	}
	if v := info["config:appendonly"]; v == "no" {
		m.RedisWarnings = append(m.RedisWarnings, "appendonly is off: a restart of Redis loses what is open; set appendonly yes.")
	} else if f := info["config:appendfsync"]; v == "yes" && f != "" && f != "always" {
		m.RedisWarnings = append(m.RedisWarnings, "appendfsync is "+f+": a loss of power may lose the last second.")
	}
}

// people names those who are counted on and cannot be woken.
func (s *operator) people(m *pb.SystemStatus, snap *directory.Snapshot) {
	list := snap.Unreachable()
	if len(list) > 0 {
		m.Problems = append(m.Problems, fmt.Sprintf("%d people who are counted on cannot be woken.", len(list)))
	}
	for _, u := range list[:min(len(list), mostUnreachable)] {
		m.Unreachable = append(m.Unreachable, unreachable(snap, u.User, u.By, u.Why))
	}
}

func unreachable(snap *directory.Snapshot, u roster.UserID, by []directory.Key, why string) *pb.SystemStatus_Unreachable {
	row := &pb.SystemStatus_Unreachable{User: userName(u), DisplayName: shaper{names: snap}.display(u), Reason: why}
	for _, k := range by {
		if k.Kind == directory.KindPolicy {
			row.EscalationPolicies = append(row.EscalationPolicies, k.String())
		}
	}
	return row
}

// doubtful names those who are counted on and can be paged, and of whom nothing
// says that they would wake up.
func (s *operator) doubtful(ctx context.Context, m *pb.SystemStatus, snap *directory.Snapshot) {
	out := map[roster.UserID]bool{}
	for _, u := range snap.Unreachable() {
		out[u.User] = true
	}
	people := slices.DeleteFunc(snap.Counted(), func(u roster.UserID) bool { return out[u] })
	answers, err := s.ready(ctx, snap, people...)
	if err != nil {
		return // Redis is out, which is said below
	}
	for i, a := range answers {
		if a.Verdict == readiness.Ready || len(m.GetDoubtful()) == mostUnreachable {
			continue
		}
		why := a.Reasons[0]
		if d, ok := snap.GetDevice(why.Device); ok {
			why.Text = d.Name + ": " + why.Text
		}
		m.Doubtful = append(m.Doubtful, unreachable(snap, people[i], snap.CountedOn(people[i]), why.Text))
	}
}

// plain is what an operator may read of an error: these are people who have
// the log as well.
func plain(err error) string { return err.Error() }
