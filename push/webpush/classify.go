package webpush

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/retryafter"
)

// What an operator is told.
const (
	alertRequest  = "a push service of browsers refuses the form of our request"
	alertAuth     = "a push service of browsers refuses our VAPID key, its subject or our clock"
	alertKey      = "a browser subscribed with another VAPID key than the one in use: it has to subscribe anew"
	alertOne      = "a push service of browsers refuses our VAPID token for a browser while it takes it for others: it has to subscribe anew"
	alertSize     = "a push service of browsers calls a message too large that was measured to fit"
	alertRedirect = "a push service of browsers answered with a redirect, which is never followed"
	alertUnknown  = "a push service of browsers gave an answer that is not understood"
	alertEndpoint = "a browser is registered with an endpoint that is not allowed"
	alertKeys     = "a browser is registered with keys that are none"
	alertSilent   = "a silent push was meant for a browser, which would end its subscription"
	alertInside   = "a push service's name leads to an address inside the house: look at your DNS"
	alertClock    = "this machine's clock and a push service's differ by more than a minute"
)

// row is what one status means, whatever the service.
type row struct {
	status int
	out    push.Outcome
}

// table is RFC 8030 and what the services add to it. Answers that are not in
// the table are judged by their class of status.
//
//nolint:gochecknoglobals // look-up table
var table = []row{
	{http.StatusOK, push.Outcome{Class: push.Accepted}},
	{http.StatusCreated, push.Outcome{Class: push.Accepted}},
	{http.StatusAccepted, push.Outcome{Class: push.Accepted}},
	{http.StatusBadRequest, push.Outcome{Class: push.OurBug, Alert: alertRequest}},
	{http.StatusUnauthorized, push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{http.StatusForbidden, push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{http.StatusNotFound, push.Outcome{Class: push.DropAddress, Suspect: true}},              // a wrong proxy says it of everybody
	{http.StatusNotAcceptable, push.Outcome{Class: push.RetryLater, Scope: push.ScopeQuota}}, // Microsoft's word for too many
	{http.StatusRequestTimeout, push.Outcome{Class: push.RetryLater}},
	{http.StatusGone, push.Outcome{Class: push.DropAddress}},
	{http.StatusRequestEntityTooLarge, push.Outcome{Class: push.TooLarge, Alert: alertSize}},
	{http.StatusTooManyRequests, push.Outcome{Class: push.RetryLater, Scope: push.ScopeQuota}},
}

// mismatches are the words by which the services say that one subscription was
// made with another application server's key: Apple's reason (400 or 403),
// Google's sentences (403) and Mozilla's (401).
//
//nolint:gochecknoglobals // look-up table
var mismatches = []string{
	"VapidPkHashMismatch", "do not correspond to the credentials used to create the subscription",
	"does not correspond to the sender ID", "VAPID public key mismatch",
}

// Classify says what an answer of a push service means: its status, Retry-After
// header and body. now is for a Retry-After that is a date.
func Classify(status int, header http.Header, body []byte, now time.Time) push.Outcome {
	o := byStatus(status)
	for i := range table {
		if table[i].status == status {
			o = table[i].out
			break
		}
	}
	reason := reasonOf(body)
	if (status == http.StatusBadRequest || o.Class == push.AuthConfig) && mismatched(body) {
		o, reason = push.Outcome{Class: push.Park, Alert: alertKey}, "VapidKeyMismatch"
	}
	o.Status, o.Reason = status, reason
	if o.Class == push.Accepted {
		o.ProviderID, o.Reason = header.Get("Location"), ""
		return o
	}
	if o.Class == push.RetryLater {
		o.RetryAfter = retryafter.Parse(header.Get("Retry-After"), now)
	}
	o.Raw = string(body[:min(len(body), 512)])
	return o
}

func byStatus(status int) push.Outcome {
	switch {
	case status >= 200 && status < 300:
		return push.Outcome{Class: push.Accepted}
	case status >= 300 && status < 400:
		return push.Outcome{Class: push.OurBug, Alert: alertRedirect}
	case status >= 500:
		return push.Outcome{Class: push.RetryLater}
	}
	return push.Outcome{Class: push.OurBug, Alert: alertUnknown}
}

func mismatched(body []byte) bool {
	text := string(body[:min(len(body), maxAnswer)])
	for _, m := range mismatches {
		if strings.Contains(text, m) {
			return true
		}
	}
	return false
}

const maxReason = 100

// reasonOf is the service's own word: Apple's reason, Mozilla's message, or the
// first line of what Google and Microsoft write. A proxy's page is no reason.
func reasonOf(body []byte) string {
	var said struct {
		Reason  string
		Message string
	}
	text := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &said) == nil {
		text = said.Reason
		if text == "" {
			text = said.Message
		}
	}
	if strings.HasPrefix(text, "<") || strings.HasPrefix(text, "{") {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n")
	return strings.ToValidUTF8(text[:min(len(text), maxReason)], "")
}
