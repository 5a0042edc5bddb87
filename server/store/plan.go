package store

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// plan gathers the guards and the writes of one commit, all in one slot, in the
// form in which commit.lua takes them: MessagePack, which Redis reads faster than
// it does as many arguments.
type plan struct {
	nonce  string
	keys   []string
	guards []byte
	misses []*fault.Error // for each guard: what its miss means
	writes []byte
	count  int // of the writes
	// lasting is how many of the guards are not once.
	lasting int
	once    []byte // guards behind all others that hold the first time only, and not when a failover has lost the commit
	proof   *proof // how to see later that it was carried out; nil: nobody asks
}

func newPlan() *plan { return &plan{nonce: NewNonce()} }

// key returns the index of a key in KEYS, from 1.
func (p *plan) key(k string) int {
	i := slices.Index(p.keys, k)
	if i < 0 {
		i = len(p.keys)
		p.keys = append(p.keys, k)
	}
	return i + 1
}

// guard adds one guard; a and b are texts or bytes. A guard of the kind "take"
// is the last one.
func (p *plan) guard(miss *fault.Error, kind, key string, a, b any) {
	p.guards = msgp.AppendString(p.guards, kind)
	p.guards = msgp.AppendInt(p.guards, p.key(key))
	p.guards = appendArg(appendArg(p.guards, a), b)
	p.misses = append(p.misses, miss)
	p.lasting++
}

// guardOnce adds a guard of what a failover may have set back: the commit is made
// again without it. It comes after all others, and stands with no "take".
func (p *plan) guardOnce(miss *fault.Error, kind, key string, a, b any) {
	before := len(p.guards)
	p.guard(miss, kind, key, a, b)
	p.once = append(p.once, p.guards[before:]...)
	p.guards = p.guards[:before]
	p.lasting--
}

// maxArgs keeps one write within what Lua can unpack.
const maxArgs = 1000

// write adds one command; its key is the first argument that Redis sees.
func (p *plan) write(command, key string, args ...any) {
	p.writes = msgp.AppendArrayHeader(p.writes, uint32(2+len(args))) //nolint:gosec // at most maxArgs
	p.writes = msgp.AppendString(p.writes, command)
	p.writes = msgp.AppendInt(p.writes, p.key(key))
	for _, a := range args {
		p.writes = appendArg(p.writes, a)
	}
	p.count++
}

// writeMany adds a command that takes any number of arguments.
func (p *plan) writeMany(command, key string, args []any) {
	for some := range slices.Chunk(args, maxArgs) {
		p.write(command, key, some...)
	}
}

// appendArg adds what a command is given, which is text to Redis.
func appendArg(b []byte, a any) []byte {
	switch a := a.(type) {
	case string:
		return msgp.AppendString(b, a)
	case []byte:
		return msgp.AppendStringFromBytes(b, a) // Redis knows no other kind
	case int64:
		return msgp.AppendString(b, strconv.FormatInt(a, 10))
	}
	return msgp.AppendString(b, fmt.Sprint(a))
}

// call makes the plan ready for the batcher.
func (p *plan) call(wake Wake) *call {
	decision := p.pack(slices.Concat(p.guards, p.once), len(p.misses))
	size := len(decision)
	for _, k := range p.keys {
		size += len(k)
	}
	c := &call{keys: p.keys, args: []any{decision}, size: size, wake: wake, kept: p.proof != nil, proof: p.proof}
	if c.kept && len(p.once) > 0 {
		c.again = []any{p.pack(p.guards, p.lasting)}
	}
	return c
}

// pack is the decision as the script takes it, with so many guards.
func (p *plan) pack(guards []byte, n int) []byte {
	b := make([]byte, 0, len(guards)+len(p.writes)+48)
	b = msgp.AppendArrayHeader(b, 4)
	b = msgp.AppendInt(b, len(p.keys))
	b = msgp.AppendString(b, p.nonce)
	b = append(msgp.AppendArrayHeader(b, uint32(4*n)), guards...)          //nolint:gosec // some guards
	return append(msgp.AppendArrayHeader(b, uint32(p.count)), p.writes...) //nolint:gosec // some writes
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
