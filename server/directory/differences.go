package directory

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// field is how people read a stored field of a record: in a plan, and in the
// audit record of a change.
type field struct {
	name  string                           // as the API has it; empty: the stored name
	value func(raw json.RawMessage) string // how a value is told; nil: values are not
}

// hidden are stored fields that no record of the API has.
var hidden = []string{"id", "ID", "hint", "version", "replaced", "CreatedAt", "By", "Request", "At", "overrides", "seed", "sealed"} //nolint:gochecknoglobals // look-up table

// fields are those that are called otherwise than they are stored, or whose
// values are told: short ones that are no secrets.
var fields = map[string]field{ //nolint:gochecknoglobals // look-up table
	"name": {"display_name", asIs}, "Name": {"display_name", asIs}, "email": {"", asIs}, "zone": {"time_zone", asIs},
	"role": {"", enum(roleWords)}, "inactive": {"", asIs}, "privacy": {"", enum(privacyWords)},
	"methods": {"contact_methods", nil}, "high": {"high_steps", nil}, "low": {"low_steps", nil}, "quiet": {"quiet_hours", nil},
	"remind": {"reminder", nil}, "members": {"", asIs}, "managers": {"", asIs},
	"team": {"", asIs}, "policy": {"escalation_policy", asIs}, "disabled": {"", asIs}, "urgency": {"urgency_rule", enum(urgencyWords)},
	"hours": {"support_hours", nil}, "min_severity": {"", enum(severityWords)}, "ack_timeout": {"acknowledge_timeout", lasts},
	"ack_reminder": {"acknowledge_reminder", lasts}, "auto_resolve": {"", lasts}, "reopen_window": {"", lasts}, "key_scope": {"", enum(scopeWords)},
	"layers": {"", nil}, "response": {"response_target", lasts}, "Start": {"start_time", asIs}, "End": {"end_time", asIs}, "schedule": {"", asIs},
	"Note": {"note", nil}, "theirs": {"swap", nil}, "Schedule": {"schedule", asIs},
	"Person": {"person", asIs}, "Mode": {"mode", enum(modeWords)},
	"loops": {"", asIs}, "escalate_low": {"", asIs}, "hand_off": {"", enum(handOffWords)},
	"service": {"", asIs}, "source": {"", asIs}, "hash": {"key", nil},
	"user": {"", asIs}, "User": {"user", asIs}, "expires": {"expire_time", asIs}, "revoked": {"revoke_time", asIs}, "by": {"creator", asIs},
	"catch_all": {"", asIs}, "organization": {"", asIs}, "held": {"", asIs}, "held_by": {"holder", asIs}, "held_since": {"hold_time", asIs},
	"held_reason": {"reason", asIs}, "overdue_before": {"", asIs}, "overdue_notice": {"", asIs}, "resumed": {"resume_time", asIs},
	"Platform": {"platform", enum(words{roster.IOS: "ios", roster.Android: "android", roster.Web: "web"})}, "Silenced": {"silenced", asIs},
	"State": {"state", enum(words{
		roster.DeviceActive: "active", roster.DeviceUnverified: "unverified", roster.DeviceParked: "parked",
		roster.DeviceDead: "dead", roster.DeviceRevoked: "revoked",
	})},
	"install": {"install_id", nil}, "app": {"app_id", asIs}, "env": {"environment", nil}, "confirmed": {"environment_confirmed", asIs}, "can": {"capabilities", nil},
	"people": {"", nil}, "every": {"interval", lasts}, "limit": {"", lasts}, "night": {"", asIs}, "on_call": {"on_call_within", lasts}, "days": {"hours.days", asIs},
	"start": {"hours.start", lasts}, "end": {"hours.end", lasts}, "away": {"absences", nil}, "host": {"", asIs},
	"mark":       {"declared_by", markOwner},
	"permission": {"", nil}, "state_reason": {"", asIs}, "epoch": {"", asIs},
}

// differences names the fields that differ between two states of a record,
// with the values of those that are told. Either may be nil.
func differences(old, now Record) []string {
	before, after := fieldsOf(old), fieldsOf(now)
	for name := range after {
		if _, ok := before[name]; !ok {
			before[name] = nil
		}
	}
	var out []string
	for stored, a := range before {
		b := after[stored]
		if string(a) == string(b) || slices.Contains(hidden, stored) || stored == "mark" && markOwner(a) == markOwner(b) {
			continue
		}
		f := fields[stored]
		line := cmp.Or(f.name, stored)
		switch {
		case f.value == nil:
		case old == nil:
			line += ": " + told(f, b)
		default:
			line += ": " + told(f, a) + " -> " + told(f, b)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// told writes a value; one that is not set is a dash.
func told(f field, raw json.RawMessage) string {
	if len(raw) == 0 {
		return "-"
	}
	return f.value(raw)
}

// asIs writes a value as JSON, if it is short.
func asIs(raw json.RawMessage) string {
	const most = 200
	if len(raw) > most {
		return strings.ToValidUTF8(string(raw[:most]), "") + "…"
	}
	return string(raw)
}

// enum writes a value by its word.
func enum(w words) func(json.RawMessage) string {
	return func(raw json.RawMessage) string {
		var v int
		if err := json.Unmarshal(raw, &v); err != nil || v < 0 || v >= len(w) || w[v] == "" {
			return asIs(raw)
		}
		return w[v]
	}
}

// lasts writes a duration; a negative one is off.
func lasts(raw json.RawMessage) string {
	var d time.Duration
	if err := json.Unmarshal(raw, &d); err != nil {
		return asIs(raw)
	}
	if d < 0 {
		return never
	}
	return span(d)
}

// fieldsOf returns the stored fields of a record by name.
func fieldsOf(r Record) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if r == nil {
		return fields
	}
	payload, err := encode(r)
	if err != nil {
		return fields
	}
	var e struct {
		V json.RawMessage `json:"v"`
	}
	if json.Unmarshal(payload, &e) == nil {
		_ = json.Unmarshal(payload, &fields)
		delete(fields, "v")
		_ = json.Unmarshal(e.V, &fields)
	}
	return fields
}
