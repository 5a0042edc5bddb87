package app

import (
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/admission"
)

// Somebody at three in the morning looks where the words point.
func TestWhyEventsAreRefused(t *testing.T) {
	t.Parallel()
	for reason, want := range map[admission.Reason]string{
		admission.KeyRequests:     "more than its share (key requests)",
		admission.KeyEvents:       "more than its share (key events)",
		admission.ServiceRequests: "more than its share (service requests)",
		admission.ServiceEvents:   "more than its share (service events)",
		admission.Requests:        "of all senders (requests)",
		admission.Events:          "of all senders (events)",
		admission.InboxFull:       "of all senders (inbox full)",
		admission.StoreFull:       "Redis is full",
	} {
		if got := because(reason); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", reason, got, want)
		}
	}
}
