package notify

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// prompt is a push service that takes everything at once, in two of Google's
// and Apple's ways: it asks the last look, and answers on another goroutine.
type prompt struct{}

func (prompt) Submit(d push.Delivery, done func(push.Result)) {
	go func() {
		if err := d.Begin(context.Background(), 1); err != nil {
			done(push.Result{End: push.EndNotNeeded})
			return
		}
		done(push.Result{End: push.EndAccepted, Outcome: push.Outcome{Class: push.Accepted, Status: 200}, Attempts: 1})
	}()
}

// BenchmarkPage: the page of an incident to a person with three phones, from the
// item of work until all is recorded, beside hundreds of others; what the push
// service costs is left out.
func BenchmarkPage(b *testing.B) {
	r := rigWith(b, prompt{})
	items := make([]store.WorkItem, b.N)
	for i := range items {
		user := roster.UserID(fmt.Sprint("person-", i))
		r.dir.users[user] = roster.User{ID: user, Name: "Ann", Zone: "UTC", Methods: []roster.Method{{ID: "push", Kind: roster.Push, Verified: true}}}
		for k, platform := range []push.Platform{push.IOS, push.Android, push.IOS} {
			id := roster.DeviceID(fmt.Sprintf("phone%dof%d", k, i))
			r.dir.phones[user] = append(r.dir.phones[user], Phone{
				Device: roster.Device{ID: id, User: user, Platform: roster.IOS, State: roster.DeviceActive}, Epoch: 1, Credential: true,
				Push: push.Device{ID: string(id), Platform: platform, App: "app", Token: push.Token(id), EnvironmentConfirmed: true},
			})
		}
		_, made := r.trigger("Disk full", page(user, "push"))
		items[i] = made[0]
	}
	b.ReportAllocs()
	b.ResetTimer()
	began := processorTime(b)
	free, ends := make(chan struct{}, 500), make(chan error, len(items))
	for _, item := range items {
		free <- struct{}{}
		r.n.Do(b.Context(), item, func(err error) {
			<-free
			ends <- err
		})
	}
	for range items {
		if err := <-ends; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// processorTime is what this process has used of all cores.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
