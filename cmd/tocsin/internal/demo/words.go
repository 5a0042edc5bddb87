package demo

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// describePush is what a phone shows, in one line.
func describePush(n pushtest.Notification) string {
	text := strings.Join(nonEmpty(n.Title, n.Subtitle, n.Body), " | ")
	how := "silent"
	switch {
	case n.Audible() && n.Critical, n.Audible() && n.Sound == "critical":
		how = "critical sound"
	case n.Audible():
		how = "sound"
	}
	if n.Replaced {
		how += ", replaces its card"
	}
	if !n.Visible {
		how = "not shown"
	}
	return fmt.Sprintf("%q (%s)", text, how)
}

// describeRequest is what a push service was asked, in one line.
func describeRequest(where place, r pushtest.Request) string {
	if where == atAPNs {
		return fmt.Sprintf("push type %s, priority %s, collapse id %s", r.Header["apns-push-type"], r.Header["apns-priority"], short(r.Header["apns-collapse-id"]))
	}
	var m struct {
		Message struct {
			Android struct {
				Priority string `json:"priority"`
				TTL      string `json:"ttl"`
			} `json:"android"`
		} `json:"message"`
	}
	_ = json.Unmarshal(r.Body, &m) // what it cannot read stays empty: the simulator judges, not this line
	return fmt.Sprintf("data message, priority %s, ttl %s", m.Message.Android.Priority, m.Message.Android.TTL)
}

func nonEmpty(all ...string) []string {
	var some []string
	for _, s := range all {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}

// short leaves the middle of an id out.
func short(id string) string {
	if len(id) <= 16 {
		return id
	}
	return id[:8] + "…" + id[len(id)-4:]
}

// round makes a duration readable: three digits say enough.
func round(d time.Duration) time.Duration {
	switch {
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// seconds is a duration as the demo prints it: "0.084 s".
func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
