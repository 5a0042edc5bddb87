package incident

import (
	"slices"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// acceptMerge is the first half of a merge: this incident takes the source's
// alerts over. Its own state does not change: an acknowledgement covers what a
// person saw. Repeated, it takes over what came in since.
func (t *turn) acceptMerge(c AcceptMerge) error {
	in := t.in
	if c.Source == in.ID {
		return fault.InvalidField("sources", "an incident cannot be merged into itself")
	}
	if !in.Open() {
		return fault.New(fault.Precondition, "TARGET_RESOLVED", "the target of a merge has to be open; re-open it first", "incident", string(in.ID))
	}
	if !slices.Contains(in.Merged, c.Source) {
		in.Merged = append(in.Merged, c.Source)
		t.tell(Entry{Type: EntryMergedIn, Actor: c.By, Other: c.Source, Count: len(c.Alerts)})
		t.moved()
		t.do(Work{Kind: WorkCloseMerged, Other: c.Source, Actor: c.By})
	}
	for _, a := range c.Alerts {
		t.d.Alerts = append(t.d.Alerts, a)
		t.d.Changed = true
	}
	t.recount(c.Alerts)
	if svc, ok := t.service(); ok && svc.AutoResolve > 0 {
		t.armAutoResolve(svc)
	}
	return nil
}

// recount adds alerts that are new here. The caller passes only those that the
// target does not hold yet, so that a repeated merge counts nothing twice.
func (t *turn) recount(alerts []Alert) {
	for _, a := range alerts {
		t.in.AlertsTotal++
		if a.Open {
			t.in.AlertsOpen++
		}
		t.tell(Entry{Type: EntryAlertAdded, Actor: System("merge"), Service: a.Service, Key: a.Key, Text: a.Summary, Count: openCount(a)})
	}
}

// openCount is 1 for an open alert and 0 for a closed one: what replaying the entry adds.
func openCount(a Alert) int {
	if a.Open {
		return 1
	}
	return 0
}

// closeMerged is the second half: the source ends, its open alerts live on in
// the target, and who was paged for it is told where it went.
func (t *turn) closeMerged(c CloseMerged) error {
	in := t.in
	if in.Status == Resolved {
		return nil
	}
	// Two are being merged into each other: when both ended nobody would be
	// paged for either. The one with the lower id stays.
	if slices.Contains(in.Merged, c.Target) && in.ID < c.Target {
		return fault.New(fault.Precondition, "MERGED_CROSSWISE", "the incidents are being merged the other way round",
			"incident", string(in.ID), "target", string(c.Target))
	}
	for _, a := range c.Alerts {
		if a.Open {
			a.Open = false
			t.d.Alerts = append(t.d.Alerts, a)
			in.AlertsOpen--
		}
	}
	in.MergedInto = c.Target
	t.tell(Entry{Type: EntryMergedOut, Actor: c.By, Other: c.Target, Count: int(c.Number)})
	t.end(c.By, CauseMerged)
	t.d.Work[len(t.d.Work)-1].Other = c.Target
	return nil
}

// splitOff gives alerts away that begin an incident of their own.
func (t *turn) splitOff(c SplitOff) error {
	if err := t.refuseUnlessOpen("split"); err != nil {
		return err
	}
	in := t.in
	if len(c.Alerts) == 0 || len(c.Alerts) >= in.AlertsTotal {
		return fault.InvalidField("alerts", "name at least one alert, and leave at least one behind")
	}
	open := 0
	for _, a := range c.Alerts {
		in.AlertsTotal--
		if a.Open {
			in.AlertsOpen--
			open++
		}
		a.Count, a.Open = 0, false // a record without a count is removed
		t.d.Alerts = append(t.d.Alerts, a)
	}
	t.tell(Entry{Type: EntrySplit, Actor: c.By, Other: c.Other, Count: len(c.Alerts), Level: open})
	t.moved()
	return nil
}
