// Package admission decides which events an instance takes on, before anything
// is stored of them. An instance that takes on more than it can do is late with
// everything, and the answer of a responder waits behind a monitor in a loop.
//
// What can be held at a time is a room, and rooms are shared: a service may hold
// no more than what is still free, a key of it no more than what is free beside
// its service. One key alone gets a third of a room, two services a quarter each
// at least, and there is always something left for who comes next. What each key
// may hold at the least is its own, whatever the others do.
//
// A [Gate] has three rooms: requests in hand, events that wait to be decided,
// and events that wait in the inbox of one partition. How many wait is known from
// what the store is asked while many do; other instances count by that as well.
//
// No I/O. A Gate is safe for concurrent use.
package admission
