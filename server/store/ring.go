package store

import (
	"sync"
	"time"
)

// keptExtra is what one kept write takes beside the bytes that are sent: slices,
// boxes, ids. Measured: half a kilobyte.
const keptExtra = 512

// ringKept is how long what was acknowledged is remembered: longer than any
// replica that is fit to be promoted lags behind.
const ringKept = time.Minute

// proof says by which record it can be seen that a commit survived.
type proof struct {
	key, field string // a string, or a field of a hash: begins with a revision and a nonce
	revision   uint64 // that the commit gave it
	nonce      string
	gone       bool   // it deleted the record, which was at revision
	request    string // key of the answer that it keeps; "": none
	told       bool   // somebody was told that it is done, and nothing decides it anew by itself
	what       string // for the log
}

// kept is one acknowledged write.
type kept struct {
	keys  []string
	args  []any
	wake  Wake
	size  int
	at    time.Time
	since time.Time // when it was found to wait for what it builds on
	proof *proof    // of a commit
	ids   []string  // in the inbox, of an append; "" for an event that was left out
	n     uint64    // names it among those of this instance
}

// ring holds what this instance had acknowledged lately, in the order of the
// answers. The oldest goes when it is old, or too much is held.
type ring struct {
	most int // bytes; 0: nothing is kept

	mu    sync.Mutex
	list  []*kept // from first on
	first int
	held  int
	n     uint64
}

// add takes in the calls of a batch that were acknowledged.
func (r *ring) add(now time.Time, calls []*call) {
	if r.most == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range calls {
		if !c.kept || c.err != nil || (c.proof == nil && c.short) {
			continue // an event that no replica has was refused
		}
		ids, carried := acknowledged(c)
		if !carried {
			continue
		}
		args := c.args
		if c.again != nil {
			args = c.again
		}
		r.n++
		size := c.size + keptExtra
		r.held += size
		r.list = append(r.list, &kept{
			keys: c.keys, args: args, wake: c.wake, size: size, at: now, proof: c.proof, ids: ids, n: r.n,
		})
	}
	for r.first < len(r.list) && (r.held > r.most || now.Sub(r.list[r.first].at) > ringKept) {
		r.held -= r.list[r.first].size
		r.list[r.first] = nil
		r.first++
	}
	if r.first > len(r.list)/2 {
		r.list = append(r.list[:0], r.list[r.first:]...)
		clear(r.list[len(r.list):cap(r.list)])
		r.first = 0
	}
}

// acknowledged reports whether the script did what was asked, and under which ids.
func acknowledged(c *call) (ids []string, ok bool) {
	list, ok := c.reply.([]any)
	if !ok || len(list) == 0 {
		return nil, false
	}
	if c.proof != nil {
		return nil, list[0] == int64(codeCommitted) || list[0] == int64(codeRepeated)
	}
	if c.first() != nil {
		list = list[:1]
	}
	return texts(list), true
}

func texts(list []any) []string {
	ids := make([]string, len(list))
	for i, v := range list {
		ids[i], _ = v.(string)
	}
	return ids
}

// all returns what is held, in order.
func (r *ring) all() []*kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*kept(nil), r.list[r.first:]...)
}
