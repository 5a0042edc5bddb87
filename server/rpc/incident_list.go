package rpc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	usualPage, mostPage = 50, 200
	longPage, mostLong  = 100, 500

	// mostReads is how many pages of the store one page is gathered from.
	mostReads = 8
	// mostOldest is how many incidents a list in order of age may have.
	mostOldest = 5000
)

// filter is what a list is about. Empty lists match all.
type filter struct {
	statuses   []incident.Status
	services   []catalog.ServiceID
	teams      []roster.TeamID
	people     []roster.UserID
	urgency    incident.Urgency
	priorities []incident.Priority
	from, to   time.Time
}

// newFilter reads the filters of a request.
func newFilter(c *call, req *pb.ListIncidentsRequest) (filter, error) {
	f := filter{
		services:   each(req.GetServices(), serviceID),
		teams:      each(req.GetTeams(), func(n string) roster.TeamID { return roster.TeamID(last(n)) }),
		urgency:    urgencyOf(req.GetUrgency()),
		priorities: each(req.GetPriorities(), priorityOf),
		from:       instant(req.GetMinCreateTime()), to: instant(req.GetMaxCreateTime()),
	}
	var err error
	if f.people, err = c.users("assignees", req.GetAssignees()); err != nil {
		return f, err
	}
	wanted := statusesOf(req.GetStates())
	scope := req.GetScope()
	if scope == pb.ListIncidentsRequest_SCOPE_UNSPECIFIED {
		if scope = pb.ListIncidentsRequest_SCOPE_OPEN; len(wanted) > 0 {
			scope = pb.ListIncidentsRequest_SCOPE_ALL
		}
	}
	for _, st := range []incident.Status{incident.Triggered, incident.Acknowledged, incident.Resolved} {
		open := st != incident.Resolved
		inScope := scope == pb.ListIncidentsRequest_SCOPE_ALL || open == (scope == pb.ListIncidentsRequest_SCOPE_OPEN)
		if inScope && (len(wanted) == 0 || slices.Contains(wanted, st)) {
			f.statuses = append(f.statuses, st)
		}
	}
	return f, nil
}

// nothing reports whether the filter contradicts itself.
func (f filter) nothing() bool {
	return len(f.statuses) == 0 || (!f.from.IsZero() && !f.to.IsZero() && !f.from.Before(f.to))
}

// query is what the store can answer of the filter.
func (f filter) query() store.Query {
	q := store.Query{Statuses: f.statuses, Urgency: f.urgency}
	if len(f.services) == 1 {
		q.Service = f.services[0]
	}
	if len(f.teams) == 1 {
		q.Team = f.teams[0]
	}
	// The index knows whose turn it is, of open incidents alone.
	if len(f.people) == 1 && !slices.Contains(f.statuses, incident.Resolved) {
		q.Assignee = f.people[0]
	}
	return q
}

func (f filter) matches(in *incident.Incident) bool {
	return slices.Contains(f.statuses, in.Status) &&
		(len(f.services) == 0 || slices.Contains(f.services, in.Service)) &&
		(len(f.teams) == 0 || slices.Contains(f.teams, in.Team)) &&
		(len(f.people) == 0 || concerns(in, f.people)) &&
		(f.urgency == 0 || f.urgency == in.Urgency) &&
		(len(f.priorities) == 0 || slices.Contains(f.priorities, in.Priority)) &&
		(f.from.IsZero() || !in.Created.Before(f.from)) && (f.to.IsZero() || in.Created.Before(f.to))
}

// concerns reports whether it is one of the people's turn, or one of them has taken it.
func concerns(in *incident.Incident, people []roster.UserID) bool {
	return slices.ContainsFunc(people, func(u roster.UserID) bool { return in.Assigned(u) != nil || in.AckedBy(u) })
}

func (s *incidents) ListIncidents(ctx context.Context, req *pb.ListIncidentsRequest) (*pb.ListIncidentsResponse, error) {
	f, err := newFilter(callOf(ctx), req)
	if err != nil {
		return nil, err
	}
	at, err := place(req)
	if err != nil {
		return nil, err
	}
	answer := &pb.ListIncidentsResponse{}
	if at == "" { // read before the list: what changes meanwhile is in both
		tail, err := s.c.Store.FeedTail(ctx)
		if err != nil {
			return nil, err
		}
		answer.WatchCursor = tail.String()
	}
	if f.nothing() {
		return answer, nil
	}
	list := s.newest
	if req.GetOrderBy() == "create_time" {
		list = s.oldest
	}
	found, next, err := list(ctx, f, at, pageSize(req, usualPage, mostPage))
	if err != nil {
		return nil, err
	}
	sh := s.shape()
	answer.Incidents, answer.NextPageToken = each(found, sh.incident), token(req, next)
	return answer, nil
}

// newest gathers a page from pages of the store, whose token is the place.
func (s *incidents) newest(ctx context.Context, f filter, at string, n int) ([]*incident.Incident, string, error) {
	var found []*incident.Incident
	q := f.query()
	for range mostReads {
		q.PageSize = n - len(found)
		page, err := s.c.Store.List(ctx, q, at)
		if err != nil {
			return nil, "", err
		}
		for _, in := range page.Incidents {
			if f.matches(in) {
				found = append(found, in)
			}
		}
		if at = page.Next; at == "" || len(found) >= n {
			break
		}
	}
	return found, at, nil
}

