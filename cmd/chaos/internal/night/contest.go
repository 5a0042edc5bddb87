package night

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/crowd"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/linear"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/world"
)

// A contest: so many clients do so many things to one incident at once.
const (
	clients     = 5
	callsOfEach = 6
	contestCall = 3 * time.Second
)

// Contests is what became of them.
type Contests struct {
	Calls   int
	Unknown int             // calls without an answer
	Broken  [][]linear.Call // histories without an order
}

// Contest lets clients race for one incident after another, through different
// instances, and asks of each whether it behaved as if the calls had come one
// after another. With kills, an instance dies in each of them.
func Contest(ctx context.Context, o Options, rounds int, kills bool) (*Contests, error) {
	o = o.withDefaults()
	n := &night{o: o, began: time.Now()}
	n.people = crowd.New(crowd.Options{Seed: o.Seed, Ledger: &n.book})
	defer n.people.Leave()
	n.people.Settle() // nobody acknowledges: the clients do
	var err error
	n.world, err = world.New(ctx, world.Options{
		Dir: o.Dir, Program: o.Program, Instances: o.Instances, Services: o.Services, Redis: o.Redis, Fsync: o.Fsync, Slow: true, Ledger: &n.book, NewPhone: n.people.NewPhone,
	})
	defer func() { _ = n.world.Close() }() // it is killed anyway
	if err != nil {
		return nil, err
	}
	n.people.Enter(n.world)
	result := &Contests{}
	for round := range rounds {
		if err := n.contest(ctx, round, kills, result); err != nil {
			return nil, err
		}
	}
	n.say("%d contests, kills %t: %d calls, %d without an answer, %d without an order",
		rounds, kills, result.Calls, result.Unknown, len(result.Broken))
	return result, nil
}

func (n *night) contest(ctx context.Context, round int, kills bool, result *Contests) error {
	service := round % len(n.world.Services)
	policy := linear.Policy{n.world.People[service*world.Levels].ID, n.world.People[service*world.Levels+1].ID}
	first := pb.NewIncidentServiceClient(n.world.Instances[0].Console)
	in, err := first.CreateIncident(ctx, &pb.CreateIncidentRequest{Incident: &pb.Incident{
		Title: "contest", Service: "services/" + n.world.Services[service].ID, Urgency: pb.Incident_URGENCY_HIGH,
	}})
	if err != nil {
		return fmt.Errorf("begin contest %d: %w", round, err)
	}
	var mu sync.Mutex
	var history []linear.Call
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(n.o.Seed, uint64(round*clients+client))) //nolint:gosec // to be repeatable is what it is for
			for range callsOfEach {
				to := n.world.Instances[rng.IntN(len(n.world.Instances))]
				c, ok := contend(ctx, pb.NewIncidentServiceClient(to.Console), rng, in.GetName(), policy)
				c.Client = client
				if ok {
					mu.Lock()
					history = append(history, c)
					mu.Unlock()
				}
			}
		})
	}
	if kills {
		victim := n.world.Instances[1+round%(len(n.world.Instances)-1)]
		victim.Kill()
		if err := victim.Start(ctx, 0); err != nil {
			return err
		}
	}
	all.Wait()
	if err := n.world.Ready(ctx); err != nil {
		return err
	}
	result.tell(policy, history)
	return nil
}

// tell takes in one contest.
func (r *Contests) tell(policy linear.Policy, history []linear.Call) {
	r.Calls += len(history)
	for _, c := range history {
		if c.Unknown {
			r.Unknown++
		}
	}
	if !linear.Check(policy, history) {
		slices.SortFunc(history, func(a, b linear.Call) int { return a.Began.Compare(b.Began) })
		r.Broken = append(r.Broken, history)
	}
}

// contend makes one call, drawn at random. false: it was refused because the
// incident kept changing, and had no effect.
func contend(ctx context.Context, api pb.IncidentServiceClient, rng *rand.Rand, name string, policy linear.Policy) (linear.Call, bool) {
	ctx, cancel := context.WithTimeout(ctx, contestCall)
	defer cancel()
	var in *pb.Incident
	var err error
	c := linear.Call{Verb: linear.Read}
	which, who := rng.IntN(16), []string{"boss", policy[0], policy[1]}[rng.IntN(3)]
	c.Began = time.Now()
	switch {
	case which < 4:
		c.Verb = linear.Acknowledge
		in, err = api.AcknowledgeIncident(ctx, &pb.AcknowledgeIncidentRequest{Name: name})
	case which < 7:
		c.Verb = linear.Escalate
		in, err = api.EscalateIncident(ctx, &pb.EscalateIncidentRequest{Name: name, Wrap: true})
	case which < 9:
		c.Verb = linear.Snooze
		in, err = api.SnoozeIncident(ctx, &pb.SnoozeIncidentRequest{Name: name, Duration: durationpb.New(time.Hour)})
	case which < 11:
		c.Verb, c.Who = linear.Reassign, who
		in, err = api.ReassignIncident(ctx, &pb.ReassignIncidentRequest{Name: name, Users: []string{"users/" + who}})
	case which == 11:
		c.Verb = linear.Note
		_, err = api.AddIncidentNote(ctx, &pb.AddIncidentNoteRequest{Name: name, Text: "note"})
	case which == 12 && rng.IntN(3) == 0: // it ends the contest, nearly
		c.Verb = linear.Resolve
		in, err = api.ResolveIncident(ctx, &pb.ResolveIncidentRequest{Name: name})
	default:
		in, err = api.GetIncident(ctx, &pb.GetIncidentRequest{Name: name})
	}
	c.Ended = time.Now()
	switch status.Code(err) {
	case codes.OK:
		c.Saw = seen(in)
	case codes.FailedPrecondition:
		c.Refused = true
	case codes.Aborted:
		return c, false
	default:
		c.Unknown = true
	}
	return c, true
}

func seen(in *pb.Incident) linear.State {
	s := linear.State{Level: int(in.GetEscalation().GetLevel())}
	s.Status = strings.ToLower(strings.TrimPrefix(in.GetState().String(), "STATE_"))
	var names []string
	for _, a := range in.GetAssignees() {
		names = append(names, strings.TrimPrefix(a.GetUser(), "users/"))
	}
	s.Assignees = linear.Names(names)
	return s
}
