package admission

// inbox is what is known of the events that wait in one partition. They are
// decided in order, so of those that came through here the oldest go first.
type inbox struct {
	shares Shares
	queue  []ticket // in order; those before head are gone
	head   int
	ours   int // events in the queue
}

// ticket is some events of one sender that were stored together.
type ticket struct {
	from Sender
	n    int
}

func (in *inbox) push(from Sender, n int) {
	in.ours += n
	if last := len(in.queue) - 1; last >= in.head && in.queue[last].from == from {
		in.queue[last].n += n
		return
	}
	in.queue = append(in.queue, ticket{from, n})
}

// trim takes in that length events wait, and calls gone for those of ours that
// cannot be among them. What is not ours came through other instances.
func (in *inbox) trim(length int, gone func(ticket)) {
	for in.ours > length {
		t := &in.queue[in.head]
		n := min(t.n, in.ours-length)
		gone(ticket{t.from, n})
		in.ours -= n
		if t.n -= n; t.n == 0 {
			in.head++
		}
	}
	in.shares.Foreign = length - in.ours
	if in.head > len(in.queue)/2 {
		in.queue = append(in.queue[:0], in.queue[in.head:]...)
		in.head = 0
	}
}
