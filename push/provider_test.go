package push_test

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/pushtest/providertest"
)

// TestProviders holds every provider to the laws that the sender relies on.
func TestProviders(t *testing.T) {
	t.Parallel()
	t.Run("apns", func(t *testing.T) {
		t.Parallel()
		providertest.Run(t, func(t *testing.T) providertest.Subject {
			r := newRig(t)
			d, _ := r.iphone()
			return providertest.Subject{
				Provider: r.apns, Service: r.apple, Device: d, NoRetryAfter: true,
				Dead: pushtest.Answer{Status: 410, Reason: "Unregistered", Timestamp: time.Now().UnixMilli()},
			}
		})
	})
	t.Run("fcm", func(t *testing.T) {
		t.Parallel()
		providertest.Run(t, func(t *testing.T) providertest.Subject {
			r := newRig(t)
			d, _ := r.android()
			return providertest.Subject{Provider: r.fcm, Service: r.google, Device: d, Dead: pushtest.Reject(404, "UNREGISTERED")}
		})
	})
	t.Run("webpush", func(t *testing.T) {
		t.Parallel()
		providertest.Run(t, func(t *testing.T) providertest.Subject {
			r := newWebRig(t, nil)
			d, _ := r.browser("")
			return providertest.Subject{
				Provider: r.via, Service: r.sim, Device: d, Dead: pushtest.Answer{Status: 410}, NoHeartbeat: true,
				Foreign: []push.Token{"https://evil.example/x", "https://127.0.0.1/x", "http://fcm.googleapis.com/x", "https://fcm.googleapis.com.evil.example/x"},
			}
		})
	})
}
