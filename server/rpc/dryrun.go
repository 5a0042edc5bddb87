package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/ingest"
	"github.com/tocsin-oncall/tocsin/server/rehearsal"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func (s *onCall) DryRunEvent(ctx context.Context, req *pb.DryRunEventRequest) (*pb.DryRun, error) {
	return s.dryRun(ctx, s.c.Directory.Snapshot(), req)
}

func (s *configuration) DryRunConfiguration(ctx context.Context, req *pb.DryRunConfigurationRequest) (*pb.DryRun, error) {
	a, err := s.apply(ctx, filesOnly{req}, directory.ApplyOptions{DryRun: true, Force: true, Owner: req.GetOwner(), Prune: req.GetPrune(), Take: req.GetTakeOver()})
	if err != nil {
		return nil, err
	}
	m, err := s.dryRun(ctx, a.After, req.GetDryRun())
	if err != nil {
		return nil, inField("dry_run", err)
	}
	return m, nil
}

// filesOnly is a request that brings YAML as files.
type filesOnly struct{ *pb.DryRunConfigurationRequest }

// GetYaml implements document.
func (filesOnly) GetYaml() string { return "" }

// dryRun lets the event come in on a configuration.
func (s *Server) dryRun(ctx context.Context, snap *directory.Snapshot, req *pb.DryRunEventRequest) (*pb.DryRun, error) {
	q := rehearsal.Question{At: instant(req.GetTime()), Deaf: req.GetPhonesSilent(), Turn: s.turn}
	if q.At.IsZero() {
		q.At = s.c.Now()
	}
	q.At = q.At.UTC().Truncate(time.Millisecond)
	var err error
	if q.Integration, err = route(snap, req); err != nil {
		return nil, err
	}
	if q.Event, err = s.said(q, req.GetEvent()); err != nil {
		return nil, err
	}
	answer, err := rehearsal.Play(ctx, snap, q)
	if err != nil {
		return nil, err
	}
	return shaper{names: snap}.dryRun(snap, q, answer), nil
}

// turn looks whose turn it is at a round-robin level now.
func (s *Server) turn(ctx context.Context, at rehearsal.Level, members []roster.UserID) (roster.UserID, error) {
	return s.c.Store.NextTurn(ctx, at.Policy, at.Number, members)
}

// route returns the integration that the event comes in by.
func route(snap *directory.Snapshot, req *pb.DryRunEventRequest) (catalog.Integration, error) {
	switch {
	case req.GetIntegration() != "" && req.GetService() != "":
		return catalog.Integration{}, fault.InvalidField("service", "give either integration or service")
	case req.GetIntegration() != "":
		in, ok := snap.GetIntegration(catalog.IntegrationID(last(req.GetIntegration())))
		if !ok {
			return catalog.Integration{}, missing("integration", req.GetIntegration())
		}
		return in.Integration, nil
	case req.GetService() != "":
		return onlyIntegration(snap, req.GetService())
	}
	key, _ := ingest.EventsV2([]byte(req.GetEvent()))
	if key == "" {
		return catalog.Integration{}, fault.InvalidField("event", "names no integration by a routing_key: give integration or service")
	}
	in, ok := snap.IntegrationByHash(auth.HashSecret(key))
	if !ok {
		return catalog.Integration{}, fault.InvalidField("event", "its routing_key is that of no integration: give integration or service")
	}
	return in, nil
}

func onlyIntegration(snap *directory.Snapshot, name string) (catalog.Integration, error) {
	id := serviceID(name)
	if _, ok := snap.GetService(id); !ok {
		return catalog.Integration{}, missing("service", name)
	}
	switch all := snap.IntegrationsOf(id); len(all) {
	case 0:
		return catalog.Integration{}, fault.InvalidField("service", "%s has no integration that an event could come in by", name)
	case 1:
		return all[0].Integration, nil
	default:
		names := each(all, func(in *directory.Integration) string { return integrationName(in.ID) })
		return catalog.Integration{}, fault.InvalidField("integration", "%s has several: give one of %s", name, strings.Join(names, ", "))
	}
}

