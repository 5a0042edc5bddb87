// Package pushtest stands in for Apple's and Google's push services and those
// of browsers, and for the phones behind them, so that a whole paging system runs end to end on
// one machine without any vendor account.
//
// [NewAPNs], [NewFCM] and [NewWebPush] start simulators that speak the real
// protocols over HTTP/2 and TLS on loopback: they check provider tokens,
// headers, sizes, OAuth and VAPID as the services do, open what is encrypted, answer with the services' own words, and can be
// told to be slow, to refuse, to fall silent, to reset streams, to say GOAWAY
// and to die in mid-request. Every request is recorded with its arrival time.
//
//	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{})
//	defer apple.Close()
//	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "Ann's iPhone", OnPush: func(n pushtest.Notification) { ... }})
//	defer phone.Close()
//	token := apple.Register(phone, "com.example.oncall")
//	provider, err := apns.New(apns.Config{
//		App: "oncall-ios", BundleID: "com.example.oncall", TeamID: "TEAM000001", KeyID: "KEY0000001",
//		Key:          apple.NewKey("TEAM000001", "KEY0000001"),
//		TestEndpoint: &apns.TestEndpoint{URL: apple.URL(), CA: apple.CA()},
//	})
//	apple.Script(token, pushtest.Reject(503, "ServiceUnavailable"), pushtest.Accept())
//
// A [Phone] shows what a phone would: it merges notifications by collapse id,
// keeps one stored page per app while offline, drops what is too late, marks
// what is stale or a duplicate. Its [Behaviour] can be changed while it runs:
// offline, Doze, Do Not Disturb, notifications off, the app not run. What it
// got is told by a callback; with an [Agent] it reports receipts and acts, as
// the app of a tocsin server does.
//
// What can be asked for: [Answer] and [Fault] for single requests, [Weather]
// for a share of all, and the methods of the simulators for connections. All
// types may be used by several goroutines. Package control drives a simulator
// over HTTP; docs/simulators.md is about both.
//
// What is simulated is what is known from documents and from others'
// experience. Passing here is no proof about a real phone.
package pushtest
