package apns

import (
	"net/http"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

// Reasons that are more than a row of the table.
const (
	reasonExpiredToken   = "ExpiredProviderToken"
	reasonTooManyUpdates = "TooManyProviderTokenUpdates"
	reasonShutdown       = "Shutdown"
	reasonUnregistered   = "Unregistered"
	reasonBadDeviceToken = "BadDeviceToken"
)

// What an operator is told.
const (
	alertTopic   = "a phone's token belongs to another app than the configured bundle id"
	alertRequest = "Apple refuses the form of our request"
	alertAuth    = "Apple refuses the APNs key, its id or its team: check the app's credentials"
	alertBundle  = "Apple does not let this key push to the app's bundle id"
	alertSkew    = "Apple calls a fresh provider token expired: a clock is wrong, or two keys of one team fight"
	alertUpdates = "Apple counts too many provider tokens of this team: other software signs with the same key"
	alertUnknown = "Apple gave an answer that is not understood"
	alertPayload = "Apple calls a payload too large that was measured to fit"
)

// row is what one answer of Apple means. Answers that are not in the table
// are judged by their status alone.
type row struct {
	status int
	reason string
	out    push.Outcome
}

// table is Apple's list of reasons:
// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
//
//nolint:gochecknoglobals // look-up table
var table = []row{
	{200, "", push.Outcome{Class: push.Accepted}},
	{400, reasonBadDeviceToken, push.Outcome{Class: push.DropAddress, Suspect: true, Env: true}},
	{400, "DeviceTokenNotForTopic", push.Outcome{Class: push.Park, Alert: alertTopic}},
	{400, "MissingDeviceToken", push.Outcome{Class: push.OurBug, Alert: alertRequest}},
	{404, "BadPath", push.Outcome{Class: push.OurBug, Alert: alertRequest}},
	{400, "BadPath", push.Outcome{Class: push.OurBug, Alert: alertRequest}},
	{405, "MethodNotAllowed", push.Outcome{Class: push.OurBug, Alert: alertRequest}},
	{400, "BadCollapseId", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "BadExpirationDate", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "BadMessageId", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "BadPriority", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "BadTopic", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "MissingTopic", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "InvalidPushType", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "DuplicateHeaders", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "PayloadEmpty", push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{400, "TopicDisallowed", push.Outcome{Class: push.AuthConfig, Alert: alertBundle}},
	{400, "IdleTimeout", push.Outcome{Class: push.RetryNow}},
	{403, reasonExpiredToken, push.Outcome{Class: push.RetryNow}},
	{403, "InvalidProviderToken", push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{403, "MissingProviderToken", push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{403, "BadEnvironmentKeyInToken", push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{403, "BadEnvironmentKeyIdInToken", push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{403, "UnrelatedKeyIdInToken", push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{403, "BadCertificate", push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{403, "BadCertificateEnvironment", push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{403, "Forbidden", push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{410, reasonUnregistered, push.Outcome{Class: push.DropAddress}},
	{410, "ExpiredToken", push.Outcome{Class: push.DropAddress}},
	{413, "PayloadTooLarge", push.Outcome{Class: push.TooLarge, Alert: alertPayload}},
	{429, "TooManyRequests", push.Outcome{Class: push.RetryLater, Scope: push.ScopeDevice}},
	{429, reasonTooManyUpdates, push.Outcome{Class: push.RetryNow, Alert: alertUpdates}},
	{500, "InternalServerError", push.Outcome{Class: push.RetryLater}},
	{503, "ServiceUnavailable", push.Outcome{Class: push.RetryLater}},
	{503, reasonShutdown, push.Outcome{Class: push.RetryNow}},
}

// Classify says what an answer of Apple means. The reason is kept verbatim;
// deadSince is the timestamp of a 410, zero when there was none. Only a pair
// of status and reason that Apple documents may cost a phone its address.
func Classify(status int, reason string, deadSince time.Time) push.Outcome {
	o := byStatus(status)
	for i := range table {
		if table[i].status == status && table[i].reason == reason {
			o = table[i].out
			break
		}
	}
	o.Status, o.Reason = status, reason
	if o.Class == push.DropAddress {
		o.Deadness = deadSince
	}
	return o
}

func byStatus(status int) push.Outcome {
	switch {
	case status >= 200 && status < 300:
		return push.Outcome{Class: push.Accepted}
	case status == http.StatusRequestEntityTooLarge:
		return push.Outcome{Class: push.TooLarge, Alert: alertPayload}
	case status == http.StatusTooManyRequests:
		return push.Outcome{Class: push.RetryLater, Scope: push.ScopeDevice}
	case status >= 500:
		return push.Outcome{Class: push.RetryLater}
	default:
		return push.Outcome{Class: push.OurBug, Alert: alertUnknown}
	}
}
