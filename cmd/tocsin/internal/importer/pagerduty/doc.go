// Package pagerduty imports from PagerDuty: answers of the list and get
// endpoints of its REST API v2.
//
// Read are users, teams, members, schedules, overrides, escalation_policies and
// services, in any number of files. Members and overrides do not say whose they
// are: their files are called members-TEAM and overrides-SCHEDULE, or overrides
// stand in their schedule under the key overrides.
package pagerduty
