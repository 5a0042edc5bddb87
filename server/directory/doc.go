// Package directory is all configuration in memory: people, teams, services,
// integrations, policies, tokens, devices and settings.
//
// [Directory] loads the configuration from a [Log], follows its changes without
// a gap, and publishes immutable snapshots through an atomic pointer: a reader
// takes one with [Directory.Snapshot] and sees one world for as long as it
// wants, without a lock. A change of one record copies one page of one table,
// whatever the number of records. An encrypted copy on disk, a few seconds old,
// lets a server start and page while Redis is slow.
//
// Configuration is changed by [Directory.Change] only. It runs an edit on a
// snapshot, holds the result against every rule (limits, references,
// uniqueness, policies that page nobody), and applies it as a whole or not at
// all, together with its audit records. [File] is the same configuration as
// YAML, for `tocsin apply` and `tocsin export`.
//
// Snapshot implements incident.View except for Turn and Silent, and auth.Book. All types
// are safe for concurrent use, except [Edit], which belongs to one change.
package directory
