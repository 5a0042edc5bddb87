package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type statusCmd struct {
	connection
	output
	Verbose bool `short:"v" help:"Every partition, the idle ones too."`
}

// Run prints the status. It fails when the installation pages nobody.
func (c *statusCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		st, err := api.NewOperatorServiceClient(conn).GetStatus(ctx, &api.GetStatusRequest{Verbose: c.Verbose})
		if err != nil {
			return err
		}
		if c.json() {
			err = s.printJSON(st)
		} else {
			err = s.status(st)
		}
		if err == nil && (st.GetReadiness() == api.SystemStatus_READINESS_NOT_READY || st.GetHold().GetHeld()) {
			return exited(exitError)
		}
		return err
	})
}

var readiness = map[api.SystemStatus_Readiness]string{ //nolint:gochecknoglobals // look-up table
	api.SystemStatus_READINESS_READY:     "READY: pages go out.",
	api.SystemStatus_READINESS_DEGRADED:  "DEGRADED: pages go out, and something is wrong.",
	api.SystemStatus_READINESS_NOT_READY: "NOT READY: this installation cannot page.",
}

func (s *session) status(st *api.SystemStatus) error {
	head := readiness[st.GetReadiness()]
	if head == "" {
		head = "NOT READY: the server says " + word(st.GetReadiness()) + "."
	}
	if h := st.GetHold(); h.GetHeld() {
		head = fmt.Sprintf("HELD: nobody is paged until tocsin resume. By %s since %s: %s", clean(h.GetHolder()), s.when(h.GetHoldTime()), h.GetReason())
	}
	fmt.Fprintln(s.out, clean(head))
	for _, p := range st.GetProblems() {
		fmt.Fprintf(s.out, "  ! %s\n", clean(p))
	}
	for _, w := range st.GetRedisWarnings() {
		fmt.Fprintf(s.out, "  ! Redis: %s\n", clean(w))
	}
	fmt.Fprintln(s.out)
	t := s.facts()
	if st.GetRedisVersion() != "" { // otherwise all of this is not known
		t.fact("open incidents", fmt.Sprintf("%d, %d of them triggered", st.GetOpenIncidentCount(), st.GetTriggeredIncidentCount()))
		t.fact("inbox", waiting(st.GetInboxLength(), "events", st.GetInboxAge()))
		t.fact("timers", late(st.GetTimerLag(), "on time", "the oldest is overdue by "))
		t.fact("pages", late(st.GetUnsentAge(), "none waits", "the oldest unsent one waits for "))
		t.fact("dead letters", strconv.FormatInt(st.GetDeadLetterCount(), 10)+hint(st.GetDeadLetterCount() > 0, ", see tocsin dlq list"))
		t.fact("unowned partitions", strconv.Itoa(int(st.GetUnownedPartitionCount())))
	}
	t.fact("configuration", late(st.GetConfigurationAge(), "confirmed just now", "confirmed for the last time before "))
	if st.GetSchema() != nil {
		t.fact("schema", s.schema(st))
	}
	t.fact("redis", clean(st.GetRedisVersion())+hint(st.GetRedisVersion() == "", "does not answer: what waits is not known"))
	if err := t.flush(); err != nil {
		return err
	}
	return errors.Join(s.instances(st), s.partitions(st), s.unreachable(st))
}

// schema says in which form everything is stored, and how long the way back to an
// older version is open.
func (s *session) schema(st *api.SystemStatus) string {
	sc, text := st.GetSchema(), strconv.Itoa(int(st.GetSchema().GetWritten()))
	if v := sc.GetVersion(); v != "" {
		text += ", needs version " + clean(v) + " or later"
	}
	if sc.GetNext() != 0 {
		return fmt.Sprintf("%s, rises to %d at %s; until then the version before can be started again", text, sc.GetNext(), s.when(sc.GetRiseTime()))
	}
	newest, oldest := sc.GetWritten(), ""
	for _, i := range st.GetInstances() {
		newest = max(newest, i.GetSchema())
	}
	for _, i := range st.GetInstances() {
		if i.GetSchema() < newest {
			oldest = i.GetVersion()
		}
	}
	if newest > sc.GetWritten() {
		return fmt.Sprintf("%s, rises to %d when version %s has gone", text, newest, clean(oldest))
	}
	return text
}

