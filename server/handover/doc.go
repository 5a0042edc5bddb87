// Package handover gathers what goes from the one who goes off call to the one
// who comes: what is open, what was noted, what paged most, which response
// targets were missed, and what lies ahead. It reads, and changes nothing but the
// note that somebody leaves.
package handover
