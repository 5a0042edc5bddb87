// Package apns hands messages to the Apple Push Notification service.
//
// A [Provider] serves one app in one environment: it builds the payload from
// a push.Message, signs provider tokens, keeps its own small pool of HTTP/2
// connections and makes one attempt at a time over them, each of which ends
// in a push.Outcome by one table ([Classify]). Retries are the sender's.
//
// The rules are Apple's:
//   - https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
//   - https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
//   - https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
//
// The single request of an attempt is made by github.com/sideshow/apns2; what
// of it is not used, and why, is in docs/adr/0007.
package apns
