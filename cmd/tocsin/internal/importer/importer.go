package importer

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
)

// File is one answer of the other system, as it lies on disk. Some answers do
// not say what they belong to; their names do.
type File struct {
	Name string // without folder and extension
	Text []byte
}

// Window is the time that both sides are compared over: [From, To).
type Window struct{ From, To time.Time }

// Import is what was made of an export.
type Import struct {
	Source    string // as people call it: PagerDuty
	Document  directory.Document
	Schedules []Schedule
	Notes     []Note
}

// Schedule is a schedule of the source, and where it went.
type Schedule struct {
	ID    string // in the source
	Name  string
	Here  []string // ids of our schedules; several when it has several holders at once
	There []Shift  // by the source's rules, people by their ids here; may overlap
	Shown []Shift  // as the source itself rendered it, if the export has that

	// Unsure says why There may not be all that the source has; empty: it is.
	Unsure string
}

// Shift is one person's time on call, as the source has it.
type Shift struct {
	Start, End time.Time // [Start, End)
	User       string
}

// Note is something that could not be carried over as it was.
type Note struct {
	About string // "schedule Primary (PI7DH85)"
	What  string // what is left behind, or differs
	Do    string // what to do about it
}

// Note tells of something that could not be carried over, once.
func (im *Import) Note(about, what, do string) {
	if n := (Note{about, what, do}); !slices.Contains(im.Notes, n) {
		im.Notes = append(im.Notes, n)
	}
}
