package rpc

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// exportAt is how far an export has come: the partition, and there the closing
// and id of the last incident. Within a partition they come in closing order.
type exportAt struct {
	partition store.Partition
	closed    int64
	id        incident.ID
}

func (a exportAt) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "1 %d %d %s", a.partition, a.closed, a.id))
}

func parseExport(cursor string) (exportAt, error) {
	bad := fault.InvalidField("cursor", "is no cursor of an export; leave it out to begin anew")
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	part := strings.Split(string(raw), " ")
	if err != nil || len(part) != 4 || part[0] != "1" {
		return exportAt{}, bad
	}
	p, err1 := strconv.ParseUint(part[1], 10, 6)
	closed, err2 := strconv.ParseInt(part[2], 10, 64)
	if err1 != nil || err2 != nil {
		return exportAt{}, bad
	}
	return exportAt{store.Partition(p), closed, incident.ID(part[3])}, nil
}

// has reports whether the export had the record before it came here.
func (a exportAt) has(p store.Partition, in *incident.Incident, reached *bool) bool {
	switch {
	case a.id == "" || p > a.partition:
		return false
	case p < a.partition:
		return true
	case *reached:
		return false
	}
	closed := in.ResolvedAt.UnixMilli()
	if in.ID == a.id {
		*reached = true
		return true
	}
	if closed > a.closed { // the last one is gone meanwhile
		*reached = true
		return false
	}
	return true
}

// exportChunk is about how many bytes one message has.
const exportChunk = 256 << 10

func (s *operator) ExportIncidents(req *pb.ExportIncidentsRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	from, to := instant(req.GetStartTime()), instant(req.GetEndTime())
	if to.IsZero() {
		to = s.c.Now().Add(time.Hour)
	}
	var at exportAt
	if req.GetCursor() != "" {
		var err error
		if at, err = parseExport(req.GetCursor()); err != nil {
			return err
		}
	}
	ctx, sh, reached := stream.Context(), s.shape(), false
	var chunk []byte
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		err := stream.Send(&httpbody.HttpBody{ContentType: "application/x-ndjson", Data: chunk})
		chunk = nil
		return err
	}
	for r, err := range s.c.Store.Export(ctx, time.UnixMilli(0), to) {
		if err != nil {
			return err
		}
		in := r.Incident
		p, err := store.PartitionOfIncident(in.ID)
		if err != nil {
			return err
		}
		if in.Open() || at.has(p, in, &reached) || in.ResolvedAt.Before(from) || !in.ResolvedAt.Before(to) {
			continue
		}
		line, err := sh.exported(r, exportAt{p, in.ResolvedAt.UnixMilli(), in.ID}.String())
		if err != nil {
			return err
		}
		if chunk = append(chunk, line...); len(chunk) >= exportChunk {
			if err := flush(); err != nil {
				return err
			}
		}
		select {
		case <-s.draining:
			_ = flush() // what is whole is worth having
			return errDraining
		default:
		}
	}
	return flush()
}

// exported is one line of an export.
func (s shaper) exported(r store.Record, cursor string) ([]byte, error) {
	m := &pb.ExportedIncident{
		Incident: s.incident(r.Incident), Timeline: each(r.Timeline, s.entry), Cursor: cursor,
		Alerts:     each(r.Alerts, func(a incident.Alert) *pb.Alert { return s.alert(r.Incident.ID, a) }),
		Deliveries: each(r.Deliveries, func(d incident.Delivery) *pb.Delivery { return s.delivery(r.Incident.ID, d) }),
	}
	m.Incident.Details = details(r.Incident.Text.Details)
	line, err := protojson.MarshalOptions{}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode incident %s: %w", r.Incident.ID, err)
	}
	return append(line, '\n'), nil
}
