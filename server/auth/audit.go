package auth

import (
	"log/slog"
	"time"
)

// Audit is the record of one mutation: who changed what, when and from where.
// It is written by the same commit as the change itself. It carries no
// secrets: Change says which fields moved, and values of public ones only.
type Audit struct {
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`    // as Principal.String
	Method   string    `json:"method"`   // full gRPC method, or the command of the console
	Resource string    `json:"resource"` // "policies/payments"
	Action   string    `json:"action"`   // "create", "update", "delete"
	Change   string    `json:"change,omitempty"`
	Request  string    `json:"request,omitempty"` // request id
	IP       string    `json:"ip,omitempty"`
}

// LogValue lets an audit record be logged as it is.
func (a Audit) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Time("at", a.At), slog.String("actor", a.Actor), slog.String("method", a.Method),
		slog.String("resource", a.Resource), slog.String("action", a.Action), slog.String("change", a.Change),
		slog.String("request", a.Request), slog.String("ip", a.IP),
	)
}
