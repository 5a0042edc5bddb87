package rpc

import (
	"testing"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// FuzzTokens reads whatever callers send where the server expects its own words:
// what it takes for one of them has to be one.
func FuzzTokens(f *testing.F) {
	req := &pb.ListUsersRequest{}
	f.Add(token(req, "ann"))
	f.Add(exportAt{3, 1_700_000_000_000, "0123"}.String())
	f.Add("deadLetters/3-1700000000000-0")
	f.Add(`"12"`)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		req := &pb.ListUsersRequest{PageToken: text}
		if at, err := place(req); err == nil && at != "" {
			if again, err := place(&pb.ListUsersRequest{PageToken: token(req, at)}); err != nil || again != at {
				t.Errorf("the place %q comes back as %q (%v)", at, again, err)
			}
			if _, err := place(&pb.ListUsersRequest{PageToken: text, ShowInactive: true}); err == nil {
				t.Errorf("%q is taken with other filters", text)
			}
		}
		if at, err := parseExport(text); err == nil {
			if again, err := parseExport(at.String()); err != nil || again != at {
				t.Errorf("the cursor %v comes back as %v (%v)", at, again, err)
			}
			reached := false
			at.has(at.partition, &incident.Incident{}, &reached)
		}
		if p, id, err := deadOf(text); err == nil {
			if q, same, err := deadOf(deadName(store.DeadLetter{Partition: p, ID: id})); err != nil || p != q || same != id {
				t.Errorf("%q is read as %v %s, and that as %v %s (%v)", text, p, id, q, same, err)
			}
		}
		if v, err := version(text); err == nil && v != 0 {
			if again, err := version(incidentETag(v)); err != nil || again != v {
				t.Errorf("the version %d comes back as %d (%v)", v, again, err)
			}
		}
		if at, end := timeOfDay(text), clockTime(timeOfDay(text)); len(text) == 5 && at >= 0 && end == "" {
			t.Errorf("%q is no time of day", text)
		}
		_ = slug(text)
		_ = addressHint(text)
	})
}
