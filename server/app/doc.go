// Package app puts the parts of the server together: it builds them, starts
// them from the bottom up and stops them in reverse.
//
//	err := app.Run(ctx, app.Options{Config: cfg, Version: version, Log: log})
//
// Run returns when ctx has ended and everything has come to rest: no request
// is taken any more, the partitions are given back, what was under way is done
// or left in the store for the next owner, and the private Redis is down.
//
// What is in here beside that is what belongs to one process and to no part:
// the clock that all instances agree on, the files of certificates and push
// keys, readiness, housekeeping, the calls that leave when all else fails. The
// adapters between parts are one small type each.
package app
