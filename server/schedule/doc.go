// Package schedule says whose turn it is.
//
// A [Schedule] is layers of rotations, overrides and shadows. At most one
// person is on call at an instant: the user of the newest override that covers
// it, else the one of the highest layer that has somebody then, else nobody (a
// gap). A [Resolver], compiled from a schedule once, answers every question
// about it: who at an instant ([Resolver.At]), over a window
// ([Resolver.Render]), when somebody's turn comes ([Resolver.Next]), and why
// ([Resolver.Explain]). Whose turn it is follows from the schedule alone in
// closed form; nothing advances, so that a preview is what will be.
//
// Hand-offs and the edges of restrictions are civil times in the zone of their
// layer, turned into instants by the rule of package civil: 09:00 stays 09:00
// over a change of clocks. Overrides, shadows, requests for cover and the
// start and end of layers are instants.
//
// The past does not change. [Edit] keeps what layers were before, and a
// question about last month is answered from that, for [Kept].
//
// Pure: no clock, no I/O, no goroutines. A Resolver may be used by many.
package schedule
