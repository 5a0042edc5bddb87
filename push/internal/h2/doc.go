// Package h2 keeps a few HTTP/2 connections to one push service and hands out
// places on them: with a cap in flight that grows with success, urgent callers
// first, dead peers found by pings, and no storm of connections when a burst
// meets a cold start.
package h2
