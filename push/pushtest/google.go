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
}

func badField(field, detail string) googleError {
	return googleError{status: http.StatusBadRequest, code: "INVALID_ARGUMENT", text: "Request contains an invalid argument.", field: field, detail: detail}
}

// googleErrorOf makes the error of a scripted answer: what Google says along
// with that word.
func googleErrorOf(a Answer) googleError {
	texts := map[string]string{
		"UNREGISTERED":           "Requested entity was not found.",
		"INVALID_ARGUMENT":       "Request contains an invalid argument.",
		"SENDER_ID_MISMATCH":     "SenderId mismatch",
		"THIRD_PARTY_AUTH_ERROR": "Request is missing required authentication credential.",
		"QUOTA_EXCEEDED":         "Resource has been exhausted (e.g. check quota).",
		"UNAVAILABLE":            "The service is currently unavailable.",
		"INTERNAL":               "Internal error encountered.",
	}
	return googleError{status: a.Status, code: a.Reason, text: texts[a.Reason]}
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
