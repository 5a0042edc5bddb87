// Package ingest turns what monitors send into events: bytes to event.Event,
// one file per source, and the HTTP handler in front of them.
//
// A mapper is a pure function of one [Request]: no clock, no network, no
// store, so that each is tested with files and fuzzed. Two rules hold for all:
//
//   - A page is never lost to a mapping failure. JSON from a known key that a
//     mapper cannot read becomes one event with the key "unreadable", which
//     wakes somebody; only broken JSON, a wrong key and too large a body are
//     refused. The doors of foreign dialects (Events v2) refuse what their
//     original refuses, because their senders were built against that.
//   - A key is made of identifiers, never of text: a resolve has to find what
//     its trigger opened.
//
// [Handler] answers 202 only after its [Acceptor] has said that the events are
// durable. It is safe for concurrent use and starts no goroutine.
//
// A new source is a file with its mapper and a line in the table of source.go.
package ingest
