// Package redisd runs a private redis-server for an installation that has no Redis of its own.
//
// The server is a child process on a Unix socket inside a data directory.
// It is deliberately not tied to the life of its parent: it has its own
// session, logs to a file, and keeps running when tocsin is killed, so that
// the next start adopts it within milliseconds instead of replaying the
// append-only file. Two servers on one append-only file would interleave
// silently; a lock on the directory, held as long as the process that
// supervises lives, and the check for a live child before every start make
// that impossible.
//
//	srv, err := redisd.Start(ctx, redisd.Options{Dir: dir, Log: log})
//	if err != nil { ... }
//	defer srv.Stop(stopCtx)       // orderly: the data is on disk, the child is gone
//	go srv.Run(ctx)               // restarts a child that died, until ctx ends
//	client := redis.NewClient(&redis.Options{Network: "unix", Addr: srv.Socket()})
//
// [Copy] copies what a server has while it runs, and [Load] starts one on such a copy.
//
// It does not restart a server that hangs, it does not upgrade one in place,
// and it runs on systems with flock and Unix sockets only.
package redisd
