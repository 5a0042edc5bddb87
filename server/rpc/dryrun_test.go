package rpc_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// diskFull is a body of Events v2 with the routing key.
func diskFull(action, key string) string {
	return `{"routing_key": "` + key + `", "event_action": "` + action + `", "dedup_key": "db",
		"payload": {"summary": "Disk of db-3 is full", "source": "db-3", "severity": "critical"}}`
}

func TestDryRunOfAnEvent(t *testing.T) {
	r := newRig(t)
	c := pb.NewOnCallServiceClient(r.conn)
	at := time.Date(2027, 3, 28, 1, 30, 0, 0, time.UTC)
	d, err := c.DryRunEvent(r.as(stakeholder), &pb.DryRunEventRequest{Event: diskFull("trigger", r.keys[monitor]), Time: timestamppb.New(at)})
	if err != nil {
		t.Fatal(err)
	}
	if d.GetIntegration() != "integrations/prom" || d.GetService() != "services/payments" || !d.GetTime().AsTime().Equal(at) {
		t.Errorf("it comes in by %s for %s at %v", d.GetIntegration(), d.GetService(), d.GetTime().AsTime())
	}
	if in := d.GetIncident(); in.GetTitle() != "Disk of db-3 is full" || in.GetUrgency() != pb.Incident_URGENCY_HIGH || in.GetName() != "" {
		t.Errorf("it opens %v", in)
	}
	if d.GetEnd() != pb.DryRun_END_REPEATING || len(d.GetTimeline()) == 0 {
		t.Errorf("it ends by %v with a timeline of %d entries", d.GetEnd(), len(d.GetTimeline()))
	}
	type page struct {
		after  time.Duration
		device string
		level  int32
		loud   bool
	}
	var got []page
	for _, m := range d.GetMessages()[:4] {
		got = append(got, page{m.GetSendTime().AsTime().Sub(at), m.GetDevice(), m.GetLevel(), m.GetLoud()})
	}
	want := []page{{0, "devices/benphone", 1, false}, {time.Minute, "devices/benphone", 1, true}, {5 * time.Minute, "devices/annphone", 2, false}, {6 * time.Minute, "devices/annphone", 2, true}}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("page %d: got %v, want %v", i, got[i], want[i])
		}
	}
	list, err := pb.NewIncidentServiceClient(r.conn).ListIncidents(r.as(admin), &pb.ListIncidentsRequest{})
	if err != nil || len(list.GetIncidents()) != 0 || len(r.pushes.push) != 0 || len(r.acceptor.events) != 0 {
		t.Errorf("a dry run left %v (%v), %d pushes, %d events", list, err, len(r.pushes.push), len(r.acceptor.events))
	}
	d, err = c.DryRunEvent(r.as(phone), &pb.DryRunEventRequest{Event: diskFull("resolve", ""), Integration: "integrations/prom"})
	if err != nil || d.GetEnd() != pb.DryRun_END_DROPPED || d.GetReason() != "Nothing is open under its key." {
		t.Errorf("a resolve: %v (%v)", d, err)
	}
}

func TestDryRunFaults(t *testing.T) {
	r := newRig(t)
	c := pb.NewOnCallServiceClient(r.conn)
	trigger := diskFull("trigger", "")
	for name, tc := range map[string]struct {
		req  *pb.DryRunEventRequest
		code codes.Code
		want string
	}{
		"no route":         {&pb.DryRunEventRequest{Event: trigger}, codes.InvalidArgument, "event: names no integration by a routing_key: give integration or service"},
		"unknown key":      {&pb.DryRunEventRequest{Event: diskFull("trigger", strings.Repeat("a", 32))}, codes.InvalidArgument, "event: its routing_key is that of no integration"},
		"two routes":       {&pb.DryRunEventRequest{Event: trigger, Service: "services/payments", Integration: "integrations/prom"}, codes.InvalidArgument, "service: give either"},
		"no integration":   {&pb.DryRunEventRequest{Event: trigger, Service: "services/search"}, codes.InvalidArgument, "service: services/search has no integration"},
		"unknown":          {&pb.DryRunEventRequest{Event: trigger, Integration: "integrations/none"}, codes.NotFound, "there is no integration none"},
		"empty":            {&pb.DryRunEventRequest{Service: "services/payments"}, codes.InvalidArgument, "event"},
		"not readable":     {&pb.DryRunEventRequest{Event: strings.Replace(diskFull("trigger", r.keys[monitor]), "critical", "hot", 1)}, codes.InvalidArgument, "event: read as pagerduty: Event object is invalid: 'payload.severity' is invalid"},
		"several events":   {&pb.DryRunEventRequest{Event: `{"version": "4", "groupKey": "g", "status": "firing", "alerts": [{"status": "firing", "labels": {"alertname": "A"}}, {"status": "firing", "labels": {"alertname": "B"}}]}`, Service: "services/payments"}, codes.InvalidArgument, "event: it says 2 events, and a dry run is of one: leave one in"},
		"no such instance": {&pb.DryRunEventRequest{Event: trigger, Service: "Payments"}, codes.InvalidArgument, "service"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.DryRunEvent(r.as(responder), tc.req)
			if s := must(statusOf(err)); s.Code() != tc.code || !strings.Contains(s.Message(), tc.want) {
				t.Errorf("got %v, want %v with %q", s, tc.code, tc.want)
			}
		})
	}
}

// TestDryRunOfAFolder: on what is not in force yet, for whom may see it whole.
func TestDryRunOfAFolder(t *testing.T) {
	r := newRig(t)
	c := pb.NewConfigurationServiceClient(r.conn)
	out, err := c.ExportConfiguration(r.as(admin), &pb.ExportConfigurationRequest{})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(out.GetYaml(), "delay: 5m", "delay: 3m", 1)
	if text == out.GetYaml() {
		t.Fatalf("no delay of 5m in\n%s", text)
	}
	req := &pb.DryRunConfigurationRequest{
		Files: []*pb.ConfigurationFile{{Name: "org.yaml", Text: text}}, DryRun: &pb.DryRunEventRequest{Event: diskFull("trigger", r.keys[monitor])},
	}
	_, err = c.DryRunConfiguration(r.as(responder), req)
	wants(t, err, codes.PermissionDenied, "PERMISSION_DENIED")
	d, err := c.DryRunConfiguration(r.as(admin), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range d.GetMessages() {
		if m.GetUser() == "users/ann" {
			if after := m.GetSendTime().AsTime().Sub(d.GetTime().AsTime()); after != 3*time.Minute {
				t.Errorf("ann is paged after %v, want the folder's 3m", after)
			}
			break
		}
	}
	if p, _ := r.dir.Snapshot().GetPolicy("core"); p.Levels[0].Delay != 5*time.Minute {
		t.Error("the folder was applied")
	}
	req.DryRun.Event = diskFull("trigger", "")
	_, err = c.DryRunConfiguration(r.as(admin), req)
	if s := must(statusOf(err)); !strings.Contains(s.Message(), "event: names no integration") {
		t.Errorf("without a route: %v", s)
	}
	req.Files[0].Text = "peple: []\n"
	_, err = c.DryRunConfiguration(r.as(admin), req)
	if s := wants(t, err, codes.InvalidArgument, "INVALID_FIELD"); !strings.Contains(s.Message(), "org.yaml:1: peple: unknown key") {
		t.Errorf("a misspelt key: %v", s)
	}
}
