package directory

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

func (r *reader) schedule(path string, d ScheduleDoc) *Schedule {
	s := &Schedule{Schedule: schedule.Schedule{
		ID: schedule.ID(d.ID), Name: d.Name, Team: roster.TeamID(bare(d.Team, "teams/")), Zone: d.TimeZone,
		Response: duration(r.l, path+".response_target", d.Response),
	}}
	for i, l := range d.Layers {
		s.Layers = append(s.Layers, r.layer(fmt.Sprintf("%s.layers[%d]", path, i), l))
	}
	return s
}

func (r *reader) layer(path string, d LayerDoc) schedule.Layer {
	l := schedule.Layer{
		ID: schedule.LayerID(d.ID), Name: d.Name, Priority: d.Priority, Zone: d.TimeZone,
		Start: moment(r.l, path+".start_time", d.Start), End: moment(r.l, path+".end_time", d.End), Participants: userIDs(d.Participants), Offset: d.Offset,
		Rotation: schedule.Rotation{Unit: word[schedule.Unit](r.l, path+".rotation.unit", d.Rotation.Unit, unitWords), Length: cmp.Or(d.Rotation.Length, 1)},
	}
	if handoff, err := civil.ParseTime(d.Rotation.Handoff); err != nil {
		r.l.bad(path+".rotation.handoff", "%v", err)
	} else {
		l.Rotation.Anchor = handoff
	}
	for i, x := range d.Restrictions {
		l.Restrictions = append(l.Restrictions, r.hours(fmt.Sprintf("%s.restrictions[%d]", path, i), x).Restrictions()...)
	}
	if t := d.Shadows; t != nil {
		at := path + ".shadows"
		l.Trainees = schedule.Trainees{
			Users: userIDs(t.Participants), Mode: cmp.Or(word[schedule.Mode](r.l, at+".mode", t.Mode, modeWords), schedule.Observe),
			Start: moment(r.l, at+".start_time", t.Start), End: moment(r.l, at+".end_time", t.End),
		}
	}
	return l
}

// hours reads hours as people write them.
func (r *reader) hours(path string, d RestrictionDoc) schedule.Weekly {
	h := schedule.Weekly{Start: clock(r.l, path+".start", d.Start), Length: duration(r.l, path+".length", d.Length)}
	for i, day := range d.Days {
		h.Days = append(h.Days, isoDay(word[time.Weekday](r.l, fmt.Sprintf("%s.days[%d]", path, i), day, dayWords)))
	}
	return h
}

// isoDay counts from 1 for Monday to 7 for Sunday (ISO 8601).
func isoDay(d time.Weekday) int { return (int(d)+6)%7 + 1 }

// moment reads an instant, 2026-03-02T08:00:00Z; an empty text is none.
func moment(l *Lines, path, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		l.bad(path, "%q is no instant; write one such as 2026-03-02T08:00:00Z", text)
		return time.Time{}
	}
	return at.UTC()
}

func momentText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func userIDs(texts []string) []roster.UserID {
	var out []roster.UserID
	for _, t := range texts {
		out = append(out, roster.UserID(bare(t, "users/")))
	}
	return out
}

func userTexts(ids []roster.UserID) []string {
	var out []string
	for _, u := range ids {
		out = append(out, string(u))
	}
	return out
}

func scheduleDoc(s *Schedule) ScheduleDoc {
	d := ScheduleDoc{ID: string(s.ID), Name: s.Name, Team: string(s.Team), TimeZone: s.Zone, Response: lasting(s.Response)}
	for _, l := range s.Layers {
		d.Layers = append(d.Layers, layerDoc(l))
	}
	return d
}

func layerDoc(l schedule.Layer) LayerDoc {
	d := LayerDoc{
		ID: string(l.ID), Name: l.Name, Priority: l.Priority, TimeZone: l.Zone, Start: momentText(l.Start), End: momentText(l.End),
		Rotation:     RotationDoc{Unit: say(l.Rotation.Unit, unitWords), Length: l.Rotation.Length, Handoff: l.Rotation.Anchor.String()},
		Participants: userTexts(l.Participants), Offset: l.Offset, Restrictions: restrictionDocs(l.Restrictions),
	}
	if t := l.Trainees; len(t.Users) > 0 {
		d.Shadows = &ShadowsDoc{Participants: userTexts(t.Users), Mode: say(t.Mode, modeWords), Start: momentText(t.Start), End: momentText(t.End)}
	}
	return d
}

func restrictionDocs(rs []schedule.Restriction) []RestrictionDoc {
	var out []RestrictionDoc
	for _, h := range schedule.Gather(rs) {
		d := RestrictionDoc{Start: clockText(h.Start), Length: span(h.Length)}
		for _, day := range h.Days {
			d.Days = append(d.Days, dayWords[day%7])
		}
		out = append(out, d)
	}
	return out
}
