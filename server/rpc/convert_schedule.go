package rpc

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

var (
	units = map[schedule.Unit]pb.Rotation_Unit{ //nolint:gochecknoglobals // look-up table
		schedule.Hours: pb.Rotation_UNIT_HOURS, schedule.Days: pb.Rotation_UNIT_DAYS,
		schedule.Weeks: pb.Rotation_UNIT_WEEKS, schedule.Months: pb.Rotation_UNIT_MONTHS,
	}
	unitsOf = map[pb.Rotation_Unit]schedule.Unit{ //nolint:gochecknoglobals // look-up table
		pb.Rotation_UNIT_HOURS: schedule.Hours, pb.Rotation_UNIT_DAYS: schedule.Days,
		pb.Rotation_UNIT_WEEKS: schedule.Weeks, pb.Rotation_UNIT_MONTHS: schedule.Months,
	}
	shadowModes = map[schedule.Mode]pb.ShadowMode{ //nolint:gochecknoglobals // look-up table
		schedule.Observe: pb.ShadowMode_SHADOW_MODE_OBSERVE, schedule.Practise: pb.ShadowMode_SHADOW_MODE_PRACTISE,
		schedule.Duty: pb.ShadowMode_SHADOW_MODE_DUTY,
	}
	shadowModesOf = map[pb.ShadowMode]schedule.Mode{ //nolint:gochecknoglobals // look-up table
		pb.ShadowMode_SHADOW_MODE_UNSPECIFIED: schedule.Observe, pb.ShadowMode_SHADOW_MODE_OBSERVE: schedule.Observe,
		pb.ShadowMode_SHADOW_MODE_PRACTISE: schedule.Practise, pb.ShadowMode_SHADOW_MODE_DUTY: schedule.Duty,
	}
	effectsOf = map[pb.UpdateScheduleRequest_Effect]schedule.Effect{ //nolint:gochecknoglobals // look-up table
		pb.UpdateScheduleRequest_EFFECT_UNSPECIFIED: schedule.AtHandOff, pb.UpdateScheduleRequest_EFFECT_NEXT_HANDOFF: schedule.AtHandOff,
		pb.UpdateScheduleRequest_EFFECT_NOW: schedule.AtOnce,
	}
)

func scheduleName(id schedule.ID) string         { return inCollection("schedules", id) }
func overrideName(id schedule.OverrideID) string { return inCollection("overrides", id) }
func coverName(id schedule.RequestID) string     { return inCollection("coverRequests", id) }
func shadowName(id schedule.ShadowID) string     { return inCollection("shadows", id) }

func scheduleID(name string) schedule.ID { return schedule.ID(last(name)) }
func userID(name string) roster.UserID   { return roster.UserID(last(name)) }

func scheduleMessage(s *directory.Schedule) *pb.Schedule {
	return &pb.Schedule{
		Name: scheduleName(s.ID), DisplayName: s.Name, Team: teamName(s.Team), TimeZone: s.Zone, Layers: each(s.Layers, layerMessage),
		ResponseTarget: span(s.Response), CreateTime: stamp(s.Created), UpdateTime: stamp(s.Updated), Etag: quote(s.ETag()),
	}
}

// scheduleOf reads what is wanted; where it does not read, the fault names the field.
func scheduleOf(id schedule.ID, m *pb.Schedule) (*directory.Schedule, error) {
	s := &directory.Schedule{Schedule: schedule.Schedule{
		ID: id, Name: m.GetDisplayName(), Zone: m.GetTimeZone(), Team: roster.TeamID(last(m.GetTeam())), Response: m.GetResponseTarget().AsDuration(),
	}}
	for i, l := range m.GetLayers() {
		layer, err := layerOf(l)
		if err != nil {
			return nil, inField(field("layers", i), err)
		}
		s.Layers = append(s.Layers, layer)
	}
	return s, nil
}

