package harm

import (
	"reflect"
	"slices"
	"testing"
)

// TestScheduleFollowsFromItsSeed: the same night can be played again, and
// every kind comes before one comes twice.
func TestScheduleFollowsFromItsSeed(t *testing.T) {
	draw := func(seed uint64) []Harm {
		s := New(seed, All(), 3)
		var all []Harm
		for range 2 * len(All()) {
			h, ok := s.Next()
			if !ok {
				t.Fatal("the schedule ended")
			}
			all = append(all, h)
		}
		return all
	}
	one := draw(1)
	if !reflect.DeepEqual(one, draw(1)) {
		t.Error("a seed gives two schedules")
	}
	if reflect.DeepEqual(one, draw(2)) {
		t.Error("two seeds give one schedule")
	}
	for _, k := range All() {
		if !slices.ContainsFunc(one[:len(All())], func(h Harm) bool { return h.Kind == k }) {
			t.Errorf("%s does not come in the first round", k)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		list string
		want []Kind
		ok   bool
	}{
		{"all", All(), true},
		{"none", nil, true},
		{"kill-redis,cut-power", []Kind{KillRedis, CutPower}, true},
		{"all,-cut-power", slices.DeleteFunc(All(), func(k Kind) bool { return k == CutPower }), true},
		{"-cut-power", slices.DeleteFunc(All(), func(k Kind) bool { return k == CutPower }), true},
		{"earthquake", nil, false},
	} {
		got, err := Parse(c.list)
		if (err == nil) != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%q: %v (%v), want %v", c.list, got, err, c.want)
		}
	}
}
