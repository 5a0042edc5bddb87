package demo

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// person is one of those who can be paged in the shop.
type person int

const (
	ann person = iota + 1 // on call first
	bo                    // second
	cy                    // paged when nobody else can be
)

func (p person) String() string { return [...]string{"", "Ann", "Bo", "Cy"}[p] }

func (p person) name() string  { return "users/" + strings.ToLower(p.String()) }
func (p person) email() string { return strings.ToLower(p.String()) + "@shop.example" }

// personOf finds the owner of a mailbox; 0 for a stranger's.
func personOf(email string) person {
	for _, p := range []person{ann, bo, cy} {
		if p.email() == strings.ToLower(email) {
			return p
		}
	}
	return 0
}

//go:embed organisation.yaml
var organisationSource string

var organisation = template.Must(template.New("organisation").Parse(organisationSource)) //nolint:gochecknoglobals // parsed once

// shopAlerts are what can break. The first begins the story; the others are for whoever wants more.
//
//nolint:gochecknoglobals // look-up table
var shopAlerts = []alert{
	{"checkout", "CheckoutErrorsHigh", "critical", "5xx above 20 % for 2 min", "One in five payments fails at the till."},
	{"search", "SearchLatencyHigh", "critical", "p99 above 4 s", "Customers see spinners instead of shoes."},
	{"checkout", "CheckoutQueueGrowing", "error", "1,200 orders wait", "Orders are taken but not passed on."},
	{"search", "SearchIndexStale", "warning", "index is 3 h old", "New articles cannot be found."},
}

// applyOrganisation brings the shop about through the same call as `tocsin
// apply`, and returns the keys of its integrations by service.
func applyOrganisation(ctx context.Context, api tocsinv1.ConfigurationServiceClient, p pace) (map[string]string, error) {
	var text strings.Builder
	if err := organisation.Execute(&text, p); err != nil {
		return nil, fmt.Errorf("write the organisation: %w", err)
	}
	answer, err := api.ApplyConfiguration(ctx, &tocsinv1.ApplyConfigurationRequest{Yaml: text.String()})
	if err != nil {
		return nil, fmt.Errorf("apply the organisation: %w", err)
	}
	keys := make(map[string]string)
	for _, change := range answer.GetChanges() {
		id, ok := strings.CutPrefix(change.GetName(), "integrations/")
		if ok && change.GetKey() != "" {
			keys[strings.TrimSuffix(id, "-alertmanager")] = change.GetKey()
		}
	}
	return keys, nil
}