func layerMessage(l schedule.Layer) *pb.ScheduleLayer {
	m := &pb.ScheduleLayer{
		Id: string(l.ID), DisplayName: l.Name, Priority: int32(l.Priority), TimeZone: l.Zone, //nolint:gosec // validated
		StartTime: stamp(l.Start), EndTime: stamp(l.End), Participants: each(l.Participants, userName), Restrictions: each(schedule.Gather(l.Restrictions), hoursMessage),
		Offset:   int32(l.Offset),                                                                                                   //nolint:gosec // at most 200
		Rotation: &pb.Rotation{Unit: units[l.Rotation.Unit], Length: int32(l.Rotation.Length), Handoff: l.Rotation.Anchor.String()}, //nolint:gosec // validated
	}
	if t := l.Trainees; len(t.Users) > 0 {
		m.Shadows = &pb.ShadowRotation{Participants: each(t.Users, userName), Mode: shadowModes[t.Mode], StartTime: stamp(t.Start), EndTime: stamp(t.End)}
	}
	return m
}

func layerOf(m *pb.ScheduleLayer) (schedule.Layer, error) {
	l := schedule.Layer{
		ID: schedule.LayerID(m.GetId()), Name: m.GetDisplayName(), Priority: int(m.GetPriority()), Zone: m.GetTimeZone(),
		Start: instant(m.GetStartTime()), End: instant(m.GetEndTime()), Participants: each(m.GetParticipants(), userID), Offset: int(m.GetOffset()),
		Rotation: schedule.Rotation{Unit: unitsOf[m.GetRotation().GetUnit()], Length: int(m.GetRotation().GetLength())},
	}
	anchor, err := civil.ParseTime(m.GetRotation().GetHandoff())
	if err != nil {
		return schedule.Layer{}, fault.InvalidField("rotation.handoff", "%v", err)
	}
	l.Rotation.Anchor = anchor
	for _, r := range m.GetRestrictions() {
		l.Restrictions = append(l.Restrictions, hoursOf(r).Restrictions()...)
	}
	if t := m.GetShadows(); t != nil {
		l.Trainees = schedule.Trainees{Users: each(t.GetParticipants(), userID), Mode: shadowModesOf[t.GetMode()], Start: instant(t.GetStartTime()), End: instant(t.GetEndTime())}
	}
	return l, nil
}

// hoursOf reads hours as people write them.
func hoursOf(m *pb.Restriction) schedule.Weekly {
	return schedule.Weekly{
		Days: each(m.GetDays(), func(d int32) int { return int(d) }), Start: timeOfDay(m.GetStart()), Length: m.GetLength().AsDuration(),
	}
}

func hoursMessage(h schedule.Weekly) *pb.Restriction {
	return &pb.Restriction{
		Days:  each(h.Days, func(d int) int32 { return int32(d) }), //nolint:gosec // 1 to 7
		Start: clockTime(h.Start), Length: durationpb.New(h.Length),
	}
}

func overrideMessage(o *directory.Override) *pb.Override {
	return &pb.Override{
		Name: overrideName(o.ID), Schedule: scheduleName(o.Schedule), User: userName(o.User), StartTime: stamp(o.Start), EndTime: stamp(o.End),
		Creator: userName(o.By), CreateTime: stamp(o.CreatedAt), UpdateTime: stamp(o.Updated), Etag: quote(o.ETag()),
		CoverRequest: coverName(o.Request),
	}
}

func shadowMessage(h *directory.Shadow) *pb.Shadow {
	return &pb.Shadow{
		Name: shadowName(h.ID), User: userName(h.User), Schedule: scheduleName(h.Schedule), Person: userName(h.Person), Mode: shadowModes[h.Mode],
		StartTime: stamp(h.Start), EndTime: stamp(h.End), CreateTime: stamp(h.Created), UpdateTime: stamp(h.Updated), Etag: quote(h.ETag()),
	}
}

// shiftMessage converts a shift of the schedule; an unbounded end is absent.
func shiftMessage(id schedule.ID, s schedule.Shift) *pb.Shift {
	return &pb.Shift{
		Schedule: scheduleName(id), User: userName(s.User), StartTime: stamp(s.Start), EndTime: stamp(s.End),
		Layer: string(s.Layer), Override: overrideName(s.Override),
	}
}

