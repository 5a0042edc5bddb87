package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	for source, folder := range map[string]string{"pagerduty": "pagerduty", "opsgenie": "opsgenie", "grafana-oncall": "grafana", "goalert": "goalert"} {
		t.Run(source, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join("internal/importer", folder, "testdata", "*.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no export of %s: %v", source, err)
			}
			got, code := command(t, nil, append([]string{"import", source, "--days", "90"}, files...)...)
			golden(t, "import-"+source, got)
			if code != exitDiffers { // each of the exports has something that cannot be the same
				t.Errorf("exit %d, want %d", code, exitDiffers)
			}
		})
	}
}

func TestImportWritesFiles(t *testing.T) {
	dir := t.TempDir()
	export, out, report := filepath.Join(dir, "users.json"), filepath.Join(dir, "org.yaml"), filepath.Join(dir, "report.txt")
	if err := os.WriteFile(export, []byte(`{"users": [{"id": "P1", "name": "Ann", "email": "ann@example.org"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, code := command(t, nil, "import", "pagerduty", "--out", out, "--report", report, export)
	if code != exitOK || got != "--- exit 0\n" {
		t.Errorf("exit %d and %q, want 0 and nothing", code, got)
	}
	for name, want := range map[string]string{out: "id: ann", report: "Import from PagerDuty: 1 person"} {
		text, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %q (%v), want %q in it", name, text, err, want)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: it may hold keys", name)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"import pagerduty " + bad:             "read bad: it is no answer of PagerDuty's REST API",
		"import pagerduty --days 0 " + bad:    "--days: must be 1 to 366",
		"import pagerduty /nowhere/else.json": "no such file",
	} {
		if got, code := command(t, nil, strings.Fields(args)...); code == exitOK || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}
