// Package goalert imports from GoAlert: answers of its GraphQL API.
//
// Read are users, rotations, schedules, userOverrides, escalationPolicies and
// services, in any number of files, each the answer to a query with nodes.
package goalert