func waiting(n int64, what string, age *durationpb.Duration) string {
	if n == 0 {
		return "empty"
	}
	return fmt.Sprintf("%d %s, the oldest waits for %s", n, what, span(age.AsDuration()))
}

// late says nothing of delays below a second: they are the normal course.
func late(d *durationpb.Duration, fine, otherwise string) string {
	if d.AsDuration() < time.Second {
		return fine
	}
	return otherwise + span(d.AsDuration())
}

func hint(when bool, text string) string {
	if when {
		return text
	}
	return ""
}

func (s *session) instances(st *api.SystemStatus) error {
	if len(st.GetInstances()) == 0 {
		return nil
	}
	fmt.Fprintln(s.out)
	t := s.table("INSTANCE", "HOST", "VERSION", "UP", "HEARD", "OWNS", "CLOCK")
	for _, i := range st.GetInstances() {
		t.row(cut(i.GetInstanceId(), 12), i.GetHost(), i.GetVersion(), s.age(i.GetStartTime()), s.age(i.GetHeartbeatTime())+" ago",
			strconv.Itoa(int(i.GetPartitionCount())), i.GetClockOffset().AsDuration().Round(time.Millisecond).String())
	}
	return t.flush()
}

func (s *session) partitions(st *api.SystemStatus) error {
	if len(st.GetPartitions()) == 0 {
		return nil
	}
	fmt.Fprintln(s.out)
	t := s.table("PARTITION", "OWNER", "INBOX", "WAITS", "TIMER LAG", "WORK", "WAITS", "DEAD")
	for _, p := range st.GetPartitions() {
		owner := cut(p.GetInstanceId(), 12)
		if owner == "" {
			owner = "nobody"
		}
		t.row(strconv.Itoa(int(p.GetPartition())), owner, strconv.FormatInt(p.GetInboxLength(), 10), span(p.GetInboxAge().AsDuration()),
			span(p.GetTimerLag().AsDuration()), strconv.FormatInt(p.GetWorkLength(), 10), span(p.GetWorkAge().AsDuration()),
			strconv.FormatInt(p.GetDeadLetterCount(), 10))
	}
	return t.flush()
}

func (s *session) unreachable(st *api.SystemStatus) error {
	for _, list := range []struct {
		title  string
		people []*api.SystemStatus_Unreachable
	}{{"Cannot be woken", st.GetUnreachable()}, {"May not be woken", st.GetDoubtful()}} {
		if len(list.people) == 0 {
			continue
		}
		fmt.Fprintln(s.out, "\n"+list.title)
		t := s.listing()
		for _, u := range list.people {
			t.row(display(u.GetDisplayName(), u.GetUser()), ids(u.GetEscalationPolicies()), u.GetReason())
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return nil
}

type dlqCmd struct {
	List  dlqListCmd  `cmd:"" help:"List work that was given up, oldest first."`
	Retry dlqRetryCmd `cmd:"" help:"Put it back; each is checked anew."`
}

type dlqListCmd struct {
	connection
	output
}

// Run lists dead letters.
func (c *dlqListCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		client, all := api.NewOperatorServiceClient(conn), &api.ListDeadLettersResponse{}
		r := &api.ListDeadLettersRequest{PageSize: 200}
		for {
			page, err := client.ListDeadLetters(ctx, r)
			if err != nil {
				return err
			}
			all.DeadLetters = append(all.DeadLetters, page.GetDeadLetters()...)
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetDeadLetters()) == 0 {
			fmt.Fprintln(s.out, "No dead letters.")
			return nil
		}
		t := s.table("ID", "GIVEN UP", "TRIES", "FOR", "WHAT", "WHY")
		for _, d := range all.GetDeadLetters() {
			t.row(id(d.GetName()), s.age(d.GetDeadTime())+" ago", strconv.Itoa(int(d.GetAttempts())), id(d.GetUser()),
				cut(clean(d.GetSummary()), 60), cut(clean(d.GetReason()), 60))
		}
		return t.flush()
	})
}

