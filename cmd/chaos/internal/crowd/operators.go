package crowd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/world"
)

// Operate has an operator act on open incidents until ctx ends.
func (c *Crowd) Operate(ctx context.Context) {
	rng := rand.New(rand.NewPCG(c.o.Seed, 3)) //nolint:gosec // to be repeatable is what it is for
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(200+rng.IntN(1200)) * time.Millisecond):
		}
		in := c.world.Instances[rng.IntN(len(c.world.Instances))]
		number, verb, again := rng.IntN(1<<20), rng.IntN(8), rng.IntN(3) == 0
		open, err := c.open(ctx, in.Console)
		if err != nil || len(open) == 0 {
			continue
		}
		c.act(ctx, in.Console, open[number%len(open)].GetName(), verb, again)
	}
}

func (c *Crowd) open(ctx context.Context, to *grpc.ClientConn) ([]*pb.Incident, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := pb.NewIncidentServiceClient(to).ListIncidents(ctx, &pb.ListIncidentsRequest{
		PageSize: 50, States: []pb.Incident_State{pb.Incident_STATE_TRIGGERED, pb.Incident_STATE_ACKNOWLEDGED},
	})
	return answer.GetIncidents(), err
}

// act does one thing, as often as it takes to be answered; now and then the
// same request once more, at another instance, to see that it is answered the same.
func (c *Crowd) act(ctx context.Context, to *grpc.ClientConn, incident string, verb int, again bool) {
	request := uuid.NewString()
	name, call := calls(incident, request, verb)
	a := ledger.Act{At: time.Now(), Incident: strings.TrimPrefix(incident, "incidents/"), Verb: name, Request: request}
	first, err := c.insist(ctx, to, call)
	if err != nil {
		a.Outcome = err.Error()
		if status.Code(err) != codes.Unavailable && status.Code(err) != codes.DeadlineExceeded && ctx.Err() == nil {
			a.Answered = time.Now()
		}
		c.o.Ledger.Act(a)
		return
	}
	a.Answered, a.Taken = time.Now(), true
	if in, ok := first.(*pb.Incident); ok {
		a.Outcome = in.GetState().String()
	}
	c.o.Ledger.Act(a)
	if !again {
		return
	}
	other := c.world.Instances[c.draw(len(c.world.Instances))].Console
	second, err := c.insist(ctx, other, call)
	if err != nil {
		return // the run ended, or the instance did not come back
	}
	a.Again, a.Same, a.Outcome = true, proto.Equal(first, second), fmt.Sprintf("%v, and then %v", first, second)
	c.o.Ledger.Act(a)
}

type call func(context.Context, pb.IncidentServiceClient) (proto.Message, error)

// insist calls until there is an answer that a retry does not change.
func (c *Crowd) insist(ctx context.Context, to *grpc.ClientConn, f call) (proto.Message, error) {
	for deadline := time.Now().Add(patience); ; {
		one, cancel := context.WithTimeout(ctx, callTimeout)
		m, err := f(one, pb.NewIncidentServiceClient(to))
		cancel()
		switch status.Code(err) {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.ResourceExhausted:
		default:
			return m, err
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return m, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func calls(incident, request string, verb int) (string, call) {
	switch verb {
	case 0, 1:
		return "resolve", func(ctx context.Context, s pb.IncidentServiceClient) (proto.Message, error) {
			return s.ResolveIncident(ctx, &pb.ResolveIncidentRequest{Name: incident, RequestId: request})
		}
	case 2:
		return "escalate", func(ctx context.Context, s pb.IncidentServiceClient) (proto.Message, error) {
			return s.EscalateIncident(ctx, &pb.EscalateIncidentRequest{Name: incident, RequestId: request, Wrap: true})
		}
	case 3:
		return "snooze", func(ctx context.Context, s pb.IncidentServiceClient) (proto.Message, error) {
			return s.SnoozeIncident(ctx, &pb.SnoozeIncidentRequest{Name: incident, RequestId: request, Duration: durationpb.New(5 * time.Second)})
		}
	case 4, 5:
		return "acknowledge", func(ctx context.Context, s pb.IncidentServiceClient) (proto.Message, error) {
			return s.AcknowledgeIncident(ctx, &pb.AcknowledgeIncidentRequest{Name: incident, RequestId: request})
		}
	}
	return "note", func(ctx context.Context, s pb.IncidentServiceClient) (proto.Message, error) {
		return s.AddIncidentNote(ctx, &pb.AddIncidentNoteRequest{Name: incident, RequestId: request, Text: "note " + request})
	}
}

// Configure changes the organisation through one instance, a service and its
// policy, and waits until all show the former.
func (c *Crowd) Configure(ctx context.Context, number int) {
	at := c.world.Instances[number%len(c.world.Instances)]
	service := number % len(c.world.Services)
	c.repoint(ctx, at, service)
	name, text := "services/"+c.world.Services[service].ID, fmt.Sprintf("changed %d", number)
	_, err := pb.NewCatalogServiceClient(at.Console).UpdateService(ctx, &pb.UpdateServiceRequest{
		Service: &pb.Service{Name: name, DisplayName: text}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
	})
	if err != nil {
		return // nothing was promised
	}
	set := time.Now()
	for _, in := range c.world.Instances {
		p := ledger.Probe{Set: set, By: fmt.Sprintf("instance %d", at.Number), Seen: fmt.Sprintf("instance %d", in.Number)}
		for time.Since(set) < patience && ctx.Err() == nil {
			one, cancel := context.WithTimeout(ctx, callTimeout)
			got, err := pb.NewCatalogServiceClient(in.Console).GetService(one, &pb.GetServiceRequest{Name: name})
			cancel()
			if err == nil && got.GetDisplayName() == text {
				p.SeenAt = time.Now()
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		if ctx.Err() == nil {
			c.o.Ledger.Probe(p)
		}
	}
}

// repoint gives a level of a policy to somebody else: incidents that are open
// keep the version that they began with.
func (c *Crowd) repoint(ctx context.Context, at *world.Instance, service int) {
	c.versions[service]++
	p := c.world.Policy(service, c.versions[service])
	update := &pb.EscalationPolicy{Name: "escalationPolicies/" + p.Service}
	for _, who := range p.Levels {
		update.Levels = append(update.Levels, &pb.EscalationLevel{
			Targets: []*pb.EscalationTarget{{Name: "users/" + who}}, Delay: durationpb.New(world.Level),
		})
	}
	p.Began = time.Now()
	_, err := pb.NewEscalationPolicyServiceClient(at.Console).UpdateEscalationPolicy(ctx, &pb.UpdateEscalationPolicyRequest{
		EscalationPolicy: update, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"levels"}},
	})
	if err == nil {
		p.Set = time.Now()
	}
	c.o.Ledger.Policy(p)
}
