// Package store is the only package that knows Redis. It keeps documents (an
// incident, a person), the records beside them, the streams between the parts
// of the server, the configuration log and the leases, and it makes a decision
// durable: [Store.Commit] writes everything of one decision or nothing of it.
//
// The rules of the domain are elsewhere. A commit names what it was decided on
// (the revision of the document, the dedup keys, the inbox entries) and is
// refused with a fault.Conflict when any of that has moved; the caller reads
// again and decides again. There are no locks.
//
// State is divided into 64 partitions, each in one hash slot, so that one script
// can touch all that a document needs; the same keys work on one server, behind
// Sentinel and in a cluster. A [Store] may be used by any number of goroutines.
// Commits and appends of many goroutines travel together: a batch is whatever
// queued while the previous one was in flight, and one execution of a script
// carries several of them out, each whole or not at all.
//
// Errors are faults: Conflict when a guard missed, NotFound, Exhausted when an
// inbox is full, Unavailable when Redis is out or its answer did not come, in
// which case a write may or may not have happened, and can be repeated.
package store
