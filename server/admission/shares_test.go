package admission_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/admission"
)

// fill has the member take one after the other until it is refused.
func fill(s *admission.Shares, group, member string) (n int, why admission.Verdict) {
	for ; ; n++ {
		if why = s.Take(group, member, 1); why != admission.Admitted {
			return n, why
		}
	}
}

func TestSharesOfARoom(t *testing.T) {
	t.Parallel()
	s := &admission.Shares{Room: 900}
	if n, why := fill(s, "shop", "monitor"); n != 300 || why != admission.MemberFull {
		t.Errorf("alone: got %d and %v, want a third and that its share is full", n, why)
	}
	if n, why := fill(s, "shop", "probe"); n < 70 || why != admission.GroupFull && why != admission.MemberFull {
		t.Errorf("a second key of the service: got %d and %v, want a good part of what its service may have", n, why)
	}
	if n, why := fill(s, "search", "monitor of search"); n < 150 || why != admission.MemberFull {
		t.Errorf("another service: got %d and %v, want a third of what was free", n, why)
	}
	alone := &admission.Shares{Room: 900}
	if n, why := fill(alone, "", "10.0.0.1"); n != 450 || why != admission.MemberFull {
		t.Errorf("without a group: got %d and %v, want half and that its share is full", n, why)
	}
	if n, _ := fill(&admission.Shares{Room: 900, Foreign: 600}, "", "10.0.0.1"); n != 150 {
		t.Errorf("with 600 taken by others: got %d, want half of the rest", n)
	}
}

func TestLeastIsEverybodys(t *testing.T) {
	t.Parallel()
	s := &admission.Shares{Room: 100, Least: 5, Reserve: 21 * 5}
	for i := range 20 {
		fill(s, fmt.Sprint("service", i), fmt.Sprint("key", i))
	}
	if n, why := fill(s, "quiet", "quiet"); n < 5 {
		t.Errorf("the last of 21: got %d and %v, want its least", n, why)
	}
	for i := range 100 {
		fill(s, fmt.Sprint("more", i), fmt.Sprint("more", i))
	}
	if why := s.Take("late", "late", 1); why != admission.RoomFull || s.Used() != 205 {
		t.Errorf("when the reserve is used up: got %v with %d held, want that the room is full", why, s.Used())
	}
}

// TestSharesAreFair draws what members take and give, and holds it against what
// the rule promises.
func TestSharesAreFair(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.IntRange(1, 12).Draw(t, "members")
		services := rapid.IntRange(1, members).Draw(t, "services")
		least := rapid.IntRange(0, 20).Draw(t, "least")
		s := &admission.Shares{Room: rapid.IntRange(1, 2000).Draw(t, "room"), Least: least, Reserve: members * least}
		held, sum := make([]int, members), 0
		name := func(m int) (string, string) { return fmt.Sprint("s", m%services), fmt.Sprint("k", m) }
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			m := rapid.IntRange(0, members-1).Draw(t, "member")
			group, member := name(m)
			if n := rapid.IntRange(1, 50).Draw(t, "n"); held[m] > 0 && rapid.Bool().Draw(t, "give") {
				n = min(n, held[m])
				s.Give(group, member, n)
				held[m], sum = held[m]-n, sum-n
			} else if why := s.Take(group, member, n); why == admission.Admitted {
				held[m], sum = held[m]+n, sum+n
			} else if held[m]+n <= least {
				t.Fatalf("%s holds %d of its least of %d and is refused %d more: %v", member, held[m], least, n, why)
			}
			if s.Used() != sum || sum > s.Room+s.Reserve {
				t.Fatalf("%d are held and %d said, of %d and %d", sum, s.Used(), s.Room, s.Reserve)
			}
		}
		// Whoever storms, as soon as it has had its fill there is as much again for
		// who comes next.
		for m := range members {
			group, member := name(m)
			fill(s, group, member)
		}
		free := s.Room - s.Used()
		if n, _ := fill(s, "new", "new"); n < free/3 {
			t.Fatalf("with %d free, who comes next gets %d, want a third", free, n)
		}
	})
}
