package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// factsKept is how long facts outlive their day, long after the incident itself.
const factsKept = 400 * 24 * time.Hour

// Facts is what analytics read of one closed incident.
type Facts struct {
	Incident    incident.ID
	Number      int64
	Service     catalog.ServiceID
	Team        roster.TeamID // owner when it was triggered
	Policy      escalation.Ref
	Urgency     incident.Urgency
	Priority    incident.Priority
	Severity    event.Severity
	Created     time.Time
	FirstAck    time.Time
	Resolved    time.Time
	Cause       incident.Cause
	Reopens     int
	Alerts      int
	Escalations int
	AckedBy     roster.UserID // the first
	Paged       []Paged
	Opened      []incident.Interval
}

// Paged is how often one person was paged about an incident, and when.
type Paged struct {
	User roster.UserID
	Zone string // IANA, of the person when it was archived
	At   []time.Time
}

// factsOf reads the facts out of a closed incident.
func factsOf(r Record, zone func(roster.UserID) string) Facts {
	in := r.Incident
	f := Facts{
		Incident: in.ID, Number: in.Number, Service: in.Service, Team: in.Team, Policy: in.Policy, Urgency: in.Urgency,
		Priority: in.Priority, Severity: in.Severity, Created: in.Created, FirstAck: in.FirstAck, Resolved: in.ResolvedAt,
		Cause: in.Cause, Reopens: in.Reopens, Alerts: in.AlertsTotal, Opened: in.Opened,
	}
	index := map[roster.UserID]int{}
	for _, e := range r.Timeline {
		switch e.Type { //nolint:exhaustive // the others are no facts
		case incident.EntryEscalated:
			f.Escalations++
		case incident.EntryAcknowledged:
			if u, ok := e.Actor.User(); ok && f.AckedBy == "" {
				f.AckedBy = u
			}
		case incident.EntryNotified:
			for _, u := range e.Users {
				i, ok := index[u]
				if !ok {
					i = len(f.Paged)
					index[u] = i
					p := Paged{User: u}
					if zone != nil {
						p.Zone = zone(u)
					}
					f.Paged = append(f.Paged, p)
				}
				f.Paged[i].At = append(f.Paged[i].At, e.At)
			}
		}
	}
	return f
}

func (f Facts) proto() *storepb.Facts {
	return &storepb.Facts{
		Number: f.Number, Service: string(f.Service), Team: string(f.Team), Policy: string(f.Policy.ID),
		PolicyVersion: f.Policy.Version, Urgency: uint32(f.Urgency), Priority: uint32(f.Priority), Severity: uint32(f.Severity),
		Created: ms(f.Created), FirstAck: ms(f.FirstAck), Resolved: ms(f.Resolved), Cause: uint32(f.Cause),
		Reopens: int32(f.Reopens), Alerts: int32(f.Alerts), Escalations: int32(f.Escalations), AckedBy: string(f.AckedBy),
		Paged: each(f.Paged, func(p Paged) *storepb.Paged {
			return &storepb.Paged{User: string(p.User), Zone: p.Zone, At: each(p.At, func(t time.Time) int32 {
				return int32(t.Sub(f.Created) / time.Second)
			})}
		}),
		Opened: each(f.Opened, intervalToProto),
	}
}

func factsFromProto(id incident.ID, m *storepb.Facts) Facts {
	created := at(m.GetCreated())
	return Facts{
		Incident: id, Number: m.GetNumber(), Service: catalog.ServiceID(m.GetService()), Team: roster.TeamID(m.GetTeam()),
		Policy:  escalation.Ref{ID: escalation.PolicyID(m.GetPolicy()), Version: m.GetPolicyVersion()},
		Urgency: incident.Urgency(m.GetUrgency()), Priority: incident.Priority(m.GetPriority()),
		Severity: event.Severity(m.GetSeverity()), Created: created, FirstAck: at(m.GetFirstAck()),
		Resolved: at(m.GetResolved()), Cause: incident.Cause(m.GetCause()), Reopens: int(m.GetReopens()),
		Alerts: int(m.GetAlerts()), Escalations: int(m.GetEscalations()), AckedBy: roster.UserID(m.GetAckedBy()),
		Paged: each(m.GetPaged(), func(p *storepb.Paged) Paged {
			return Paged{User: roster.UserID(p.GetUser()), Zone: p.GetZone(), At: each(p.GetAt(), func(s int32) time.Time {
				return created.Add(time.Duration(s) * time.Second)
			})}
		}),
		Opened: each(m.GetOpened(), intervalFromProto),
	}
}

// Facts returns the rows of the incidents created on a day (UTC) in one
// partition. Rows are kept for 400 days and appear when an incident is archived.
func (s *Store) Facts(ctx context.Context, p Partition, day time.Time) ([]Facts, error) {
	rows, err := s.rdb.HGetAll(ctx, factsKey(p, factsDay(day))).Result()
	if err != nil {
		return nil, failed(err, "read the facts of %s", factsDay(day))
	}
	facts := make([]Facts, 0, len(rows))
	for id, raw := range rows {
		var m storepb.Facts
		if err := readRecord(raw, &m); err != nil {
			return nil, fmt.Errorf("read the facts of incident %s: %w", id, err)
		}
		facts = append(facts, factsFromProto(incident.ID(id), &m))
	}
	return facts, nil
}
