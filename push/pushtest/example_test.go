package pushtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// examplePush sends as any provider does, over HTTP/2 to the simulator's CA.
func examplePush(url string, ca []byte, header map[string]string, body string) int {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// A page reaches a phone behind the simulator of APNs, after one answer of 503.
func ExampleNewAPNs() {
	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{AnyBearer: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apple.Close()
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "Ann's iPhone"})
	defer phone.Close()
	token := apple.Register(phone, "com.example.oncall")
	apple.Script(token, pushtest.Reject(503, "ServiceUnavailable"))

	for range 2 {
		fmt.Println(examplePush(apple.URL()+"/3/device/"+token, apple.CA(), map[string]string{
			"apns-topic": "com.example.oncall", "apns-push-type": "alert",
		}, `{"aps":{"alert":{"title":"Disk full"},"sound":"page.caf"}}`))
	}
	for _, n := range phone.Shown() {
		fmt.Println(n.Title, n.Audible())
	}
	// Output:
	// 503
	// 200
	// Disk full true
}

// Google lets only high priority through to a phone in Doze.
func ExampleNewFCM() {
	google, err := pushtest.NewFCM(pushtest.FCMOptions{AnyBearer: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer google.Close()
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "Bo's Android", Behaviour: pushtest.Behaviour{Doze: true}})
	defer phone.Close()
	token := google.Register(phone, "com.example.oncall")

	url := google.URL() + "/v1/projects/" + google.Project() + "/messages:send"
	for _, priority := range []string{"normal", "high"} {
		body := fmt.Sprintf(`{"message":{"token":%q,"data":{"title":%q},"android":{"priority":%q,"ttl":"60s"}}}`, token, priority, priority)
		fmt.Println(priority, examplePush(url, google.CA(), nil, body))
	}
	fmt.Println("on the phone:", len(phone.Got()), phone.Got()[0].Title)
	// Output:
	// normal 200
	// high 200
	// on the phone: 1 high
}

// A phone's behaviour is changed while it runs: off line, Apple keeps one page.
func ExamplePhone_Behave() {
	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{AnyBearer: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apple.Close()
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "Ann's iPhone"})
	defer phone.Close()
	token := apple.Register(phone, "com.example.oncall")

	phone.Behave(func(b *pushtest.Behaviour) { b.Offline = true })
	for _, title := range []string{"first", "second"} {
		examplePush(apple.URL()+"/3/device/"+token, apple.CA(), map[string]string{
			"apns-topic": "com.example.oncall", "apns-push-type": "alert", "apns-expiration": "4000000000", "apns-collapse-id": title,
		}, fmt.Sprintf(`{"aps":{"alert":{"title":%q}}}`, title))
	}
	phone.Behave(func(b *pushtest.Behaviour) { b.Offline = false })
	fmt.Println("shown:", phone.Shown()[0].Title)
	fmt.Println("lost:", phone.Lost()[0].Title, phone.Lost()[0].Lost)
	// Output:
	// shown: second
	// lost: first evicted
}
