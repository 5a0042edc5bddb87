package ingest

import (
	"net/http"
	"strings"
)

// credential returns the integration key of a request and the name of the
// source, if its path has one. path is what stands behind /integrations/:
// "<key>/<source>", "<key>", "<source>" or nothing. Without a key in the path
// it is looked for where senders can put one: Authorization (Bearer, Token,
// GenieKey, the password of Basic), X-Api-Key, and the query parameter key.
// An empty key: there is none of the right form.
func credential(r *http.Request, path string) (key, source string) {
	key, source, _ = strings.Cut(path, "/")
	if WellFormedKey(key) {
		return key, source
	}
	if source == "" {
		if _, known := Lookup(key); key != "" && !known {
			return "", "" // a mistyped key, which a key elsewhere does not mend
		}
		source = key
	}
	_, password, _ := r.BasicAuth()
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	switch strings.ToLower(scheme) {
	case "bearer", "token", "geniekey":
		token = strings.Trim(strings.TrimPrefix(strings.TrimSpace(token), "token="), `"`)
	default:
		token = ""
	}
	for _, candidate := range []string{token, password, r.Header.Get("X-Api-Key"), r.URL.Query().Get("key")} {
		if WellFormedKey(candidate) {
			return candidate, source
		}
	}
	return "", ""
}

// isRequestID reports whether a request id of a caller may be repeated in
// headers and logs.
func isRequestID(id string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+="
	return id != "" && len(id) <= 128 && strings.Trim(id, letters) == ""
}
