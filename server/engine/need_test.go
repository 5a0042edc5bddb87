package engine

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func leftOver(n int, id incident.ID, k incident.WorkKind, u incident.Urgency, s event.Severity) store.WorkItem {
	return store.WorkItem{ID: fmt.Sprintf("%d-0", n), Work: incident.Work{Incident: id, Kind: k, Urgency: u, Severity: s}}
}

// After a start, what was left over goes out by need: the most severe and the
// newest first.
func TestLeftOverPagesGoByNeed(t *testing.T) {
	page := incident.WorkPage
	items := []store.WorkItem{
		leftOver(1, "low", page, incident.Low, event.Critical),
		leftOver(2, "old", page, incident.High, event.Error),
		leftOver(3, "quiet", incident.WorkReplace, incident.High, event.Critical),
		leftOver(4, "worst", page, incident.High, event.Critical),
		leftOver(5, "both", page, incident.High, event.Error),
		leftOver(6, "new", page, incident.High, event.Error),
		leftOver(7, "both", incident.WorkReplace, incident.High, event.Error),
	}
	var got []string
	for _, item := range byNeed(items) {
		got = append(got, item.ID)
	}
	want := []string{"4-0", "5-0", "7-0", "6-0", "2-0", "1-0", "3-0"}
	if !slices.Equal(got, want) {
		t.Errorf("order = %q, want %q", got, want)
	}
}

// Nothing is lost or doubled, and what belongs to one incident keeps its order.
func TestByNeedKeepsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var items []store.WorkItem
		for i := range rapid.IntRange(0, 30).Draw(t, "items") {
			items = append(items, leftOver(i, incident.ID(rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "incident")),
				rapid.SampledFrom([]incident.WorkKind{incident.WorkPage, incident.WorkReplace, incident.WorkNotice}).Draw(t, "kind"),
				rapid.SampledFrom([]incident.Urgency{incident.High, incident.Low}).Draw(t, "urgency"),
				event.Severity(rapid.IntRange(0, 4).Draw(t, "severity"))))
		}
		of := func(items []store.WorkItem, id incident.ID) (ids []string) {
			for _, item := range items {
				if item.Work.Incident == id {
					ids = append(ids, item.ID)
				}
			}
			return ids
		}
		sorted := byNeed(items)
		if len(sorted) != len(items) {
			t.Fatalf("%d of %d items", len(sorted), len(items))
		}
		for _, id := range []incident.ID{"a", "b", "c", "d"} {
			if was, is := of(items, id), of(sorted, id); !slices.Equal(was, is) {
				t.Fatalf("items of %s: %q, want %q", id, is, was)
			}
		}
	})
}
