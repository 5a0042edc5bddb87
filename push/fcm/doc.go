// Package fcm hands messages to Firebase Cloud Messaging, by its HTTP v1 API.
//
// A [Provider] serves one Firebase project. Messages are data only: the app's
// own code must run, to ring through Do Not Disturb, to send the receipt and
// to offer the actions. High priority is kept for what a person will see,
// because Google lowers the priority of apps that use it for anything else.
//
//   - https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
//   - https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
//   - https://firebase.google.com/docs/cloud-messaging/android/message-priority
//
// An attempt goes through firebase-admin-go's messaging.Client.Send, over a
// transport of ours that keeps its retries off: one call is one request, and
// trying again is the sender's. What of the SDK is not used, and why, is in
// docs/adr/0007.
package fcm
