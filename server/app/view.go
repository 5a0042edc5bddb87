package app

import (
	"context"
	"strconv"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// view is a snapshot as decisions see it. Turns are claimed by the desk, for
// one incident at a time.
type view struct {
	*directory.Snapshot

	silent func(roster.Platform) bool
}

var _ incident.View = view{}

// Turn implements [incident.View].
func (view) Turn(escalation.PolicyID, int) (roster.UserID, bool) { return "", false }

// Silent implements [incident.View].
func (v view) Silent(p roster.Platform) bool { return v.silent(p) }

// revisions is the directory as the engine asks of it.
type revisions struct{ *directory.Directory }

// CatchUp returns when the snapshot is at least as new as the revision.
func (r revisions) CatchUp(ctx context.Context, revision string) error {
	if !older(r.Revision(), revision) {
		return nil
	}
	return r.Directory.CatchUp(ctx)
}

// Revision names the present snapshot.
func (r revisions) Revision() string { return r.Snapshot().Position() }

// older compares positions of the change log, "<milliseconds>-<sequence>".
// What cannot be read counts as old, so that it is caught up with.
func older(a, b string) bool {
	if a == b || b == "" {
		return false
	}
	am, as, ok1 := position(a)
	bm, bs, ok2 := position(b)
	return !ok1 || !ok2 || am < bm || (am == bm && as < bs)
}

func position(p string) (ms, seq uint64, ok bool) {
	head, tail, found := strings.Cut(p, "-")
	ms, err1 := strconv.ParseUint(head, 10, 64)
	seq, err2 := strconv.ParseUint(tail, 10, 64)
	return ms, seq, found && err1 == nil && err2 == nil
}

// inUse returns the numbers of open incidents that refer to a record, so that
// nothing is deleted that an open incident still needs.
func inUse(s *store.Store) directory.InUse {
	return func(ctx context.Context, k directory.Key) ([]string, error) {
		q := store.Query{Statuses: []incident.Status{incident.Triggered, incident.Acknowledged}, PageSize: 200}
		switch k.Kind {
		case directory.KindService:
			q.Service = catalog.ServiceID(k.ID)
		case directory.KindUser:
			q.Assignee = roster.UserID(k.ID)
		case directory.KindPolicy, directory.KindVersion:
		default:
			return nil, nil
		}
		var found []string
		for token := ""; ; {
			page, err := s.List(ctx, q, token)
			if err != nil {
				return nil, err
			}
			for _, in := range page.Incidents {
				if refers(in, k) {
					found = append(found, "incidents/"+string(in.ID))
				}
			}
			if token = page.Next; token == "" || len(found) >= inUseNamed {
				return found, nil
			}
		}
	}
}

// refers reports whether the incident keeps the policy, or that version of it.
// What else it may refer to has been asked of the store.
func refers(in *incident.Incident, k directory.Key) bool {
	switch k.Kind {
	case directory.KindPolicy:
		return string(in.Policy.ID) == k.ID
	case directory.KindVersion:
		return directory.VersionKey(in.Policy) == k
	default:
		return true
	}
}

// inUseNamed is how many open incidents a refusal may name.
const inUseNamed = 20
