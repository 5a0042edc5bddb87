// Package retryafter reads the header of that name (RFC 9110, 10.2.3).
package retryafter

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Most is the longest wait that is believed.
const Most = 24 * time.Hour

// Parse returns how long to wait from now: the value is seconds or a date. It
// is 0 for what is neither, or past, and never more than [Most].
func Parse(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if s, err := strconv.ParseFloat(value, 64); err == nil && s > 0 {
		return time.Duration(min(s, Most.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), Most)
	}
	return 0
}
