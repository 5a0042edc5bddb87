package store

import (
	"slices"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// plan gathers the guards and the writes of one commit, all in one slot.
type plan struct {
	nonce  string
	keys   []string
	index  map[string]int
	guards []any
	misses []*fault.Error // for each guard: what its miss means
	writes []any
	size   int
	proof  *proof // how to see later that it was carried out; nil: nobody asks
}

func newPlan() *plan { return &plan{nonce: newNonce(), index: map[string]int{}} }

// key returns the index of a key in KEYS, from 1.
func (p *plan) key(k string) int {
	i, ok := p.index[k]
	if !ok {
		p.keys = append(p.keys, k)
		i = len(p.keys)
		p.index[k] = i
		p.size += len(k)
	}
	return i
}

func (p *plan) guard(miss *fault.Error, kind, key string, a, b any) {
	p.guards = append(p.guards, kind, p.key(key), a, b)
	p.misses = append(p.misses, miss)
}

// maxArgs keeps one write within what Lua can unpack.
const maxArgs = 1000

// write adds one command; its key is the first argument that Redis sees.
func (p *plan) write(command, key string, args ...any) {
	p.writes = append(p.writes, command, p.key(key), len(args))
	p.writes = append(p.writes, args...)
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			p.size += len(a)
		case string:
			p.size += len(a)
		default:
			p.size += 8
		}
	}
}

// writeMany adds a command that takes any number of arguments.
func (p *plan) writeMany(command, key string, args []any) {
	for some := range slices.Chunk(args, maxArgs) {
		p.write(command, key, some...)
	}
}

// call makes the plan ready for the batcher.
func (p *plan) call(wake Wake) *call {
	args := make([]any, 0, 2+len(p.guards)+len(p.writes))
	args = append(args, p.nonce, len(p.misses))
	args = append(args, p.guards...)
	args = append(args, p.writes...)
	return &call{keys: p.keys, args: args, size: p.size + 16*len(args), wake: wake, kept: p.proof != nil, proof: p.proof}
}

// The results of commit.lua.
const (
	codeMissed    = 0
	codeCommitted = 1
	codeRepeated  = 2
	codeArchived  = 3
)

// verdict is what commit.lua said.
type verdict struct {
	code  int64
	ids   []string     // of the stream entries, in the order of their writes
	guard *fault.Error // the miss, for codeMissed
}

// read understands the reply to the plan's call.
func (p *plan) read(reply any) (verdict, error) {
	list, ok := reply.([]any)
	if !ok || len(list) == 0 {
		return verdict{}, fault.New(fault.Internal, "COMMIT_REPLY", "the commit script answered something else")
	}
	code, _ := list[0].(int64)
	v := verdict{code: code}
	if code == codeCommitted {
		for _, id := range list[1:] {
			text, _ := id.(string)
			v.ids = append(v.ids, text)
		}
		return v, nil
	}
	if len(list) > 1 && code == codeMissed {
		if k, _ := list[1].(int64); k >= 1 && int(k) <= len(p.misses) {
			v.guard = p.misses[k-1]
		}
	}
	return v, nil
}
