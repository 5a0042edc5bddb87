// Package control drives a running simulator of [pushtest] over HTTP: a JSON
// API for tests in any language, and a page for people, both on loopback.
//
//	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{})
//	desk, err := control.Start("127.0.0.1:0", control.Options{Simulator: apple})
//	defer desk.Close()
//	fmt.Println(desk.URL())
//
// The calls are listed in docs/simulators.md. What they do is what the methods
// of the simulator and of [pushtest.Phone] do. There is no authentication:
// Start takes loopback addresses only, requests that name another host are
// refused, and so are those that a browser sends on behalf of another site.
package control
