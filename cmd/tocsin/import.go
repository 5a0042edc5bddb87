package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer/goalert"
	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer/grafana"
	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer/opsgenie"
	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer/pagerduty"
)

// exitDiffers is how an import ends whose shifts are not the same on both sides.
const exitDiffers = 2

type importCmd struct {
	PagerDuty importPagerDutyCmd `cmd:"" name:"pagerduty" help:"From answers of PagerDuty's REST API."`
	Opsgenie  importOpsgenieCmd  `cmd:"" name:"opsgenie" help:"From answers of Opsgenie's REST API."`
	Grafana   importGrafanaCmd   `cmd:"" name:"grafana-oncall" help:"From answers of Grafana OnCall's public API."`
	GoAlert   importGoAlertCmd   `cmd:"" name:"goalert" help:"From answers of GoAlert's GraphQL API."`
}

// importing is what the import from every source has in common.
type importing struct {
	Files  []string `arg:"" name:"file" type:"existingfile" help:"Answers of the API, as JSON."`
	Out    string   `placeholder:"FILE" help:"Write the document there. Default: standard output."`
	Report string   `placeholder:"FILE" help:"Write the report there. Default: standard error."`
	Days   int      `default:"90" help:"Compare this many days from now on. Default: 90."`
}

type (
	importPagerDutyCmd struct{ importing }
	importOpsgenieCmd  struct{ importing }
	importGrafanaCmd   struct{ importing }
	importGoAlertCmd   struct{ importing }
)

// Run imports from PagerDuty.
func (c *importPagerDutyCmd) Run(s *session) error { return c.run(s, pagerduty.Import) }

// Run imports from Opsgenie.
func (c *importOpsgenieCmd) Run(s *session) error { return c.run(s, opsgenie.Import) }

// Run imports from Grafana OnCall.
func (c *importGrafanaCmd) Run(s *session) error { return c.run(s, grafana.Import) }

// Run imports from GoAlert.
func (c *importGoAlertCmd) Run(s *session) error { return c.run(s, goalert.Import) }

// run reads the files, writes document and report, and tells by the exit code
// whether both sides are the same.
func (c *importing) run(s *session, source func([]importer.File, importer.Window) (*importer.Import, error)) error {
	if c.Days < 1 || c.Days > 366 {
		return usageError{fmt.Errorf("--days: must be 1 to 366, not %d", c.Days)}
	}
	files := make([]importer.File, len(c.Files))
	for i, name := range c.Files {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read the export: %w", err)
		}
		base := filepath.Base(name)
		files[i] = importer.File{Name: strings.TrimSuffix(base, filepath.Ext(base)), Text: text}
	}
	from := s.now().UTC().Truncate(time.Minute)
	w := importer.Window{From: from, To: from.AddDate(0, 0, c.Days)}
	im, err := source(files, w)
	if err != nil {
		return err
	}
	parity, err := im.Compare(w)
	if err != nil {
		return err
	}
	document, err := im.Document.YAML()
	if err != nil {
		return err
	}
	report := importer.Report{Import: im, Window: w, Parity: parity}
	var text strings.Builder
	if _, err := report.WriteTo(&text); err != nil {
		return err
	}
	if err := write(c.Out, s.out, string(document)); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	if err := write(c.Report, s.err, text.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if !report.Equal() {
		return exited(exitDiffers)
	}
	return nil
}

// write puts text into a file that only its owner may read, as it may hold
// keys; without a name, to otherwise.
func write(name string, otherwise io.Writer, text string) error {
	if name == "" {
		_, err := io.WriteString(otherwise, text)
		return err
	}
	return os.WriteFile(name, []byte(text), 0o600)
}
