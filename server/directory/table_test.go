package directory

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func collect[K comparable, V any](t table[K, V]) map[K]V { return maps.Collect(t.all()) }

// A table is a map, and making one out of another leaves that one as it was.
func TestTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now table[string, int]
		model := map[string]int{}
		type past struct {
			t table[string, int]
			m map[string]int
		}
		var history []past
		for range rapid.IntRange(0, 20).Draw(t, "edits") {
			history = append(history, past{now, maps.Clone(model)})
			e := now.edit()
			for range rapid.IntRange(0, 30).Draw(t, "changes") {
				key := strconv.Itoa(rapid.IntRange(0, 60).Draw(t, "key"))
				if v := rapid.IntRange(-3, 9).Draw(t, "value"); v < 0 {
					e.remove(key)
					delete(model, key)
				} else {
					e.put(key, v)
					model[key] = v
				}
			}
			now = e.done()
			history = append(history, past{now, maps.Clone(model)})
		}
		for i, h := range history {
			if got := collect(h.t); !maps.Equal(got, h.m) || h.t.size != len(h.m) {
				t.Fatalf("table %d has %v (size %d), want %v", i, got, h.t.size, h.m)
			}
			for k, v := range h.m {
				if got, ok := h.t.get(k); !ok || got != v {
					t.Fatalf("table %d: %s is %d, %v; want %d", i, k, got, ok, v)
				}
			}
		}
	})
}

func TestSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s set
		model := map[string]bool{}
		for range rapid.IntRange(0, 200).Draw(t, "changes") {
			before, had := s, maps.Clone(model)
			id := strconv.Itoa(rapid.IntRange(0, 50).Draw(t, "id"))
			if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				s = s.without(id)
				delete(model, id)
			} else {
				s = s.with(id)
				model[id] = true
			}
			for _, c := range []struct {
				s set
				m map[string]bool
			}{{before, had}, {s, model}} {
				got, want := slices.Sorted(c.s.all()), slices.Sorted(maps.Keys(c.m))
				if !slices.Equal(got, want) || c.s.size() != len(want) {
					t.Fatalf("set is %v (size %d), want %v", got, c.s.size(), want)
				}
			}
		}
	})
}

// One change of a large table copies little: the bar is what a change may
// allocate next to a million records.
func BenchmarkTableChange(b *testing.B) {
	e := table[string, int]{}.edit()
	for i := range 1_000_000 {
		e.put(strconv.Itoa(i), i)
	}
	t := e.done()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := t.edit()
		e.put(strconv.Itoa(i%1_000_000), i)
		t = e.done()
	}
}
