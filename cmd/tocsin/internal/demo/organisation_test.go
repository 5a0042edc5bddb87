package demo

import (
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/directory"
)

func TestOrganisationIsADocument(t *testing.T) {
	t.Parallel()
	for _, p := range []pace{storyPace, livePace} {
		var text strings.Builder
		if err := organisation.Execute(&text, p); err != nil {
			t.Fatal(err)
		}
		doc, _, err := directory.ParseDocument([]byte(text.String()))
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		if got, want := doc.Policies[0].Levels[0].Delay, p.Level.String(); got != want {
			t.Errorf("%s: the level lasts %s, want %s", p.Name, got, want)
		}
		for _, service := range doc.Services {
			if len(service.Integrations) != 1 || service.Integrations[0].ID != service.ID+"-alertmanager" {
				t.Errorf("%s has the integrations %v, want one, by the name that applyOrganisation looks for", service.ID, service.Integrations)
			}
		}
	}
}
