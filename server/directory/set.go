package directory

import (
	"iter"
	"slices"
)

// smallSet is how many members a set keeps in a slice. Most have a few (the
// integrations of a service); a policy may have every service of a company.
const smallSet = 32

// set is an immutable set of ids. The zero set is empty.
type set struct {
	small []string // sorted
	big   *table[string, struct{}]
}

func (s set) size() int {
	if s.big != nil {
		return s.big.size
	}
	return len(s.small)
}

func (s set) with(id string) set {
	if s.big != nil {
		e := s.big.edit()
		e.put(id, struct{}{})
		t := e.done()
		return set{big: &t}
	}
	i, found := slices.BinarySearch(s.small, id)
	if found {
		return s
	}
	if len(s.small) < smallSet {
		return set{small: slices.Insert(slices.Clone(s.small), i, id)}
	}
	e := table[string, struct{}]{}.edit()
	for _, old := range s.small {
		e.put(old, struct{}{})
	}
	e.put(id, struct{}{})
	t := e.done()
	return set{big: &t}
}

func (s set) without(id string) set {
	if s.big != nil {
		e := s.big.edit()
		e.remove(id)
		t := e.done()
		if t.size > smallSet/2 {
			return set{big: &t}
		}
		var small []string
		for id := range t.all() {
			small = append(small, id)
		}
		slices.Sort(small)
		return set{small: small}
	}
	i, found := slices.BinarySearch(s.small, id)
	if !found {
		return s
	}
	return set{small: slices.Delete(slices.Clone(s.small), i, i+1)}
}

// all yields the members, sorted while there are few.
func (s set) all() iter.Seq[string] {
	return func(yield func(string) bool) {
		if s.big == nil {
			for _, id := range s.small {
				if !yield(id) {
					return
				}
			}
			return
		}
		for id := range s.big.all() {
			if !yield(id) {
				return
			}
		}
	}
}
