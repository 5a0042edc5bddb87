package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	kept   = 20_000  // incidents whose memory is measured
	atOnce = 500     // of them that are open at the same time before they are archived
	loaded = 100_000 // open incidents of a large installation
)

// large is an organisation of 1,000 services and 2,000 people.
func large() lab.Organisation {
	return lab.Organisation{Services: 1000, People: 2000, Devices: 2, FirstPage: 24 * time.Hour}
}

func restScenes() []scene {
	return []scene{
		{name: "memory", play: playMemory, figures: []figure{
			atMost("redis_bytes_per_open_incident", 2500, "bytes", "with ten timeline entries and two deliveries, the day's feed left out"),
			atMost("redis_bytes_per_archived", 600, "bytes", "as many after archiving, with their facts left out"),
		}},
		{name: "start", play: playStart, figures: []figure{
			atMost("start_to_ready_ms", 1000, "ms", "from the start of the process until /readyz, with an embedded Redis, empty"),
		}},
		{name: "large", play: playLarge, figures: []figure{
			atMost("start_100k_to_ready_ms", 4000, "ms", "the same with 100,000 open incidents, the reading of a rewritten file included"),
			atMost("idle_cpu_cores", 0.01, "cores", "of the server and Redis while nothing happens, then"),
			atMost("rss_mb", 150, "MB", "of the server, then: 1,000 services, 2,000 people, 4,000 phones"),
		}},
	}
}

func playStart(ctx context.Context, st *stage) error {
	if err := st.open(ctx, setting{organisation: lab.Organisation{Services: 1, People: 1, Devices: 1}}); err != nil {
		return err
	}
	st.measured("start_to_ready_ms", ms(st.server.Ready))
	return nil
}

func playLarge(ctx context.Context, st *stage) error {
	err := st.open(ctx, setting{organisation: large(), state: func(s *lab.Seed) error {
		return s.Make(ctx, st.some(loaded), true, func(i int) lab.Wanted {
			return lab.Wanted{Service: i % 1000, Created: time.Now(), Key: fmt.Sprint("open-", i)}
		})
	}})
	if err != nil {
		return err
	}
	st.measured("start_100k_to_ready_ms", ms(st.server.Ready))
	const settle, watched = 5 * time.Second, 20 * time.Second
	if err := st.rest(ctx, settle); err != nil {
		return err
	}
	before, err := st.server.Usage()
	if err != nil {
		return err
	}
	if err := st.rest(ctx, watched); err != nil {
		return err
	}
	after, err := st.server.Usage()
	if err != nil {
		return err
	}
	st.note("server %.4f cores, redis %.4f cores", (after.Server-before.Server)/watched.Seconds(), (after.Redis-before.Redis)/watched.Seconds())
	st.measured("idle_cpu_cores", (after.CPU()-before.CPU())/watched.Seconds())
	st.measured("rss_mb", float64(after.RSS)/1e6)
	return nil
}

// rest lets time pass: what is measured is what happens by itself.
func (st *stage) rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func playMemory(ctx context.Context, st *stage) error {
	n := st.some(kept)
	organisation := lab.Organisation{Services: 50, People: 50, Devices: 2, FirstPage: 24 * time.Hour}
	return st.prepare(ctx, setting{organisation: organisation, state: func(s *lab.Seed) error {
		before, err := memory(ctx, s)
		if err != nil {
			return err
		}
		// A few at a time, as they end in life: Redis's table of keys is slow to
		// shrink after many were open at once.
		for from := 0; from < n; from += atOnce {
			all, err := lived(ctx, s, from, min(from+atOnce, n))
			if err != nil {
				return err
			}
			if err := archive(ctx, s, all); err != nil {
				return err
			}
		}
		archived, err := memory(ctx, s)
		if err != nil {
			return err
		}
		st.measured("redis_bytes_per_archived", float64(archived-before)/float64(n))
		if _, err := lived(ctx, s, n, 2*n); err != nil {
			return err
		}
		open, err := memory(ctx, s)
		if err != nil {
			return err
		}
		st.measured("redis_bytes_per_open_incident", float64(open-archived)/float64(n))
		return nil
	}})
}

// lived makes incidents and gives each what happens in a life.
func lived(ctx context.Context, s *lab.Seed, from, to int) ([]*incident.Incident, error) {
	err := s.Make(ctx, to-from, true, func(i int) lab.Wanted {
		return lab.Wanted{Service: i % 50, Created: time.Now(), Key: fmt.Sprintf("alertname=HighErrorRate,instance=checkout-%d", from+i)}
	})
	if err != nil {
		return nil, err
	}
	return live(ctx, s)
}

