package fcm

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/retryafter"
)

// What an operator is told.
const (
	alertProject  = "FCM does not know the project or the address asked for: check the app's project id"
	alertRequest  = "FCM refuses the form of our request"
	alertSender   = "a phone's token belongs to another Firebase project: the app must be built with this project's google-services.json and register again"
	alertPartner  = "phones of another platform are registered as Android, and the APNs or web push credential that the Firebase project has for them is wrong: they are not pushed to"
	alertAuth     = "Google refuses the service account: give it the role Firebase Cloud Messaging API Admin in the project, or make a new private key"
	alertDisabled = "the Firebase Cloud Messaging API (V1) is switched off in the project: enable it in the Google Cloud console"
	alertKey      = "Google does not know the service account's key any more: it was deleted, disabled or has expired. Generate a new private key (Firebase console, project settings, service accounts) and replace the file"
	alertClock    = "Google takes this machine's clock for wrong: set it by NTP"
	alertSDK      = "the Firebase SDK refuses to send a message of ours: this is a bug of tocsin"
	alertUnknown  = "FCM gave an answer that is not understood"
)

const defaultQuotaPause = time.Minute // Google: without a Retry-After, a minute

// Answer is what FCM's error body says.
// https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
type Answer struct {
	Status  string   // of google.rpc.Status, for example "NOT_FOUND"
	Message string   // for people
	Code    string   // of FcmError, for example "UNREGISTERED"
	Info    string   // of google.rpc.ErrorInfo, for example "SERVICE_DISABLED"
	Fields  []string // of BadRequest
	Project bool     // the quota that was exceeded is the project's
	Device  bool     // the quota that was exceeded is the phone's
}

// ParseAnswer reads an error body. Nothing in it can make it fail: what is
// not of Google's form is left out, down to an empty Answer.
func ParseAnswer(body []byte) Answer {
	var raw struct {
		Error struct {
			Status  string            `json:"status"`
			Message string            `json:"message"`
			Details []json.RawMessage `json:"details"`
		} `json:"error"`
	}
	if !readable(json.Unmarshal(body, &raw)) {
		return Answer{}
	}
	a := Answer{Status: short(raw.Error.Status), Message: short(raw.Error.Message)}
	for _, d := range raw.Error.Details[:min(len(raw.Error.Details), maxDetails)] {
		a.add(d)
	}
	return a
}

const maxDetails = 16

// readable forgives a field of another type than expected: the others have
// been read all the same.
func readable(err error) bool {
	_, other := errors.AsType[*json.UnmarshalTypeError](err)
	return err == nil || other
}

// add reads one of the details, which say by "@type" what they are.
// https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
func (a *Answer) add(raw json.RawMessage) {
	var d struct {
		Type       string                     `json:"@type"`
		ErrorCode  string                     `json:"errorCode"`
		Reason     string                     `json:"reason"`
		Metadata   map[string]string          `json:"metadata"`
		Fields     []struct{ Field string }   `json:"fieldViolations"`
		Violations []struct{ Subject string } `json:"violations"`
	}
	if !readable(json.Unmarshal(raw, &d)) {
		return
	}
	switch d.Type[strings.LastIndexByte(d.Type, '.')+1:] {
	case "FcmError":
		a.Code = short(d.ErrorCode)
	case "ErrorInfo":
		a.Info = short(d.Reason)
		a.Project = a.Project || (d.Reason == "RATE_LIMIT_EXCEEDED" && strings.HasPrefix(d.Metadata["consumer"], "project"))
	case "BadRequest":
		for _, f := range d.Fields[:min(len(d.Fields), maxDetails)] {
			a.Fields = append(a.Fields, short(f.Field))
		}
	case "QuotaFailure":
		for _, v := range d.Violations {
			a.Project = a.Project || strings.HasPrefix(v.Subject, "project")
			a.Device = a.Device || strings.HasPrefix(v.Subject, "device")
		}
	}
}

func short(s string) string { return s[:min(len(s), 200)] }

