package app

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// crowd is an organisation whose first level asks n people at once.
func crowd(n int) string {
	var people, targets []string
	for i := range n {
		people = append(people, fmt.Sprintf("  - {id: u%d, name: U%d, email: u%d@example.com, role: responder}", i, i, i))
		targets = append(targets, fmt.Sprintf("users/u%d", i))
	}
	text := strings.Replace(organisation, "people:\n", "people:\n"+strings.Join(people, "\n")+"\n", 1)
	return strings.Replace(text, "users/ann", strings.Join(targets, ", "), 1)
}

// eventually waits for something that the server brings about by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		if !again(ctx) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// pages counts the pages that the phone has got.
func pages(p *pushtest.Phone) int {
	n := 0
	for _, got := range p.Got() {
		if page(got) {
			n++
		}
	}
	return n
}

// TestCase55_BlackHole: a push service takes every page and no phone ever
// confirms one; within five minutes the operator is told by metric and status,
// and other ways start after 5 s instead of 20 s, until phones confirm again.
func TestCase55_BlackHole(t *testing.T) {
	for provider, platform := range map[string]roster.Platform{"apns": roster.IOS, "fcm": roster.Android} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			blackHole(t, provider, platform)
		})
	}
}

func blackHole(t *testing.T, provider string, platform roster.Platform) {
	t.Helper()
	const people = 10
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(crowd(people))
	var phones []*pushtest.Phone
	for i := range people {
		phones = append(phones, in.enrol(w, roster.UserID(fmt.Sprint("u", i)), platform))
	}
	all := func(n int) func() bool {
		return func() bool {
			for _, p := range phones {
				if pages(p) < n {
					return false
				}
			}
			return true
		}
	}
	operator := pb.NewOperatorServiceClient(in.console())
	told := func() bool {
		s, err := operator.GetStatus(t.Context(), &pb.GetStatusRequest{})
		return err == nil && strings.Contains(strings.Join(s.GetProblems(), " "), "Phones do not confirm what "+provider+" takes")
	}
	metric := func() string {
		_, text := in.get("/metrics")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, `push_delivery_degraded{provider="`+provider+`"}`) {
				return strings.TrimSpace(line)
			}
		}
		return ""
	}

	// Twenty pages on ten phones: the page, and after 20 s without a receipt the
	// louder one, as these people have no other way.
	began := w.watch.Now()
	in.send("trigger", "one", "disk full")
	eventually(t, "all phones have the page", all(1))
	in.forward(w, 21*time.Second)
	eventually(t, "all phones have the louder page", all(2))
	if in.server.notifier.Silent(platform) {
		t.Error("the service counts as degraded after ten pages")
	}
	in.forward(w, 21*time.Second)
	eventually(t, "the service counts as degraded", func() bool { return in.server.notifier.Silent(platform) })
	if took := w.watch.Now().Sub(began); took > 5*time.Minute {
		t.Errorf("it took %s, want 5 min at most", took)
	}
	if !told() {
		t.Error("tocsin status does not say that phones are silent")
	}
	if got := metric(); !strings.HasSuffix(got, " 1") {
		t.Errorf("the metric says %q, want 1", got)
	}
	in.send("resolve", "one", "disk full")

	in.forward(w, time.Minute)
	in.send("trigger", "two", "disk full")
	eventually(t, "all phones have the second page", all(3))
	in.forward(w, 6*time.Second)
	eventually(t, "the next way starts after 5 s", all(4))
	in.send("resolve", "two", "disk full")

	// Phones confirm again.
	in.forward(w, 6*time.Minute)
	in.send("trigger", "three", "disk full")
	eventually(t, "all phones have the third page", all(5))
	for _, p := range phones {
		var last pushtest.Notification
		for _, n := range p.Got() {
			if page(n) {
				last = n
			}
		}
		receipt := fmt.Sprintf(`{"receipts":[{"delivery_id":%q,"state":"STATE_RECEIVED"}],"receipt_key":%q}`, last.DeliveryID, last.ReceiptKey)
		if err := call(t.Context(), "http://"+in.doors.Listen+last.ReceiptPath, receipt, 200); err != nil {
			t.Fatal(err)
		}
	}
	in.forward(w, 21*time.Second)
	eventually(t, "the service counts as well", func() bool { return !in.server.notifier.Silent(platform) })
	if told() || !strings.HasSuffix(metric(), " 0") {
		t.Errorf("it is well, and the status says so: %t; the metric says %q", !told(), metric())
	}
}
