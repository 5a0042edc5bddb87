// Package importer brings the configuration of other on-call systems into our
// YAML document, and proves it: who is on call over the next days is computed a
// second time by the rules of the other system, and held against what our
// schedules say. What differs, and what has no place here, is told line by line.
//
// Each source has a package of its own, which reads answers of that system's
// API and renders its schedules by its rules, with nothing of package schedule.
// Here is what they share: ids and names, the laying of several holders into
// schedules that have one each, the comparison, and the report.
//
// Pure: bytes and instants come in, a document and a report go out.
package importer
