package harm

import (
	"reflect"
	"slices"
	"testing"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
)

// TestScheduleFollowsFromItsSeed: the same night can be played again, and
// every kind comes before one comes twice.
func TestScheduleFollowsFromItsSeed(t *testing.T) {
	draw := func(seed uint64) []Harm {
		s := New(seed, All(redisset.Cluster), 3)
		var all []Harm
		for range 2 * len(All(redisset.Cluster)) {
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
	for _, k := range All(redisset.Cluster) {
		if !slices.ContainsFunc(one[:len(All(redisset.Cluster))], func(h Harm) bool { return h.Kind == k }) {
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
		{"all", All(redisset.Cluster), true},
		{"none", nil, true},
		{"kill-redis,cut-power", []Kind{KillRedis, CutPower}, true},
		{"all,-cut-power", slices.DeleteFunc(All(redisset.Cluster), func(k Kind) bool { return k == CutPower }), true},
		{"-cut-power", slices.DeleteFunc(All(redisset.Cluster), func(k Kind) bool { return k == CutPower }), true},
		{"earthquake", nil, false},
		{"cut-redis", nil, false}, // of a cluster
	} {
		got, err := Parse(c.list, redisset.Cluster)
		if (err == nil) != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%q: %v (%v), want %v", c.list, got, err, c.want)
		}
	}
}
