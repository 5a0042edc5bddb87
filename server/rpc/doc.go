// Package rpc is the API: the services of tocsin.v1 over the use cases of
// respond and directory, behind one chain of interceptors.
//
// A call gets its request id and its caller, is held against the permission
// table, the limits and the rules of its message, is carried out, and leaves
// as an answer or as a status with google.rpc details. Services translate: what
// the API says to what the domain means, and back. They decide nothing that the
// domain decides.
//
// A [Server] is safe for concurrent use. Streams end when [Server.Drain] is
// called, with a status that asks the caller to come back.
package rpc
