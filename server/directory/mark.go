package directory

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Mark says that a folder of files declares the record. Whoever else changes
// the record leaves the mark as it is, so that the change can be told from what
// the folder said.
type Mark struct {
	Owner   string    `json:"owner"`   // the name that the folder goes by
	Applied time.Time `json:"applied"` // when the record was last changed to what the folder says
}

// ByHand reports whether the record was changed after its folder was applied.
func (m Meta) ByHand() bool { return m.Mark.Owner != "" && m.Updated.After(m.Mark.Applied) }

// mark keeps the mark of a record, or sets it on one that the document of an
// owner describes and that is not yet as it says.
func (e *Edit) mark(k Key, r Record) error {
	r.meta().Mark = Mark{}
	if old, ok := e.records[k.Kind].get(k.ID); ok && old.meta().Deleted.IsZero() {
		r.meta().Mark = old.meta().Mark
	}
	if e.owner == "" || !e.declared[k] {
		return nil
	}
	same, err := e.unchanged(k, r)
	if err != nil || same && r.meta().Mark.Owner == e.owner {
		return err
	}
	r.meta().Mark = Mark{Owner: e.owner, Applied: e.Now}
	return nil
}

// prunable are the kinds that a document declares, those first that others
// must not refer to when they go. Settings always are.
var prunable = []Kind{KindDrillPlan, KindService, KindIntegration, KindPolicy, KindSchedule, KindTeam, KindUser} //nolint:gochecknoglobals // constant

// orphans returns what the owner has declared before and its document does not
// describe any more.
func (e *Edit) orphans() []Key {
	var out []Key
	if e.owner == "" {
		return nil
	}
	for _, kind := range prunable {
		from := len(out)
		for id, r := range e.records[kind].all() {
			k := Key{kind, id}
			if m := r.meta(); m.Deleted.IsZero() && m.Mark.Owner == e.owner && !e.declared[k] {
				out = append(out, k)
			}
		}
		slices.SortFunc(out[from:], byKey)
	}
	return out
}

// company says what people have made by hand and goes with a record that is deleted.
func (s *Snapshot) company(k Key) []string {
	var out []string
	for _, c := range []struct {
		kind  Kind
		words string
	}{
		{KindOverride, "override"}, {KindShadow, "shadow"}, {KindCover, "cover request"}, {KindDevice, "device"}, {KindToken, "token"}, {KindFeed, "calendar feed"},
	} {
		if !belongs(c.kind, k.Kind) {
			continue
		}
		if refs, _ := s.referrer.get(reference{k, c.kind}); refs.size() > 0 {
			out = append(out, fmt.Sprintf("%d %s(s) go with it", refs.size(), c.words))
		}
	}
	return out
}

func markOwner(raw json.RawMessage) string {
	var m Mark
	if err := json.Unmarshal(raw, &m); err != nil {
		return ""
	}
	return m.Owner
}
