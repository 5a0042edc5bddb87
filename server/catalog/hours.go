package catalog

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
)

// Contain reports whether the instant is inside the support hours; zone is that of h.Zone.
func (h SupportHours) Contain(at time.Time, zone *time.Location) bool {
	return h.window().Contains(at, zone)
}

// Next returns when the support hours begin next, strictly after the instant; zero for never.
func (h SupportHours) Next(after time.Time, zone *time.Location) time.Time {
	return h.window().Next(after, zone)
}

func (h SupportHours) window() civil.Window { return civil.Weekly(h.Days, h.Start, h.End) }
