// Package notify carries out what a decision asks to be done outside: it turns
// a contact step into messages to the devices and addresses of one person,
// sends them until they are accepted, refused or too late, takes the phones'
// receipts, and makes the cards on all phones go quiet when somebody has acted.
//
// Who is paged was decided before, in package incident; how loudly, in package
// attention. Between the decision and the provider stands one last look: a page
// begins only by [Ledger.BeginSend], which refuses it once the incident has
// moved on, so that nothing new rings after an acknowledgement.
//
// Work is done at least once. A delivery's id is made of the work item and the
// device, so what is done twice is one card on the phone.
//
// A Notifier is safe for concurrent use. Push, mail and webhooks are kept
// apart: trouble with one never delays another.
package notify
