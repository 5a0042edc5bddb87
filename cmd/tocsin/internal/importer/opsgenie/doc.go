// Package opsgenie imports from Opsgenie: answers of its REST API v2.
//
// The answers do not say what they hold, so files are called after their
// endpoint: users, teams, schedules, escalations, services, with anything
// behind a dash; overrides-SCHEDULE and timeline-SCHEDULE with the id of the
// schedule.
package opsgenie
