package app

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// A phone that was parked for a fault of the configuration rings again once
// that has been read anew; nobody has to open the app for it.
func TestParkedPhoneRingsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	reload := make(chan os.Signal)
	in := w.start(func(o *Options) { o.Reload = reload })
	in.apply(organisation)
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "ann"})
	t.Cleanup(phone.Close)
	token := w.apple.Register(phone, bundle)
	if err := register(t.Context(), in.server.directory, "ann", token); err != nil {
		t.Fatal(err)
	}
	park := func(in *instance) {
		t.Helper()
		f := notify.Fate{Device: "dann", Token: push.Token(token), Address: push.AddressPark, Reason: "DeviceTokenNotForTopic"}
		if err := in.server.people.Fate(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if got := state(in); got != roster.DeviceParked {
			t.Fatalf("the phone's state is %v, want parked", got)
		}
	}
	rings := func(in *instance, key string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for state(in) != roster.DeviceActive {
			if !again(ctx) {
				t.Fatalf("the phone's state is %v, want active", state(in))
			}
		}
		if _, err := in.server.intake.Accept(t.Context(), in.integration(t), trigger(key)); err != nil {
			t.Fatal(err)
		}
		gets(t, phone, "a page", page)
	}
	park(in)
	reload <- syscall.SIGHUP
	rings(in, "after the reload")
	park(in)
	in.stop()
	rings(w.start(), "after the start")
}

func state(in *instance) roster.DeviceState {
	d, _ := in.server.directory.Snapshot().GetDevice("dann")
	return d.State
}
