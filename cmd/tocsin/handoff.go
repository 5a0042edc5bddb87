package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type handoffCmd struct {
	connection
	output
	Schedule string `arg:"" optional:"" help:"Id of the schedule. Default: where your next or present turn is."`
	At       string `xor:"do" placeholder:"TIME" help:"The hand-off nearest to this instant; 7d is 7 days ago, +7d is ahead. Default: now."`
	User     string `xor:"do" placeholder:"ID" help:"Only from or to this person; me is you."`
	Take     bool   `xor:"do" help:"Take the open incidents over, when you have the turn or are the next."`
	Note     string `xor:"do" placeholder:"TEXT" help:"Leave a note for whoever follows you."`
}

// Run shows what is handed over, or does something about it.
func (c *handoffCmd) Run(ctx context.Context, s *session, g *grammar) error {
	at, err := s.instant("--at", c.At)
	if err != nil {
		return err
	}
	if c.Schedule == "" && (c.Take || c.Note != "") {
		return usageError{errors.New("name the schedule: tocsin oncall handoff SCHEDULE --take")}
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		client, name := api.NewOnCallServiceClient(conn), resource("schedules/", c.Schedule)
		switch {
		case c.Take:
			return c.take(ctx, s, client, name)
		case c.Note != "":
			n, err := client.LeaveHandOffNote(ctx, &api.LeaveHandOffNoteRequest{Schedule: name, Text: c.Note, RequestId: uuid.NewString()})
			if err != nil {
				return err
			}
			if c.json() {
				return s.printJSON(n)
			}
			fmt.Fprintln(s.out, "The note is part of your next hand-off in "+c.Schedule+".")
			return nil
		}
		h, err := client.GetHandOff(ctx, &api.GetHandOffRequest{Schedule: name, Time: at, User: resource("users/", c.User)})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(h)
		}
		return s.handoff(h)
	})
}

// take takes the open incidents over, and says what became of each.
func (c *handoffCmd) take(ctx context.Context, s *session, client api.OnCallServiceClient, name string) error {
	r, err := client.TakeOverIncidents(ctx, &api.TakeOverIncidentsRequest{Schedule: name, RequestId: uuid.NewString()})
	if err != nil {
		return err
	}
	if c.json() {
		return s.printJSON(r)
	}
	failed := 0
	for _, x := range r.GetResults() {
		switch line := summary(x.GetIncident()); {
		case x.GetError() != nil:
			failed++
			fmt.Fprintf(s.err, "%s: %s\n", id(x.GetName()), clean(x.GetError().GetMessage()))
		case x.GetChanged():
			fmt.Fprintln(s.out, line)
		default:
			fmt.Fprintln(s.out, line+" (as it was)")
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d incidents were not taken over", failed, len(r.GetResults()))
	}
	if len(r.GetResults()) == 0 {
		fmt.Fprintln(s.out, "No incident is open.")
	}
	return nil
}

// handoff prints a hand-off, leaving out what there is nothing of.
func (s *session) handoff(h *api.HandOff) error {
	fmt.Fprintf(s.out, "%s: %s hands over to %s at %s.\n", id(h.GetSchedule()), holder(h.GetFromUser()), holder(h.GetToUser()), s.when(h.GetHandoffTime()))
	if h.GetStartTime() != nil {
		fmt.Fprintf(s.out, "The shift began at %s: %d pages, %d incidents resolved.\n", s.at(h.GetStartTime()), h.GetPageCount(), h.GetResolvedCount())
	}
	if n := h.GetNote(); n != nil {
		fmt.Fprintf(s.out, "%s says: %s\n", id(n.GetUser()), clean(n.GetText()))
	}
	if h.GetTruncated() {
		fmt.Fprintln(s.out, "There was more than is looked at: the figures are of the latest incidents.")
	}
	for _, part := range []func(*api.HandOff) error{s.handoffOpen, s.handoffRemarks, s.handoffNoise, s.handoffAhead} {
		if err := part(h); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) handoffOpen(h *api.HandOff) error {
	if len(h.GetIncidents()) == 0 {
		fmt.Fprintln(s.out, "\nNo incident is open.")
		return nil
	}
	fmt.Fprintln(s.out, "\nOpen")
	t := s.table("NUMBER", "STATE", "SEVERITY", "AGE", "LEVEL", "SERVICE", "WITH", "TITLE", "LAST NOTE")
	for _, x := range h.GetIncidents() {
		in := x.GetIncident()
		state := word(in.GetState())
		if in.GetSnoozeUntil() != nil {
			state = "snoozed until " + s.at(in.GetSnoozeUntil())
		}
		level := ""
		if n := in.GetEscalation().GetLevel(); n > 0 {
			level = strconv.Itoa(int(n))
		}
		t.row(number(in.GetNumber()), state, word(in.GetSeverity()), s.age(in.GetCreateTime()), level, id(in.GetService()), holders(in),
			cut(clean(in.GetTitle()), 50), cut(clean(x.GetLastNote().GetSummary()), 60))
	}
	return t.flush()
}

func (s *session) handoffRemarks(h *api.HandOff) error {
	if len(h.GetRemarks()) == 0 {
		return nil
	}
	fmt.Fprintln(s.out, "\nNoted during the shift")
	t := s.listing()
	for _, r := range h.GetRemarks() {
		t.row(s.at(r.GetNote().GetEntryTime()), number(r.GetNumber()), r.GetNote().GetSummary())
	}
	return t.flush()
}

func (s *session) handoffNoise(h *api.HandOff) error {
	if len(h.GetNoise()) > 0 {
		fmt.Fprintln(s.out, "\nNoisiest")
		t := s.table("PAGES", "REPEATS", "INCIDENTS", "SERVICE", "ALERT")
		for _, n := range h.GetNoise() {
			alert := n.GetTitle()
			if n.GetDedupKey() != "" {
				alert = n.GetDedupKey() + ": " + alert
			}
			t.row(strconv.Itoa(int(n.GetPageCount())), strconv.Itoa(int(n.GetRepeatCount())), strconv.Itoa(int(n.GetIncidentCount())), id(n.GetService()), cut(clean(alert), 70))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(h.GetMisses()) == 0 {
		return nil
	}
	fmt.Fprintln(s.out, "\nNot acknowledged in time")
	t := s.listing()
	for _, m := range h.GetMisses() {
		t.row(s.at(m.GetMissTime()), number(m.GetNumber()), id(m.GetUser())+" not within "+span(m.GetResponseTarget().AsDuration()), cut(clean(m.GetTitle()), 60))
	}
	return t.flush()
}

func (s *session) handoffAhead(h *api.HandOff) error {
	if len(h.GetGaps())+len(h.GetCoverRequests()) == 0 {
		return nil
	}
	fmt.Fprintln(s.out, "\nAhead")
	for _, x := range h.GetGaps() {
		fmt.Fprintf(s.out, "  nobody is on call from %s to %s\n", s.minute(x.GetStartTime()), s.minute(x.GetEndTime()))
	}
	for _, r := range h.GetCoverRequests() {
		fmt.Fprintf(s.out, "  %s asks for cover from %s to %s: %s\n", id(r.GetUser()), s.minute(r.GetStartTime()), s.minute(r.GetEndTime()), id(r.GetName()))
	}
	return nil
}

// number is an incident's number as people say it.
func number(n int64) string { return "#" + strconv.FormatInt(n, 10) }
