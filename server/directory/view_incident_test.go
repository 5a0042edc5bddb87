package directory_test

import (
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// A snapshot is all of incident.View except for whose turn it is, and what phones confirm.
type withTurn struct{ *directory.Snapshot }

func (withTurn) Turn(escalation.PolicyID, int) (roster.UserID, bool) { return "", false }

func (withTurn) Silent(roster.Platform) bool { return false }

var _ incident.View = withTurn{}
