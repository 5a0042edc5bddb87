package control

import (
	"strings"
	"testing"
)

// CheckAnswers parses a script: whatever it is, the plan is within its limits.
func CheckAnswers(t *testing.T, body string) {
	t.Helper()
	var s scriptJSON
	if parse(strings.NewReader(body), &s) != nil {
		return
	}
	answers, err := s.plan()
	if err == nil && (len(answers) == 0 || len(answers) > maxAnswers) {
		t.Errorf("%d answers", len(answers))
	}
	for _, a := range answers {
		if a.Delay < 0 || a.Status < 0 || a.Status > 599 {
			t.Errorf("%+v", a)
		}
	}
}
