// Package calendar turns shifts into iCalendar (RFC 5545) and back: what a
// calendar program subscribes to, and what it says about absences. It is pure:
// who fetches and who serves is the affair of others.
package calendar