// live gives every open incident what happens in a life: a timeline of ten
// entries and a page to two phones.
func live(ctx context.Context, s *lab.Seed) ([]*incident.Incident, error) {
	var all []*incident.Incident
	for token := ""; ; {
		page, err := s.Store.List(ctx, store.Query{Statuses: []incident.Status{incident.Triggered}, PageSize: 200}, token)
		if err != nil {
			return nil, err
		}
		var commits []store.Commit
		for _, in := range page.Incidents {
			after := *in
			c := store.Commit{Before: in, After: &after}
			for after.Seq < 10 {
				after.Seq++
				c.Timeline = append(c.Timeline, incident.Entry{
					Seq: after.Seq, At: in.Created.Add(time.Duration(after.Seq) * time.Second), Type: incident.EntryNotified,
					Actor: incident.System("plan"), Users: []roster.UserID{in.Assignees[0].User}, Step: roster.PushAll,
				})
			}
			commits = append(commits, c)
		}
		for i, r := range s.Store.CommitAll(ctx, commits) {
			if r.Err != nil {
				return nil, r.Err
			}
			in := *commits[i].After
			r.Stamp(&in)
			if err := deliver(ctx, s, &in); err != nil {
				return nil, err
			}
			all = append(all, &in)
		}
		if token = page.Next; token == "" {
			return all, nil
		}
	}
}

// deliver records a page to both phones of the person.
func deliver(ctx context.Context, s *lab.Seed, in *incident.Incident) error {
	doc := store.IncidentDoc(in.ID)
	var sends []store.Send
	for i := range 2 {
		device := string(lab.DeviceID(0, i))
		id, err := store.DeliveryID(doc, fmt.Sprint("page-", in.ID), device)
		if err != nil {
			return err
		}
		sends = append(sends, store.Send{Doc: doc, Generation: in.Generation, Delivery: incident.Delivery{
			ID: id, User: in.Assignees[0].User, Device: roster.DeviceID(device), Method: roster.PushAll, Attempted: in.Created,
		}})
	}
	if _, errs := s.Store.BeginSend(ctx, in.Created, sends); errs != nil {
		return errors.Join(errs...)
	}
	for _, send := range sends {
		send.Delivery.State, send.Delivery.Accepted = incident.DeliveryAccepted, in.Created
		if err := s.Store.RecordDelivery(ctx, doc, send.Delivery); err != nil {
			return err
		}
	}
	return nil
}

func archive(ctx context.Context, s *lab.Seed, all []*incident.Incident) error {
	for len(all) > 0 {
		n := min(len(all), 200)
		var commits []store.Commit
		for _, in := range all[:n] {
			alerts, err := s.Store.Alerts(ctx, in.ID)
			if err != nil {
				return err
			}
			c, err := s.Decide(in, incident.CloseAlert{Alert: alerts[0], By: incident.Actor{Kind: incident.ActorSource, ID: "monitor", Via: "events"}})
			if err != nil {
				return err
			}
			c.Keys = []store.KeyGuard{{Service: in.Service, Key: alerts[0].Key, Was: in.ID}}
			commits = append(commits, c)
		}
		for _, r := range s.Store.CommitAll(ctx, commits) {
			if r.Err != nil {
				return r.Err
			}
		}
		for _, in := range all[:n] {
			if err := s.Store.Archive(ctx, in.ID, func(roster.UserID) string { return "UTC" }); err != nil {
				return err
			}
		}
		all = all[n:]
	}
	return nil
}

// memory is what Redis uses, without what is gone a day or a week later in any
// case: the feed, the ways from deliveries to their incidents, and the facts.
func memory(ctx context.Context, s *lab.Seed) (int64, error) {
	var gone []string
	keys := s.Redis.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		if k := keys.Val(); strings.HasSuffix(k, ":feed") || strings.Contains(k, ":d:") || strings.Contains(k, ":facts:") || strings.HasSuffix(k, ":wk") {
			gone = append(gone, k)
		}
	}
	if err := keys.Err(); err != nil {
		return 0, err
	}
	for len(gone) > 0 {
		n := min(len(gone), 1000)
		if err := s.Redis.Del(ctx, gone[:n]...).Err(); err != nil {
			return 0, err
		}
		gone = gone[n:]
	}
	info, err := s.Store.Info(ctx)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(info["used_memory"], 10, 64)
}
