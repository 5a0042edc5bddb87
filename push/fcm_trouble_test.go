package push_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// Google says which quota it was: the project's pauses all phones at the first
// answer, one phone's never counts towards the project.
func TestFCMQuotaByName(t *testing.T) {
	t.Parallel()
	quota := func(subject string) pushtest.Answer {
		a := pushtest.WithRetryAfter("60", pushtest.Reject(429, "QUOTA_EXCEEDED"))
		a.Detail = []any{
			map[string]any{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "QUOTA_EXCEEDED"},
			map[string]any{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []any{map[string]any{"subject": subject}}},
		}
		return a
	}
	for _, tc := range []struct {
		subject string
		phones  int
		want    push.End
	}{{"project:1234", 1, push.EndProviderDown}, {"device:x", 5, push.EndAccepted}} {
		t.Run(tc.subject, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			ordinary := r.page()
			ordinary.HighUrgency = false
			for range tc.phones {
				d, _ := r.android()
				r.google.Script(string(d.Token), quota(tc.subject))
				told := make(chan push.Progress, 4)
				m := ordinary
				m.DeliveryID, m.CollapseID = uuid(), "inc-"+uuid()
				r.sender.Submit(push.Delivery{Message: m, Device: d, Progress: func(p push.Progress) { told <- p }}, func(push.Result) {})
				<-told
			}
			well, _ := r.android()
			if res := r.send(ordinary, well); res.End != tc.want {
				t.Errorf("another phone's page ended %v, want %v", res.End, tc.want)
			}
		})
	}
}

// Six incidents that are told again while the phone is away take four collapse
// keys: what would need a fifth is stored beside them, and all arrive.
func TestFCMFiveCollapseKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, phone := r.android()
	phone.Offline(true)
	want := map[string]bool{}
	for range 6 {
		m := r.page()
		m.Again = true
		r.want(r.send(m, d), push.EndAccepted)
		want[m.DeliveryID] = true
	}
	stored := map[string]bool{}
	for _, q := range r.google.Requests() {
		var s sent
		if err := json.Unmarshal(q.Body, &s); err != nil {
			t.Fatal(err)
		}
		stored[s.Message.Android.CollapseKey] = true
	}
	delete(stored, "")
	if len(stored) != 4 {
		t.Errorf("%d collapse keys for one phone, want 4: %v", len(stored), stored)
	}
	phone.Offline(false)
	for len(want) > 0 {
		n, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return want[n.DeliveryID] })
		if err != nil {
			t.Fatalf("%d of 6 pages were lost while the phone was away: %v", len(want), err)
		}
		delete(want, n.DeliveryID)
	}
}

// A device over its quota holds back its own ordinary pages for as long as
// Google asks; one of high urgency asks every five seconds.
func TestFCMDeviceQuotaIsProbed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	r.google.Script(string(d.Token), pushtest.WithRetryAfter("60", pushtest.Reject(429, "QUOTA_EXCEEDED")))
	began := time.Now()
	res := r.send(r.page(), d)
	r.want(res, push.EndAccepted)
	if took := time.Since(began); res.Attempts != 2 || took < 4*time.Second || took > 12*time.Second {
		t.Errorf("%d attempts in %v, want a second after 5 s", res.Attempts, took)
	}
}

func TestFCMConnectionsFrozenInMidPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	r.want(r.send(r.page(), d), push.EndAccepted)
	r.google.Freeze(true)
	res := r.send(r.page(), d)
	r.want(res, push.EndAccepted)
	if took := res.At.Sub(res.Tries[0].At); res.Attempts > 3 || took > 4*time.Second {
		t.Errorf("took %v in tries %+v, want a fresh connection within 4 s", took, res.Tries)
	}
}

func TestFCMStormOfDistinctPhones(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	results := make(chan push.Result, 500)
	for i := range 500 {
		d, _ := r.android()
		if i%10 == 0 {
			r.google.Script(string(d.Token), pushtest.Reject(503, "UNAVAILABLE"))
		}
		r.sender.Submit(push.Delivery{Message: r.page(), Device: d}, func(res push.Result) { results <- res })
	}
	ends := map[push.End]int{}
	for range 500 {
		ends[(<-results).End]++
	}
	if fmt.Sprint(ends) != fmt.Sprint(map[push.End]int{push.EndAccepted: 500}) {
		t.Errorf("ends %v, want 500 accepted", ends)
	}
}
