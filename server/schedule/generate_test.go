package schedule

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

//go:embed testdata/zones.txt
var zoneNames string

// allZones are the names of the IANA database that comes with Go.
func allZones() []string { return strings.Fields(zoneNames) }

func TestAllZonesAreKnown(t *testing.T) {
	if n := len(allZones()); n < 590 {
		t.Errorf("testdata/zones.txt has %d names", n)
	}
	for _, name := range allZones() {
		if _, ok := zones(name); !ok {
			t.Errorf("%s is not known", name)
		}
	}
}

// odd are zones with something unusual: changes by half an hour, by two, at
// midnight, over Ramadan, none at all.
var odd = []string{
	"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "America/Santiago", "Africa/Cairo",
	"Africa/Casablanca", "Asia/Gaza", "Asia/Beirut", "Pacific/Auckland", "Pacific/Chatham", "Asia/Kathmandu", "America/Havana", "Atlantic/Azores",
}

func drawZone(t *rapid.T) string {
	if rapid.IntRange(0, 2).Draw(t, "any zone") == 0 {
		return rapid.SampledFrom(allZones()).Draw(t, "zone")
	}
	return rapid.SampledFrom(odd).Draw(t, "zone")
}

// drawInstant is a whole minute of 2024 to 2030, two times in three within two
// days of a change of the zone's clocks.
func drawInstant(t *rapid.T, loc *time.Location) time.Time {
	at := time.Unix(rapid.Int64Range(1_704_067_200, 1_893_456_000).Draw(t, "at")/60*60, 0).UTC()
	if _, end := at.In(loc).ZoneBounds(); !end.IsZero() && end.Year() < 2031 && rapid.IntRange(0, 2).Draw(t, "near a change") > 0 {
		at = end.Add(time.Duration(rapid.IntRange(-2880, 2880).Draw(t, "minutes from it")) * time.Minute)
	}
	return at.UTC()
}

func drawUser(t *rapid.T) roster.UserID {
	return rapid.SampledFrom(people("ABCDE.")).Draw(t, "user")
}

func drawRotation(t *rapid.T, near civil.Time) Rotation {
	unit := rapid.SampledFrom([]Unit{Hours, Days, Weeks, Months}).Draw(t, "unit")
	length := rapid.IntRange(1, 3).Draw(t, "length")
	if unit == Hours {
		length = rapid.SampledFrom([]int{1, 2, 5, 8, 12, 25}).Draw(t, "hours")
	}
	anchor := near.Add(60 * int64(rapid.IntRange(-90*1440, 30*1440).Draw(t, "anchor")))
	if rapid.Bool().Draw(t, "half hours") {
		anchor.Clock = anchor.Clock.Truncate(30 * time.Minute)
	}
	return Rotation{unit, length, anchor}
}

func drawRestriction(t *rapid.T) Restriction {
	r := Restriction{Weekday: rapid.IntRange(0, 7).Draw(t, "weekday")}
	r.Start = time.Duration(rapid.IntRange(0, 47).Draw(t, "start")) * 30 * time.Minute
	longest := 1440
	if r.Weekday != 0 {
		longest = 7 * 1440
	}
	r.Length = time.Duration(rapid.IntRange(1, longest/15).Draw(t, "quarters")) * 15 * time.Minute
	return r
}

func drawLayer(t *rapid.T, i int, now time.Time, zone string) Layer {
	loc, _ := zones(zone)
	l := Layer{
		ID: LayerID(fmt.Sprintf("l%d", i)), Priority: rapid.IntRange(0, 3).Draw(t, "priority"),
		Rotation:     drawRotation(t, civil.Show(now, loc)),
		Participants: rapid.SliceOfN(rapid.Custom(drawUser), 1, 6).Draw(t, "participants"),
		Offset:       rapid.IntRange(0, 5).Draw(t, "offset"),
		Restrictions: rapid.SliceOfN(rapid.Custom(drawRestriction), 0, 3).Draw(t, "restrictions"),
	}
	if l.Participants[0] == "" {
		l.Participants[0] = "F"
	}
	if rapid.IntRange(0, 3).Draw(t, "own zone") == 0 {
		l.Zone = drawZone(t)
	}
	if rapid.IntRange(0, 3).Draw(t, "starts") == 0 {
		l.Start = now.Add(time.Duration(rapid.IntRange(-10000, 5000).Draw(t, "start")) * time.Minute)
	}
	if rapid.IntRange(0, 3).Draw(t, "ends") == 0 {
		l.End = later(l.Start, now).Add(time.Duration(rapid.IntRange(1, 10000).Draw(t, "end")) * time.Minute)
	}
	if rapid.IntRange(0, 2).Draw(t, "trains") == 0 {
		n := rapid.IntRange(1, len(l.Participants)).Draw(t, "trainees")
		l.Trainees = Trainees{Users: people("UVWXYZ")[:n], Mode: rapid.SampledFrom([]Mode{Observe, Practise, Duty}).Draw(t, "mode")}
	}
	return l
}

func drawOverride(t *rapid.T, id string, now time.Time) Override {
	start := now.Add(time.Duration(rapid.IntRange(-6000, 10000).Draw(t, "start")) * time.Minute)
	return Override{
		ID: OverrideID(id), User: rapid.SampledFrom(people("ABU.")).Draw(t, "user"), Start: start,
		End:       start.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "length")) * time.Minute),
		CreatedAt: now.Add(time.Duration(rapid.IntRange(-20000, -10000).Draw(t, "created")) * time.Minute),
	}
}

// drawSchedule draws one around an instant: up to 5 layers, 3 restrictions each, 8 overrides.
func drawSchedule(t *rapid.T) (Schedule, time.Time) {
	s := Schedule{ID: "s", Name: "Shop", Zone: drawZone(t)}
	loc, _ := zones(s.Zone)
	now := drawInstant(t, loc)
	for i := range rapid.IntRange(0, 5).Draw(t, "layers") {
		s.Layers = append(s.Layers, drawLayer(t, i, now, s.Zone))
	}
	for i := range rapid.IntRange(0, 8).Draw(t, "overrides") {
		s.Overrides = append(s.Overrides, drawOverride(t, fmt.Sprintf("o%d", i), now))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "shadows") {
		s.Shadows = append(s.Shadows, Shadow{
			ID: ShadowID(fmt.Sprintf("w%d", i)), User: people("XY")[i], Person: drawUser(t), Mode: Observe,
			Start: now.Add(time.Duration(rapid.IntRange(-5000, 5000).Draw(t, "shadow")) * time.Minute),
		})
	}
	return s, now
}

// known remembers zones: the tests ask for the same ones thousands of times.
var known sync.Map

func zones(name string) (*time.Location, bool) {
	if l, ok := known.Load(name); ok {
		return l.(*time.Location), true
	}
	l, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, false
	}
	known.Store(name, l)
	return l, true
}