// oldest reads all that matches and turns it round: there is no index in that
// order. The place is the creation and id of the last.
func (s *incidents) oldest(ctx context.Context, f filter, at string, n int) ([]*incident.Incident, string, error) {
	var all []*incident.Incident
	for next := ""; ; {
		q := f.query()
		q.PageSize = mostPage
		page, err := s.c.Store.List(ctx, q, next)
		if err != nil {
			return nil, "", err
		}
		for _, in := range page.Incidents {
			if f.matches(in) && (at == "" || ageKey(in) > at) {
				all = append(all, in)
			}
		}
		if next = page.Next; next == "" {
			break
		}
		if len(all) > mostOldest {
			return nil, "", fault.InvalidField("order_by", "more than %d incidents match; name fewer by a filter, or list the newest first", mostOldest)
		}
	}
	slices.SortFunc(all, func(a, b *incident.Incident) int { return strings.Compare(ageKey(a), ageKey(b)) })
	all = slices.CompactFunc(all, func(a, b *incident.Incident) bool { return a.ID == b.ID })
	if len(all) > n {
		return all[:n], ageKey(all[n-1]), nil
	}
	return all, "", nil
}

// ageKey sorts incidents by (create time, id).
func ageKey(in *incident.Incident) string {
	return fmt.Sprintf("%013d %s", in.Created.UnixMilli(), in.ID)
}

func (s *incidents) ListAlerts(ctx context.Context, req *pb.ListAlertsRequest) (*pb.ListAlertsResponse, error) {
	id, err := s.parent(ctx, req.GetParent())
	if err != nil {
		return nil, err
	}
	alerts, err := s.c.Store.Alerts(ctx, id)
	if err != nil {
		return nil, err
	}
	if req.GetOpenOnly() {
		alerts = slices.DeleteFunc(alerts, func(a incident.Alert) bool { return !a.Open })
	}
	newestFirst(alerts)
	page, next, err := slicePage(req, longPage, mostLong, alerts, func(a incident.Alert) string {
		return fmt.Sprintf("%013d %s %s", 9_999_999_999_999-a.First.UnixMilli(), a.Service, a.Key)
	})
	if err != nil {
		return nil, err
	}
	sh := s.shape()
	return &pb.ListAlertsResponse{
		Alerts: each(page, func(a incident.Alert) *pb.Alert { return sh.alert(id, a) }), NextPageToken: next,
	}, nil
}

// parent returns the incident that a list is of, which has to be there.
func (s *incidents) parent(ctx context.Context, name string) (incident.ID, error) {
	id := incident.ID(last(name))
	if _, err := s.c.Store.Incident(ctx, id); err != nil {
		return "", err
	}
	return id, nil
}

func (s *incidents) ListTimeline(ctx context.Context, req *pb.ListTimelineRequest) (*pb.ListTimelineResponse, error) {
	id, err := s.parent(ctx, req.GetParent())
	if err != nil {
		return nil, err
	}
	at, err := place(req)
	if err != nil {
		return nil, err
	}
	from, n := int(req.GetAfterSeq())+1, pageSize(req, longPage, mostLong)
	if at != "" {
		if _, err := fmt.Sscanf(at, "%d", &from); err != nil {
			return nil, fault.InvalidField("page_token", "is not a token of this list; start again without one")
		}
	}
	entries, err := s.c.Store.Timeline(ctx, id, from, n+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(entries) > n {
		entries = entries[:n]
		next = fmt.Sprintf("%d", from+n)
	}
	return &pb.ListTimelineResponse{Entries: each(entries, s.shape().entry), NextPageToken: token(req, next)}, nil
}

func (s *incidents) ListDeliveries(ctx context.Context, req *pb.ListDeliveriesRequest) (*pb.ListDeliveriesResponse, error) {
	id, err := s.parent(ctx, req.GetParent())
	if err != nil {
		return nil, err
	}
	var of roster.UserID
	if req.GetUser() != "" {
		if of, err = callOf(ctx).user("user", req.GetUser()); err != nil {
			return nil, err
		}
	}
	all, err := s.deliveries(ctx, id, of)
	if err != nil {
		return nil, err
	}
	page, next, err := slicePage(req, longPage, mostLong, all, func(d incident.Delivery) string {
		return fmt.Sprintf("%013d %s", began(d).UnixMilli(), d.ID)
	})
	if err != nil {
		return nil, err
	}
	sh := s.shape()
	return &pb.ListDeliveriesResponse{
		Deliveries: each(page, func(d incident.Delivery) *pb.Delivery { return sh.delivery(id, d) }), NextPageToken: next,
	}, nil
}

// deliveries returns those of an incident, oldest first; of is empty for everybody's.
func (s *incidents) deliveries(ctx context.Context, id incident.ID, of roster.UserID) ([]incident.Delivery, error) {
	all, err := s.c.Store.Deliveries(ctx, store.IncidentDoc(id))
	if err != nil {
		return nil, err
	}
	if of != "" {
		all = slices.DeleteFunc(all, func(d incident.Delivery) bool { return d.User != of })
	}
	slices.SortFunc(all, func(a, b incident.Delivery) int {
		return cmp.Or(began(a).Compare(began(b)), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// began is when a delivery was decided, as far as that is known.
func began(d incident.Delivery) time.Time {
	if !d.Queued.IsZero() {
		return d.Queued
	}
	return d.Attempted
}
