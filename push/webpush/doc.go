// Package webpush pushes to browsers, and to web apps on a home screen:
// RFC 8030, with messages encrypted by RFC 8291 and ourselves identified by
// RFC 8292 (VAPID). One [Provider] reaches the push services of all browsers
// and makes one attempt at a time for a [push.Sender], which keeps the services
// apart because the provider is [push.Parted].
//
// A device's Token is the subscription's endpoint, its Keys are the
// subscription's. Endpoints are chosen by whoever registers them, so
// [CheckEndpoint] takes only those of known push services, and no connection
// is ever made to an address inside the house.
//
// A Web Push always shows something: browsers end a subscription whose pushes
// are silent. A heartbeat is therefore refused here, and a clear carries the
// line that takes the page's place.
//
// Everything is safe for concurrent use.
package webpush
