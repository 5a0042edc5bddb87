package importer_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
)

// TestStepsRing: nobody who was called or texted is left with mail alone.
func TestStepsRing(t *testing.T) {
	methods := map[string]string{"mobile": "push", "email": "mail"}
	way := func(by string, minutes int) importer.Way {
		return importer.Way{By: by, After: time.Duration(minutes) * time.Minute}
	}
	for name, c := range map[string]struct {
		ways []importer.Way
		want []directory.StepDoc
	}{
		"mail, then calls":   {[]importer.Way{way("email", 0), way("sms", 1), way("voice", 2)}, []directory.StepDoc{{Method: "mail"}, {Delay: "1m", Method: "push"}}},
		"a push is there":    {[]importer.Way{way("sms", 0), way("mobile", 1)}, []directory.StepDoc{{Delay: "1m", Method: "push"}}},
		"mail, as it was":    {[]importer.Way{way("email", 0)}, []directory.StepDoc{{Method: "mail"}}},
		"calls: as is usual": {[]importer.Way{way("sms", 0), way("voice", 1)}, nil},
	} {
		if diff := cmp.Diff(c.want, (&importer.Draft{Import: &importer.Import{}}).Steps("Ann", c.ways, methods)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
