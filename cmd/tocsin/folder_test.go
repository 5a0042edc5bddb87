package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// yamlFolder makes a folder of that name with files.
func yamlFolder(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolderIsOneDocument(t *testing.T) {
	f := &server{}
	data := serveAdmin(t, f)
	dir := yamlFolder(t, "Shop", map[string]string{"b.yml": "teams: []\n", "a.yaml": "people: []\n", "README.md": "x", ".hidden.yaml": "x"})
	if got, code := command(t, []string{"TOCSIN_DATA_DIR=" + data}, "apply", "--prune", dir); code != 0 {
		t.Fatal(got)
	}
	sent, _ := f.last()
	r, ok := sent.(*api.ApplyConfigurationRequest)
	if !ok {
		t.Fatalf("sent %T", sent)
	}
	var names []string
	for _, f := range r.GetFiles() {
		names = append(names, f.GetName())
	}
	if !slices.Equal(names, []string{"a.yaml", "b.yml"}) || r.GetOwner() != "shop" || !r.GetPrune() || r.GetRequestId() == "" {
		t.Errorf("sent %v", r)
	}
	empty := yamlFolder(t, "empty", nil)
	if got, code := command(t, []string{"TOCSIN_DATA_DIR=" + data}, "apply", "--prune", empty); code != exitError || !strings.Contains(got, "has no file") {
		t.Errorf("an empty folder: %s", got)
	}
	large := yamlFolder(t, "large", map[string]string{"a.yaml": strings.Repeat("# much\n", maxFolder/7+1)})
	if got, code := command(t, []string{"TOCSIN_DATA_DIR=" + data}, "apply", large); code != exitError || !strings.Contains(got, "split the folder") {
		t.Errorf("a large folder: %s", got)
	}
}

func TestPlanIsCarriedOutAsItWasMade(t *testing.T) {
	f := &server{}
	data := serveAdmin(t, f)
	dir := yamlFolder(t, "shop", map[string]string{"a.yaml": "people: []\n"})
	plan := filepath.Join(t.TempDir(), "plan.json")
	if got, code := command(t, []string{"TOCSIN_DATA_DIR=" + data}, "plan", "--prune", "--out", plan, dir); code != 0 {
		t.Fatal(got)
	}
	if info, err := os.Stat(plan); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the plan may hold keys, and has the mode %v (%v)", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("people: [changed]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, code := command(t, []string{"TOCSIN_DATA_DIR=" + data}, "apply", "--plan", plan); code != 0 {
		t.Fatal(got)
	}
	sent, _ := f.last()
	r, ok := sent.(*api.ApplyConfigurationRequest)
	if !ok || r.GetFiles()[0].GetText() != "people: []\n" || r.GetRevision() != "1-7" || r.GetOwner() != "shop" || !r.GetPrune() || r.GetValidateOnly() {
		t.Errorf("sent %v", sent)
	}
}

func TestNoDrift(t *testing.T) {
	data := serveAdmin(t, &server{})
	dir := yamlFolder(t, "shop", map[string]string{"a.yaml": "# same\n"})
	if got, code := command(t, []string{"TOCSIN_DATA_DIR=" + data}, "drift", dir); code != 0 || !strings.HasPrefix(got, "The server is as the files say.") {
		t.Error(got)
	}
}

func TestExportToFolder(t *testing.T) {
	data := serveAdmin(t, &server{})
	dir := filepath.Join(t.TempDir(), "shop")
	for range 2 { // over itself, too
		if got, code := command(t, []string{"TOCSIN_DATA_DIR=" + data}, "export", "--dir", dir); code != 0 {
			t.Fatal(got)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "people.yaml"))
	if err != nil || string(text) != "# yaml-language-server: $schema=tocsin.schema.json\npeople:\n  - id: ann\n" {
		t.Errorf("people.yaml is %q (%v)", text, err)
	}
	if schema, err := os.ReadFile(filepath.Join(dir, schemaName)); err != nil || !strings.Contains(string(schema), "$defs") {
		t.Errorf("there is no schema beside them: %v", err)
	}
	other := yamlFolder(t, "other", map[string]string{"mine.yaml": ""})
	if got, code := command(t, []string{"TOCSIN_DATA_DIR=" + data}, "export", "--dir", other); code != exitError || !strings.Contains(got, "mine.yaml already") {
		t.Errorf("a folder with other files: %s", got)
	}
}
