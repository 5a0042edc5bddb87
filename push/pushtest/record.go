package pushtest

import "sync"

// tape records requests: the newest ones, when there are more than it keeps.
type tape struct {
	mu    sync.Mutex
	limit int
	ring  []Request
	head  int // where the oldest one is, once the ring is full
	count int // since reset
	total int
	tell  func(Request)
	news  chan struct{} // closed at the next request; nil while nobody waits
}

func (t *tape) record(r Request) {
	t.mu.Lock()
	t.count++
	t.total++
	r.Number = t.total
	switch {
	case t.limit <= 0:
	case len(t.ring) < t.limit:
		t.ring = append(t.ring, r)
	default:
		t.ring[t.head] = r
		t.head = (t.head + 1) % t.limit
	}
	if t.news != nil {
		close(t.news)
		t.news = nil
	}
	t.mu.Unlock()
	if t.tell != nil {
		t.tell(r)
	}
}

func (t *tape) all() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list()
}

// list is what is kept, oldest first; the caller holds the lock.
func (t *tape) list() []Request {
	return append(append([]Request(nil), t.ring[t.head:]...), t.ring[:t.head]...)
}

// since returns at most limit of the requests after number, oldest first. When
// there is none, wait is closed at the next one.
func (t *tape) since(number, limit int) (after []Request, wait <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.list()
	for i, r := range all {
		if r.Number > number {
			return all[i:min(len(all), i+limit)], nil
		}
	}
	if t.news == nil {
		t.news = make(chan struct{})
	}
	return nil, t.news
}

func (t *tape) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

func (t *tape) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring, t.head, t.count = nil, 0, 0
}