// said returns the one event of a body, as the door for it reads it.
func (s *Server) said(q rehearsal.Question, body string) (event.Event, error) {
	name := q.Integration.Source
	if _, v2 := ingest.EventsV2([]byte(body)); v2 || name == "" {
		name = "pagerduty"
	}
	source, ok := ingest.Lookup(name)
	if !ok {
		return event.Event{}, fault.InvalidField("integration", "has the source %q, which has no form of its own", name)
	}
	o, err := ingest.ParseOptions(q.Integration.Options)
	if err != nil { // checked when it was configured
		o = ingest.Options{}
	}
	result, err := source.Map(ingest.Request{
		Body: []byte(body), Options: o, Now: q.At, ID: newID(), Integration: string(q.Integration.ID), NewKey: newID(),
	})
	switch {
	case err != nil:
		return event.Event{}, fault.InvalidField("event", "read as %s: %s", name, err)
	case len(result.Events) != 1:
		return event.Event{}, fault.InvalidField("event", "it says %d events, and a dry run is of one: leave one in", len(result.Events))
	}
	return result.Events[0], nil
}

// The values of a dry run, as the API has them.
//
//nolint:gochecknoglobals // look-up tables
var (
	dryRunEnds = map[rehearsal.End]pb.DryRun_End{
		rehearsal.Dropped: pb.DryRun_END_DROPPED, rehearsal.Quiet: pb.DryRun_END_QUIET, rehearsal.Resolved: pb.DryRun_END_RESOLVED,
		rehearsal.Repeating: pb.DryRun_END_REPEATING, rehearsal.Unfinished: pb.DryRun_END_UNFINISHED,
	}
	dryRunKinds = map[rehearsal.MessageKind]pb.DryRun_Message_Kind{
		rehearsal.Page: pb.DryRun_Message_KIND_PAGE, rehearsal.Card: pb.DryRun_Message_KIND_CARD,
		rehearsal.Notice: pb.DryRun_Message_KIND_NOTICE, rehearsal.Clear: pb.DryRun_Message_KIND_CLEAR,
	}
)

func (s shaper) dryRun(snap *directory.Snapshot, q rehearsal.Question, a rehearsal.Answer) *pb.DryRun {
	m := &pb.DryRun{
		Time: stamp(q.At), Integration: integrationName(q.Integration.ID), Service: serviceName(q.Integration.Service),
		Timeline: each(a.Timeline, s.entry), Messages: each(a.Messages, s.message), End: dryRunEnds[a.End], EndTime: stamp(a.EndAt),
		Reason: dropWords[a.Reason],
	}
	if a.Opened == nil {
		return m
	}
	m.Incident = s.incident(a.Opened)
	m.Incident.Name, m.Incident.Etag = "", ""
	m.Remarks = remarks(snap, q, a)
	return m
}

func (s shaper) message(m rehearsal.Message) *pb.DryRun_Message {
	of := s.delivery("", incident.Delivery{User: m.User, Device: m.Device, Method: m.Method, Kind: m.By})
	return &pb.DryRun_Message{
		SendTime: stamp(m.At), Kind: dryRunKinds[m.Kind], User: of.GetUser(), DisplayName: of.GetDisplayName(), Level: int32(m.Level) + 1, //nolint:gosec // at most 20
		ContactMethod: of.GetContactMethod(), MethodKind: of.GetMethodKind(), Device: of.GetDevice(), AddressHint: of.GetAddressHint(),
		Sound: m.Sound, Loud: m.Loud, Follows: userName(m.Follows), Title: m.Title, Body: m.Body,
	}
}

// remarks are what a real night may do otherwise.
func remarks(snap *directory.Snapshot, q rehearsal.Question, a rehearsal.Answer) []string {
	var all []string
	if set := snap.GetSettings(); set.Held {
		all = append(all, "Paging is held at present: until it is resumed, nothing of this is sent.")
	}
	p, _ := snap.Policy(a.Opened.Policy)
	for i, l := range p.Levels {
		asked := slices.ContainsFunc(a.Timeline, func(e incident.Entry) bool {
			return e.Type == incident.EntryAssigned && e.Via == incident.ViaPolicy && e.Level == i
		})
		switch {
		case !asked:
		case l.Strategy == escalation.AnyOne:
			all = append(all, fmt.Sprintf("Level %d asks one of its people by lot: it may be another one.", i+1))
		case l.Strategy == escalation.RoundRobin:
			all = append(all, fmt.Sprintf("Level %d takes turns: it is told whose turn it is now; every incident before then moves it on.", i+1))
		}
	}
	if !q.Deaf && slices.ContainsFunc(a.Messages, func(m rehearsal.Message) bool { return m.Device != "" && m.Kind == rehearsal.Page }) {
		all = append(all, "Every phone confirms what it is sent: one that does not is tried by the next way before its time.")
	}
	return all
}