// badToken tells whether the answer is about the token's form. Google names
// the field only sometimes; more often there is only this sentence.
func (a *Answer) badToken() bool {
	return slices.Contains(a.Fields, "message.token") || strings.Contains(a.Message, "registration token is not a valid FCM registration token")
}

// row is what one answer of FCM means. The first that fits counts.
type row struct {
	status int
	code   string // of FcmError; "*" fits any, "" only none
	token  bool   // only when the answer is about the token's form
	out    push.Outcome
}

//nolint:gochecknoglobals // look-up table
var table = []row{
	{404, "UNREGISTERED", false, push.Outcome{Class: push.DropAddress}},
	{404, "*", false, push.Outcome{Class: push.OurBug, Alert: alertProject}},
	{400, "INVALID_ARGUMENT", true, push.Outcome{Class: push.DropAddress, Suspect: true, Verify: true}},
	{400, "", true, push.Outcome{Class: push.DropAddress, Suspect: true, Verify: true}},
	{400, "*", false, push.Outcome{Class: push.OurBug, Safe: true, Alert: alertRequest}},
	{403, "SENDER_ID_MISMATCH", false, push.Outcome{Class: push.Park, Alert: alertSender}},
	{401, "THIRD_PARTY_AUTH_ERROR", false, push.Outcome{Class: push.AuthConfig, Scope: push.ScopePlatform, Alert: alertPartner}},
	{401, "APNS_AUTH_ERROR", false, push.Outcome{Class: push.AuthConfig, Scope: push.ScopePlatform, Alert: alertPartner}}, // its older name
	{401, "*", false, push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{403, "*", false, push.Outcome{Class: push.AuthConfig, Alert: alertAuth}},
	{413, "*", false, push.Outcome{Class: push.TooLarge}},
	{429, "*", false, push.Outcome{Class: push.RetryLater, Scope: push.ScopeQuota}},
	{500, "*", false, push.Outcome{Class: push.RetryLater}},
	{502, "*", false, push.Outcome{Class: push.RetryLater}},
	{503, "*", false, push.Outcome{Class: push.RetryLater}},
	{504, "*", false, push.Outcome{Class: push.RetryLater}},
}

// Classify says what an answer of FCM means: its status, Retry-After header
// and body. now is for a Retry-After that is a date.
func Classify(status int, header http.Header, body []byte, now time.Time) push.Outcome {
	a := ParseAnswer(body)
	o := byStatus(status)
	for i := range table {
		r := &table[i]
		if r.status == status && (r.code == "*" || r.code == a.Code) && (!r.token || a.badToken()) {
			o = r.out
			break
		}
	}
	o.Status, o.Reason = status, a.reason()
	if o.Class != push.Accepted && a.Status == "" {
		o.Raw = string(body[:min(len(body), 512)])
	}
	if o.Class == push.RetryLater {
		o.RetryAfter = RetryAfter(header.Get("Retry-After"), now)
	}
	if status == http.StatusTooManyRequests {
		if o.RetryAfter == 0 {
			o.RetryAfter = defaultQuotaPause
		}
		switch {
		case a.Project:
			o.Scope = push.ScopeApp
		case a.Device:
			o.Scope = push.ScopeDevice
		}
	}
	if a.Info == "SERVICE_DISABLED" && o.Class == push.AuthConfig {
		o.Alert = alertDisabled
	}
	return o
}

func (a *Answer) reason() string {
	return cmp.Or(a.Code, a.Info, a.Status)
}

func byStatus(status int) push.Outcome {
	switch {
	case status >= 200 && status < 300:
		return push.Outcome{Class: push.Accepted}
	case status >= 500:
		return push.Outcome{Class: push.RetryLater}
	}
	return push.Outcome{Class: push.OurBug, Alert: alertUnknown}
}

// RetryAfter reads the header of that name (RFC 9110, 10.2.3): seconds or a
// date; 0 for what is neither, or past. It never exceeds a day.
func RetryAfter(value string, now time.Time) time.Duration {
	return retryafter.Parse(value, now)
}
