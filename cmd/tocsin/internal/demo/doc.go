// Package demo shows a page on its whole way, on one machine and with no
// account anywhere: an alert fires in Prometheus Alertmanager, `tocsin serve`
// pages the phones of a small shop, and the phones answer.
//
// What is real: the server (a child process, the same binary), its private
// Redis, Alertmanager when one is installed, HTTP/2 with TLS to the push
// services, SMTP. What is simulated: Apple's and Google's ends, by
// push/pushtest, the mail server, and two phones. The phones use the public
// HTTP API as mobile-sdk/README.md says, and nothing else.
//
// One thing differs from any installation: the durations of the rules are
// shorter, so that a night fits into a minute. Only this package can do that,
// by running the server with [Serve].
//
// [Run] shows it in a terminal, as plain lines, or plays the whole story by
// itself and says whether every step of it happened. Nothing is left running
// afterwards, however it ended: [Guard] sees to that.
package demo
