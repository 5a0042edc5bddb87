package directory

import (
	"hash/maphash"
	"iter"
	"maps"
)

// A table has fan × fan pages; a million records make pages of about 250.
const fan = 64

// seed places keys in pages. It is one for the process, because tables share
// pages with the tables that they were made from.
var seed = maphash.MakeSeed() //nolint:gochecknoglobals // constant after start

// table is an immutable map. The zero table is empty. A new one is made by
// edit, which shares with the old one all pages that it did not touch.
type table[K comparable, V any] struct {
	root *[fan]*[fan]map[K]V
	size int
}

func slot[K comparable](key K) (hi, lo int) {
	h := maphash.Comparable(seed, key)
	return int(h % fan), int(h / fan % fan)
}

func (t table[K, V]) get(key K) (V, bool) {
	var none V
	if t.root == nil {
		return none, false
	}
	hi, lo := slot(key)
	if t.root[hi] == nil {
		return none, false
	}
	v, ok := t.root[hi][lo][key]
	return v, ok
}

// all yields every pair, in no order.
func (t table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if t.root == nil {
			return
		}
		for _, branch := range t.root {
			if branch == nil {
				continue
			}
			for _, page := range branch {
				for k, v := range page {
					if !yield(k, v) {
						return
					}
				}
			}
		}
	}
}

// tableEdit changes a table that nobody else sees yet: what it has copied once
// it owns, so loading a million records copies nothing twice.
type tableEdit[K comparable, V any] struct {
	table[K, V]
	rootOwned bool
	branches  [fan]bool
	pages     [fan * fan / 64]uint64 // bit set of owned pages
}

func (t table[K, V]) edit() *tableEdit[K, V] { return &tableEdit[K, V]{table: t} }

// page returns the page of the key, owned and not nil.
func (e *tableEdit[K, V]) page(key K) map[K]V {
	hi, lo := slot(key)
	if !e.rootOwned {
		root := new([fan]*[fan]map[K]V)
		if e.root != nil {
			*root = *e.root
		}
		e.root, e.rootOwned = root, true
	}
	if !e.branches[hi] {
		branch := new([fan]map[K]V)
		if e.root[hi] != nil {
			*branch = *e.root[hi]
		}
		e.root[hi], e.branches[hi] = branch, true
	}
	i := hi*fan + lo
	if e.pages[i/64]&(1<<(i%64)) == 0 {
		e.pages[i/64] |= 1 << (i % 64)
		if e.root[hi][lo] = maps.Clone(e.root[hi][lo]); e.root[hi][lo] == nil {
			e.root[hi][lo] = map[K]V{}
		}
	}
	return e.root[hi][lo]
}

func (e *tableEdit[K, V]) put(key K, v V) {
	page := e.page(key)
	before := len(page)
	page[key] = v
	e.size += len(page) - before
}

func (e *tableEdit[K, V]) remove(key K) {
	if _, ok := e.get(key); !ok {
		return
	}
	delete(e.page(key), key)
	e.size--
}

// done returns the table; the edit must not be used any more.
func (e *tableEdit[K, V]) done() table[K, V] { return e.table }
