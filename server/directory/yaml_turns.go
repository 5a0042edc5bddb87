package directory

import (
	"fmt"

	"go.yaml.in/yaml/v4"

	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// YAML writes the document as ParseDocument reads it.
func (d *Document) YAML() ([]byte, error) {
	out, err := yaml.Dump(d, yaml.WithV4Defaults(), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("write configuration as YAML: %w", err)
	}
	return out, nil
}

// Turns returns who is on call when by each schedule of the document, by its
// id. Only the document is asked: that its people exist is not checked, and
// overrides and what was before are not known.
func (d *Document) Turns() (map[schedule.ID]*schedule.Resolver, error) {
	r := &reader{l: &Lines{}}
	known := &zones{}
	all := map[schedule.ID]*schedule.Resolver{}
	for i, doc := range d.Schedules {
		s := r.schedule(fmt.Sprintf("schedules[%d]", i), doc)
		if err := r.l.err(); err != nil {
			return nil, err
		}
		if err := s.Validate(known.get); err != nil {
			return nil, fmt.Errorf("schedule %q: %w", doc.ID, err)
		}
		turns, err := schedule.New(s.Schedule, known.get)
		if err != nil {
			return nil, fmt.Errorf("schedule %q: %w", doc.ID, err)
		}
		all[s.ID] = turns
	}
	return all, nil
}