type dlqRetryCmd struct {
	connection
	output
	ID  []string `arg:"" optional:"" name:"id" help:"Ids, as dlq list shows them."`
	All bool     `help:"All that there are now."`
}

// Run puts dead letters back.
func (c *dlqRetryCmd) Run(ctx context.Context, s *session, g *grammar) error {
	if c.All == (len(c.ID) > 0) {
		return usageError{errors.New("name ids, or give --all; not both")}
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := api.NewOperatorServiceClient(conn).RetryDeadLetters(ctx, &api.RetryDeadLettersRequest{
			Names: named("deadLetters/", c.ID), All: c.All, RequestId: uuid.NewString(),
		})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(r)
		}
		_, err = fmt.Fprintf(s.out, "%d put back.\n", r.GetRetriedCount())
		return err
	})
}

type holdCmd struct {
	connection
	Reason string `arg:"" help:"Why, for everybody to read."`
}

// Run holds all paging.
func (c *holdCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		h, err := api.NewOperatorServiceClient(conn).HoldPaging(ctx, &api.HoldPagingRequest{Reason: c.Reason, RequestId: uuid.NewString()})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "PAGING IS HELD since %s: %s\nEvents are taken in, nobody is told. Let it go on with tocsin resume.\n", s.when(h.GetHoldTime()), clean(h.GetReason()))
		return err
	})
}

type resumeCmd struct {
	connection
}

// Run lets paging go on.
func (c *resumeCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		if _, err := api.NewOperatorServiceClient(conn).ResumePaging(ctx, &api.ResumePagingRequest{RequestId: uuid.NewString()}); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, "Paging goes on. What is still triggered is paged now.")
		return err
	})
}

type exportIncidentsCmd struct {
	connection
	Since string `placeholder:"TIME" help:"Only closed since: a date (2026-11-21), an instant (RFC 3339), or how long ago (7d)."`
	Until string `placeholder:"TIME" help:"Only closed before; written like --since."`
	File  string `short:"f" placeholder:"FILE" help:"Write here instead of standard output."`
}

// Run writes closed incidents as lines of JSON.
func (c *exportIncidentsCmd) Run(ctx context.Context, s *session, g *grammar) (err error) {
	r := &api.ExportIncidentsRequest{}
	if r.StartTime, err = s.instant("--since", c.Since); err != nil {
		return err
	}
	if r.EndTime, err = s.instant("--until", c.Until); err != nil {
		return err
	}
	w := s.out
	if c.File != "" {
		f, err := os.OpenFile(c.File, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("write --file: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	return c.stream(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := api.NewOperatorServiceClient(conn).ExportIncidents(ctx, r)
		if err != nil {
			return err
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("the export broke off: %w", err)
			}
			if _, err := w.Write(m.GetData()); err != nil {
				return err
			}
		}
	})
}

// instant reads a time as a person writes one; nil for none. A span alone lies
// behind now, one with a plus ahead of it.
func (s *session) instant(flag, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nil is the request's "not said"
	}
	if ahead, ok := strings.CutPrefix(text, "+"); ok {
		if d, err := parseSpan(ahead); err == nil {
			return timestamppb.New(s.now().Add(d)), nil
		}
	} else if d, err := parseSpan(text); err == nil {
		return timestamppb.New(s.now().Add(-d)), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, s.zone); err == nil {
			return timestamppb.New(t), nil
		}
	}
	return nil, usageError{fmt.Errorf("%s: write a date (2026-11-21), an instant (2026-11-21T03:00:00Z), how long ago (7d) or how far ahead (+7d) instead of %q", flag, text)}
}
