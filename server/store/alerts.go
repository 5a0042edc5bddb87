package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

// AlertsAt returns, in one trip, the incidents of the ids, and of each the alert
// of the key in the same place. An incident that is not there is nil; an alert
// that is not there has a Count of 0. So it is for an empty id.
func (s *Store) AlertsAt(ctx context.Context, ids []incident.ID, keys []LinkedKey) ([]*incident.Incident, []incident.Alert, error) {
	incidents, alerts := make([]*incident.Incident, len(keys)), make([]incident.Alert, len(keys))
	records := make([]*redis.StringCmd, len(keys))
	docs := map[incident.ID]*redis.StringCmd{}
	pipe := s.rdb.Pipeline()
	for i, k := range keys {
		alerts[i] = incident.Alert{Service: k.Service, Key: k.Key}
		id := ids[i]
		if id == "" {
			continue
		}
		p, err := PartitionOfIncident(id)
		if err != nil {
			continue
		}
		records[i] = pipe.HGet(ctx, alertsKey(p, id), alertField(k.Service, k.Key))
		if docs[id] == nil {
			docs[id] = pipe.Get(ctx, incidentKey(p, id))
		}
	}
	if pipe.Len() == 0 {
		return incidents, alerts, nil
	}
	if err := s.lookups.travel(ctx, pipe); err != nil && !isNil(err) {
		return nil, nil, failed(err, "read %d alerts", len(keys))
	}
	besides := make(map[incident.ID]*docBeside, len(docs))
	for i, record := range records {
		if record == nil {
			continue
		}
		b := besides[ids[i]]
		if b == nil {
			var err error
			if b, err = beside(ids[i], docs[ids[i]]); err != nil {
				return nil, nil, err
			}
			besides[ids[i]] = b
		}
		incidents[i] = b.incident
		a, ok, err := b.alert(keys[i].Service, keys[i].Key, record)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			alerts[i] = a
		}
	}
	return incidents, alerts, nil
}

// docBeside is a document that was read in the same trip as records beside it:
// it has their text, and all of them when it is archived. incident is nil when
// there is none.
type docBeside struct {
	incident *incident.Incident
	archive  *archive
}

func beside(id incident.ID, doc *redis.StringCmd) (*docBeside, error) {
	raw, err := doc.Bytes()
	if isNil(err) {
		return &docBeside{}, nil
	}
	if err != nil {
		return nil, failed(err, "read incident %s", id)
	}
	in, a, err := decodeIncident(id, raw)
	return &docBeside{in, a}, err
}

// alert reads one alert out of its record, or out of the archive.
func (b *docBeside) alert(service catalog.ServiceID, key string, record *redis.StringCmd) (incident.Alert, bool, error) {
	if b.archive != nil {
		i := slices.IndexFunc(b.archive.alerts, func(a incident.Alert) bool { return a.Service == service && a.Key == key })
		if i < 0 {
			return incident.Alert{}, false, nil
		}
		return b.archive.alerts[i], true, nil
	}
	raw, err := record.Result()
	if isNil(err) || (err == nil && b.incident == nil) {
		return incident.Alert{}, false, nil
	}
	if err != nil {
		return incident.Alert{}, false, failed(err, "read an alert of service %s", service)
	}
	a, err := decodeAlert(alertField(service, key), raw, b.incident.Text.Title)
	return a, err == nil, err
}

// AlertsSeen is how the alerts of an incident were stored when they were read,
// by field.
type AlertsSeen map[string]string

// Alerts returns the alerts of an incident, in no particular order.
func (s *Store) Alerts(ctx context.Context, id incident.ID) ([]incident.Alert, error) {
	alerts, _, err := s.SeeAlerts(ctx, id)
	return alerts, err
}

// SeeAlerts is Alerts for who decides on them: a commit that carries what was
// seen is refused when one of those that it writes has been counted up since.
// That moves the alert and not the document, so that no storm of repeats stands
// in the way of people.
func (s *Store) SeeAlerts(ctx context.Context, id incident.ID) ([]incident.Alert, AlertsSeen, error) {
	p, err := PartitionOfIncident(id)
	if err != nil {
		return nil, nil, err
	}
	pipe := s.rdb.Pipeline()
	doc, records := pipe.Get(ctx, incidentKey(p, id)), pipe.HGetAll(ctx, alertsKey(p, id))
	if _, err := pipe.Exec(ctx); err != nil && !isNil(err) {
		return nil, nil, failed(err, "read the alerts of incident %s", id)
	}
	b, err := beside(id, doc)
	switch {
	case err != nil || b.incident == nil:
		return nil, nil, err
	case b.archive != nil:
		return b.archive.alerts, nil, nil
	}
	alerts := make([]incident.Alert, 0, len(records.Val()))
	for field, raw := range records.Val() {
		a, err := decodeAlert(field, raw, b.incident.Text.Title)
		if err != nil {
			return nil, nil, fmt.Errorf("read the alerts of incident %s: %w", id, err)
		}
		alerts = append(alerts, a)
	}
	return alerts, records.Val(), nil
}

// Alert returns one alert of an incident; false when it has none of that key.
func (s *Store) Alert(ctx context.Context, id incident.ID, service catalog.ServiceID, key string) (incident.Alert, bool, error) {
	_, alerts, err := s.AlertsAt(ctx, []incident.ID{id}, []LinkedKey{{Service: service, Key: key}})
	if err != nil {
		return incident.Alert{}, false, err
	}
	if alerts[0].Count == 0 {
		return incident.Alert{}, false, nil
	}
	return alerts[0], true, nil
}
