// Package grafana imports from Grafana OnCall: answers of its public API.
//
// The answers do not say what they hold, so files are called after their
// endpoint: users, teams, schedules, on_call_shifts, escalation_chains,
// escalation_policies, integrations, with anything behind a dash;
// final_shifts-SCHEDULE with the id of the schedule.
package grafana
