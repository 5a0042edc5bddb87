// Package redisset is the redis-servers of a run: a single one, a master with
// replicas under a Sentinel, or a cluster of masters with a replica each. Each
// server is a process on a machine of its own (package machine), and in the sets
// each is reached through a cable, by clients, by its replicas and by those who
// watch over it: it can be killed, stopped, cut off, and be without power.
//
// Who is master is asked of the servers themselves, over sockets that no fault
// cuts. A Set is for one goroutine at a time, but for its Client.
package redisset
