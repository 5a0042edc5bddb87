// Package push brings pages to phones, and says what became of each.
//
// A [Message] is what a phone shall show, in our own terms; a [Device] is one
// phone; a [Provider] (push/apns, push/fcm) makes exactly one attempt to hand
// one message to one phone's push service and never retries. The [Sender]
// stands above the providers and owns everything that takes time: queues in
// which pages overtake information, retries to a deadline, breakers, budgets,
// hot reload, shutdown. It ends each [Delivery] with one [Result].
//
//	sender := push.NewSender(push.Options{Log: log, Registerer: registry})
//	err := sender.SetApps([]push.App{{ID: "oncall-ios", Provider: "apns", Environment: push.Production, Via: apple}})
//	result := sender.Send(ctx, push.Delivery{Message: page, Device: phone, Begin: stillNeeded})
//	switch result.End {
//	case push.EndAccepted: // the service has it; only a receipt says that the phone has
//	case push.EndRejected, push.EndProviderDown: // another way of reaching the person, now
//	}
//
// Accepted is never delivered: that word belongs to a receipt from the phone,
// which this package does not see.
//
// Everything exported is safe for concurrent use unless it says otherwise.
// Trouble with one app (a provider, an app, an environment) never delays
// another: each has its own queue, cap in flight, breaker, budget and limiter.
//
// Not here: who is to be told, how often a phone may sound, what a receipt
// means, and the record of deliveries. Those are the caller's.
package push
