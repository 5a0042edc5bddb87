package admission

// Shares divide a room among members, who belong to groups. The zero Shares
// have no room; set the fields first.
type Shares struct {
	// Room is what all may hold together, beside Reserve.
	Room int
	// Least is what each member may hold whatever the others do, as long as
	// Room and Reserve are not used up.
	Least   int
	Reserve int
	// Foreign is what is taken of the room by others than its members.
	Foreign int

	used    int
	groups  map[string]int
	members map[string]int
}

// Verdict is why somebody may take something, or not.
type Verdict int

// The verdicts.
const (
	Admitted   Verdict = iota
	MemberFull         // the member holds its share
	GroupFull          // its group does
	RoomFull           // nothing is left for anybody
)

// Take has the member hold n more, if it may. Without a group the member
// stands for itself.
//
// The share is what is free, so it shrinks as more come: the rule of dynamic
// thresholds by which switches share their memory among ports (Choudhury and
// Hahne, 1998).
func (s *Shares) Take(group, member string, n int) Verdict {
	v := s.May(group, member, n)
	if v != Admitted {
		return v
	}
	if s.members == nil {
		s.groups, s.members = map[string]int{}, map[string]int{}
	}
	s.used += n
	s.members[member] += n
	if group != "" {
		s.groups[group] += n
	}
	return Admitted
}

// May says what Take would.
func (s *Shares) May(group, member string, n int) Verdict {
	free, of, mine := s.Room-s.used-s.Foreign, s.groups[group], s.members[member]
	switch {
	case n > free+s.Reserve:
		return RoomFull
	case mine+n <= s.Least:
		return Admitted
	case of > mine && of+n > free:
		return GroupFull
	case mine+n > free-of:
		return MemberFull
	}
	return Admitted
}

// Give takes n back from the member.
func (s *Shares) Give(group, member string, n int) {
	s.used -= n
	less(s.members, member, n)
	if group != "" {
		less(s.groups, group, n)
	}
}

// Used is what is held.
func (s *Shares) Used() int { return s.used }

// less takes n off a count, and forgets who has nothing.
func less(counts map[string]int, name string, n int) {
	if counts[name] -= n; counts[name] <= 0 {
		delete(counts, name)
	}
}
