package pushtest

import (
	"encoding/json"
	"net/http"
)

// googleError is an error as Google's APIs write it: a google.rpc.Status with
// details.
type googleError struct {
	status int
	code   string // of FcmError
	text   string
	field  string // of BadRequest
	detail string // of that field
	quota  string // subject of QuotaFailure
	info   string // reason of ErrorInfo
	html   bool   // a page for people, as outside of the API
}

// word is what a log has for the reason.
func (g googleError) word() string {
	switch {
	case g.code != "":
		return g.code
	case g.html:
		return "HTML"
	case g.status == http.StatusOK:
		return ""
	}
	return statusName(g.status)
}

// badCredential is the answer to an OAuth token that is none.
func badCredential() googleError {
	return googleError{
		status: http.StatusUnauthorized, info: "ACCESS_TOKEN_TYPE_UNSUPPORTED",
		text: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.",
	}
}

// denied is the answer to an account without the right to send.
func denied(project string) googleError {
	return googleError{
		status: http.StatusForbidden, info: "IAM_PERMISSION_DENIED",
		text: "Permission 'cloudmessaging.messages.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/" + project + "' (or it may not exist).",
	}
}

// overQuota is the answer when a project or a device has had too much.
func overQuota(subject string) googleError {
	return googleError{status: http.StatusTooManyRequests, code: "QUOTA_EXCEEDED", text: "Quota exceeded for " + subject + ".", quota: subject}
}

func badField(field, detail string) googleError {
	return googleError{status: http.StatusBadRequest, code: "INVALID_ARGUMENT", text: "Request contains an invalid argument.", field: field, detail: detail}
}

// googleErrorOf makes the error of a scripted answer: what Google says along
// with that word.
func googleErrorOf(a Answer, project string) googleError {
	texts := map[string]string{
		"UNREGISTERED":           "Requested entity was not found.",
		"INVALID_ARGUMENT":       "Request contains an invalid argument.",
		"SENDER_ID_MISMATCH":     "SenderId mismatch",
		"THIRD_PARTY_AUTH_ERROR": "Request is missing required authentication credential.",
		"QUOTA_EXCEEDED":         "Resource has been exhausted (e.g. check quota).",
		"UNAVAILABLE":            "The service is currently unavailable.",
		"INTERNAL":               "Internal error encountered.",
	}
	switch {
	case a.Reason == "" && a.Status == http.StatusUnauthorized:
		return badCredential()
	case a.Reason == "" && a.Status == http.StatusForbidden:
		return denied(project)
	}
	text := texts[a.Reason]
	if text == "" {
		text = http.StatusText(a.Status)
	}
	return googleError{status: a.Status, code: a.Reason, text: text}
}

// statusName is the word of google.rpc.Code for an HTTP status.
func statusName(status int) string {
	switch status {
	case 400:
		return "INVALID_ARGUMENT"
	case 401:
		return "UNAUTHENTICATED"
	case 403:
		return "PERMISSION_DENIED"
	case 404:
		return "NOT_FOUND"
	case 429:
		return "RESOURCE_EXHAUSTED"
	case 500:
		return "INTERNAL"
	case 503:
		return "UNAVAILABLE"
	}
	return "UNKNOWN"
}

func (g googleError) json(detail any) []byte {
	type m = map[string]any
	var details []any
	if g.code != "" {
		details = append(details, m{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": g.code})
	}
	if g.field != "" {
		details = append(details, m{
			"@type":           "type.googleapis.com/google.rpc.BadRequest",
			"fieldViolations": []any{m{"field": g.field, "description": g.detail}},
		})
	}
	if g.quota != "" {
		details = append(details, m{
			"@type":      "type.googleapis.com/google.rpc.QuotaFailure",
			"violations": []any{m{"subject": g.quota, "description": "messages per minute"}},
		})
	}
	if g.info != "" {
		details = append(details, m{
			"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": g.info, "domain": "googleapis.com",
		})
	}
	body := m{"code": g.status, "message": g.text, "status": statusName(g.status)}
	if detail != nil {
		body["details"] = detail
	} else if len(details) > 0 {
		body["details"] = details
	}
	b, err := json.MarshalIndent(m{"error": body}, "", "  ")
	if err != nil {
		return nil
	}
	return b
}