// withGaps returns the shifts with the gaps between them, over the whole window.
func withGaps(shifts []schedule.Shift, from, to time.Time) []schedule.Shift {
	var out []schedule.Shift
	gap := func(until time.Time) {
		if from.Before(until) {
			out = append(out, schedule.Shift{Start: from, End: until})
		}
	}
	for _, s := range shifts {
		gap(s.Start)
		out, from = append(out, s), s.End
	}
	gap(to)
	return out
}

// byStart orders shifts in time.
func byStart(a, b *pb.Shift) int {
	return a.GetStartTime().AsTime().Compare(b.GetStartTime().AsTime())
}

// sortShifts puts shifts of several schedules into one order of time.
func sortShifts(shifts []*pb.Shift) []*pb.Shift {
	slices.SortStableFunc(shifts, byStart)
	return shifts
}

func shadowingMessage(x schedule.Shadowing) *pb.ShadowShift {
	return &pb.ShadowShift{
		User: userName(x.User), Primary: userName(x.Follows), Mode: shadowModes[x.Mode], StartTime: stamp(x.Start), EndTime: stamp(x.End),
	}
}

func differenceMessage(c schedule.Change) *pb.ShiftDifference {
	return &pb.ShiftDifference{StartTime: stamp(c.Start), EndTime: stamp(c.End), Before: userName(c.Before), After: userName(c.After)}
}

func doubtMessage(d directory.Doubt) *pb.ScheduleConflict {
	return &pb.ScheduleConflict{User: userName(d.User), StartTime: stamp(d.Start), EndTime: stamp(d.End), Text: d.Text}
}

func shareMessage(l schedule.Load) *pb.ScheduleShare {
	return &pb.ScheduleShare{
		User: userName(l.User), Total: durationpb.New(l.Total), Nights: durationpb.New(l.Night), Weekends: durationpb.New(l.Weekend),
		NightCount: int32(l.Nights), Overloaded: l.Overloaded, //nolint:gosec // of at most 400 days
	}
}

// ratingMessage begins a review with how good the plan is.
func ratingMessage(q schedule.Quality) *pb.ReviewScheduleResponse {
	percent := func(x float64) int32 { return int32(math.Round(x)) }
	return &pb.ReviewScheduleResponse{
		Score: percent(q.Score), Coverage: percent(q.Coverage), Balance: percent(q.Balance),
		NightBalance: percent(q.Nights), WeekendBalance: percent(q.Weekends),
	}
}

var verdicts = map[schedule.Verdict]pb.ScheduleReason_Verdict{ //nolint:gochecknoglobals // look-up table
	schedule.Holds: pb.ScheduleReason_VERDICT_HOLDS, schedule.Overridden: pb.ScheduleReason_VERDICT_OVERRIDDEN,
	schedule.Outranked: pb.ScheduleReason_VERDICT_OUTRANKED, schedule.Masked: pb.ScheduleReason_VERDICT_MASKED,
	schedule.EmptyPlace: pb.ScheduleReason_VERDICT_EMPTY_PLACE, schedule.NotBegun: pb.ScheduleReason_VERDICT_NOT_BEGUN,
	schedule.Ended: pb.ScheduleReason_VERDICT_ENDED,
}

func explanationMessage(id schedule.ID, e schedule.Explanation) *pb.ExplainScheduleResponse {
	m := &pb.ExplainScheduleResponse{Shift: shiftMessage(id, e.Shift)}
	for _, o := range e.Overrides {
		m.Reasons = append(m.Reasons, &pb.ScheduleReason{
			Override: overrideName(o.Override.ID), User: userName(o.Override.User), Verdict: verdicts[o.Verdict], Text: o.String(),
		})
	}
	for _, l := range e.Layers {
		m.Reasons = append(m.Reasons, &pb.ScheduleReason{
			Layer: string(l.Layer.ID), User: userName(l.User), Turn: l.Turn, Verdict: verdicts[l.Verdict], Text: l.String(),
		})
	}
	return m
}
