package pushtest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzProviderToken: no bearer makes the simulator fall over, and none that
// was not signed by a known key is taken.
func FuzzProviderToken(f *testing.F) {
	a, err := NewAPNs(APNsOptions{KeepLog: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(a.Close)
	a.NewKey("TEAM000001", "KEY0000001")
	f.Add("bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IktFWTAwMDAwMDEifQ.eyJpc3MiOiJURUFNMDAwMDAxIiwiaWF0IjoxfQ.AAAA")
	f.Add("bearer ..")
	f.Add("vapid t=x, k=y")
	f.Fuzz(func(t *testing.T, authorization string) {
		e := &exchange{conn: &conn{server: a.server}, header: map[string]string{"authorization": authorization}}
		a.mu.Lock()
		defer a.mu.Unlock()
		if team, v := a.judgeBearer(e); v.status == 0 {
			t.Errorf("%q is taken for %s", authorization, team)
		}
	})
}

// FuzzAPNsRequest: whatever the headers and the body are, the answer is one of
// the documented ones.
func FuzzAPNsRequest(f *testing.F) {
	a, err := NewAPNs(APNsOptions{KeepLog: -1, AnyBearer: true, AnyToken: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(a.Close)
	token := strings.Repeat("ab", 32)
	f.Add("/3/device/"+token, "com.example", "alert", "10", "0", `{"aps":{"content-available":1}}`)
	f.Add("/3/device/..", "com.example.voip", "voip", "5", "-1", `{"aps":[]}`)
	f.Fuzz(func(t *testing.T, path, topic, kind, priority, expiration, body string) {
		e := &exchange{conn: &conn{server: a.server}, method: http.MethodPost, path: path, body: []byte(body), header: map[string]string{
			"apns-topic": topic, "apns-push-type": kind, "apns-priority": priority, "apns-expiration": expiration,
		}}
		v := a.judge(e)
		if v.status == http.StatusOK {
			n := parseIOS(e.body)
			_ = n.Audible()
			if at := until(expiration); !at.IsZero() && at.Unix() < 0 {
				t.Errorf("expiration %q is taken, as %v", expiration, at)
			}
			return
		}
		for _, r := range APNsReasons() {
			if r.Status == v.status && r.Reason == v.reason {
				return
			}
		}
		t.Errorf("%d %s is documented nowhere", v.status, v.reason)
	})
}

func until(header string) time.Time { return expiration(header, time.Unix(1_800_000_000, 0)) }

// FuzzFCMMessage: whatever the body is, the answer is one of the documented ones.
func FuzzFCMMessage(f *testing.F) {
	g, err := NewFCM(FCMOptions{KeepLog: -1, AnyBearer: true, AnyToken: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(g.Close)
	f.Add(`{"message":{"token":"t","data":{"a":"b"},"android":{"priority":"high","ttl":"3s"}}}`)
	f.Add(`{"message":{"topic":"t","android":{"ttl":"-1s"}},"validate_only":true}`)
	f.Fuzz(func(t *testing.T, body string) {
		var m sent
		malformed := json.Unmarshal([]byte(body), &m)
		e := &exchange{method: http.MethodPost, path: "/v1/projects/" + g.Project() + "/messages:send", header: map[string]string{}}
		v := g.judge(e, &m, malformed)
		if v.status == http.StatusOK {
			_ = parseAndroid(m.Message.Data)
			_ = ttlOf(m.Message.Android.TTL)
			return
		}
		if v.status != http.StatusBadRequest || !json.Valid(v.json(nil)) {
			t.Errorf("%d %s", v.status, v.json(nil))
		}
	})
}
