package demo

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// redisPID is the process id of the Redis in the data directory, as it says itself.
func redisPID(ctx context.Context, dir string) (string, error) {
	sockets := redisSockets(dir)
	if len(sockets) == 0 {
		return "", fmt.Errorf("there is no Redis below %s", dir)
	}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: sockets[0], MaxRetries: -1, DisableIdentity: true})
	defer func() { _ = client.Close() }()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("ask Redis at %s: %w", sockets[0], err)
	}
	_, rest, _ := strings.Cut(info, "process_id:")
	pid, _, _ := strings.Cut(rest, "\r\n")
	return pid, nil
}

// readAll reads an incident afresh, as a client does that knows nothing yet.
func readAll(ctx context.Context, api tocsinv1.IncidentServiceClient, name string) (view, error) {
	in, err := api.GetIncident(ctx, &tocsinv1.GetIncidentRequest{Name: name})
	if err != nil {
		return view{}, fmt.Errorf("read %s after the restart: %w", name, err)
	}
	v := view{incident: in}
	entries, err := api.ListTimeline(ctx, &tocsinv1.ListTimelineRequest{Parent: name, PageSize: 200})
	if err != nil {
		return view{}, fmt.Errorf("read the timeline after the restart: %w", err)
	}
	v.entries = entries.GetEntries()
	deliveries, err := api.ListDeliveries(ctx, &tocsinv1.ListDeliveriesRequest{Parent: name, PageSize: 200})
	if err != nil {
		return view{}, fmt.Errorf("read the deliveries after the restart: %w", err)
	}
	v.deliveries = deliveries.GetDeliveries()
	return v, nil
}

// survivedIn reports what of the view the later one has lost.
func (v view) survivedIn(later view) error {
	if later.incident.GetRevision() < v.incident.GetRevision() {
		return fmt.Errorf("the incident went back from revision %d to %d", v.incident.GetRevision(), later.incident.GetRevision())
	}
	for i, e := range v.entries {
		if i >= len(later.entries) {
			return fmt.Errorf("of %d timeline entries %d are left", len(v.entries), len(later.entries))
		}
		if !proto.Equal(e, later.entries[i]) {
			return fmt.Errorf("entry %d was %q and is %q", e.GetSeq(), e.GetSummary(), later.entries[i].GetSummary())
		}
	}
	for _, d := range v.deliveries {
		if later.delivery(d.GetDeliveryId()) == nil {
			return fmt.Errorf("the delivery %s to %s is gone", d.GetDeliveryId(), d.GetDisplayName())
		}
	}
	return nil
}
