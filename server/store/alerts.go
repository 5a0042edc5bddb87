package store

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

// AlertsAt returns, in one trip, the alert of the i-th key in the i-th
// incident. One that is not there has a Count of 0, and so has that of an empty
// incident id.
func (s *Store) AlertsAt(ctx context.Context, ids []incident.ID, keys []LinkedKey) ([]incident.Alert, error) {
	alerts := make([]incident.Alert, len(keys))
	cmds := make([]*redis.StringCmd, len(keys))
	pipe := s.rdb.Pipeline()
	for i, k := range keys {
		alerts[i] = incident.Alert{Service: k.Service, Key: k.Key}
		if p, err := PartitionOfIncident(ids[i]); err == nil {
			cmds[i] = pipe.HGet(ctx, alertsKey(p, ids[i]), alertField(k.Service, k.Key))
		}
	}
	if pipe.Len() == 0 {
		return alerts, nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !isNil(err) {
		return nil, failed(err, "read %d alerts", len(keys))
	}
	for i, cmd := range cmds {
		if cmd == nil {
			continue
		}
		raw, err := cmd.Result()
		if isNil(err) { // it has none, or is archived
			a, ok, err := s.Alert(ctx, ids[i], keys[i].Service, keys[i].Key)
			if err != nil {
				return nil, err
			}
			if ok {
				alerts[i] = a
			}
			continue
		}
		if err != nil {
			return nil, failed(err, "read an alert of incident %s", ids[i])
		}
		if alerts[i], err = decodeAlert(alertField(keys[i].Service, keys[i].Key), raw); err != nil {
			return nil, err
		}
	}
	return alerts, nil
}
