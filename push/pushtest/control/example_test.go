package control_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/pushtest/control"
)

// A simulator is driven over HTTP; people open the same address in a browser.
func ExampleStart() {
	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apple.Close()
	desk, err := control.Start("127.0.0.1:0", control.Options{Simulator: apple})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer desk.Close()

	res, err := http.Post(desk.URL()+"/api/phones", "application/json", strings.NewReader(`{"name":"Ann's iPhone"}`)) //nolint:noctx // an example
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = res.Body.Close()
	fmt.Println(res.StatusCode, apple.Tokens()[0].Phone)
	// Output: 200 Ann's iPhone
}
