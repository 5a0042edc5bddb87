package server_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStoriesAreTrue holds docs/stories.md and docs/guarantees.md: whatever they
// name must exist, so that a renamed test or command takes its line along.
func TestStoriesAreTrue(t *testing.T) {
	b := newBook(t)
	for _, name := range []string{"stories.md", "guarantees.md"} {
		found := b.read(t, filepath.Join("..", "docs", name))
		for _, complaint := range found {
			t.Errorf("docs/%s: %s", name, complaint)
		}
	}
}

// TestStoriesCanFail shows that the test above sees what is not there.
func TestStoriesCanFail(t *testing.T) {
	b := newBook(t)
	page := filepath.Join(t.TempDir(), "page.md")
	text := strings.Join([]string{
		"| What | How | Test |", "|---|---|---|",
		"| a | `tocsin fly` | `server TestStoriesAreTrue` |",
		"| b | `tocsin apply --sideways` | `server TestStoriesAreTrue` |",
		"| c | `GET /v1/nothing` | `server TestStoriesAreTrue` |",
		"| d | `POST /integrations/{key}/pigeon` | `server TestStoriesAreTrue` |",
		"| e | `no_such_key` | `server TestStoriesAreTrue` |",
		"| f | `make tea` | `server TestThatNobodyWrote` |",
		"| g | `tocsin serve` | |",
	}, "\n")
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := b.read(t, page)
	want := []string{"tocsin fly", "--sideways", "GET /v1/nothing", "pigeon", "no_such_key", "make tea", "TestThatNobodyWrote", "names no test"}
	if len(got) != len(want) {
		t.Fatalf("complaints: got %q, want one about each of %q", got, want)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("complaint %d: got %q, want one about %q", i, got[i], want[i])
		}
	}
}

// book is what a story may name.
type book struct {
	paths    map[string]map[string]any // of the API, with their methods
	gateway  string                    // source of the doors beside it
	settings string                    // docs/configuration.md
	yaml     string                    // source of the document of tocsin apply
	makefile string
	commands string // source of the commands without a golden help
}

func newBook(t *testing.T) *book {
	t.Helper()
	var api struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(content(t, "../api/openapi/tocsin.swagger.json")), &api); err != nil {
		t.Fatal(err)
	}
	return &book{
		paths: api.Paths, gateway: content(t, "gateway/gateway.go"), settings: content(t, "../docs/configuration.md"),
		yaml: content(t, "directory/yaml_document.go"), makefile: content(t, "../Makefile"), commands: content(t, "../cmd/tocsin/serve.go"),
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	span    = regexp.MustCompile("`([^`]+)`")
	aTest   = regexp.MustCompile(`^([a-z0-9/]+) ((?:Test|Fuzz)\w+)$`)
	aCall   = regexp.MustCompile(`^(GET|POST|PATCH|PUT|DELETE) (/\S+)$`)
	aKey    = regexp.MustCompile(`^[a-z_.]+$`)
	aSource = regexp.MustCompile(`^/integrations/\{key\}/(\w+)$`)
)

// read returns what is wrong with the tables of a page. Their last column names
// tests; a column before it that is headed How names commands, calls and keys.
func (b *book) read(t *testing.T, page string) (complaints []string) {
	t.Helper()
	how := -1
	for line := range strings.SplitSeq(content(t, page), "\n") {
		if !strings.HasPrefix(line, "|") {
			how = -1
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		last := len(cells) - 1
		switch {
		case strings.HasPrefix(cells[0], "---"):
			continue
		case cells[last] == "Test" || cells[last] == "Tests":
			for i, c := range cells {
				if c == "How" {
					how = i
				}
			}
			continue
		}
		if how >= 0 && how < last {
			for _, m := range span.FindAllStringSubmatch(cells[how], -1) {
				if why := b.wrong(m[1]); why != "" {
					complaints = append(complaints, why)
				}
			}
		}
		complaints = append(complaints, wrongTests(cells[0], cells[last])...)
	}
	return complaints
}

// wrongTests complains of a cell that names no test, or one that does not exist.
func wrongTests(what, cell string) (complaints []string) {
	names := span.FindAllStringSubmatch(cell, -1)
	if len(names) == 0 && !strings.HasPrefix(cell, "none:") {
		return []string{what + " names no test"}
	}
	for _, m := range names {
		parts := aTest.FindStringSubmatch(m[1])
		if parts == nil {
			complaints = append(complaints, m[1]+" is not of the form `package TestName`")
			continue
		}
		files, _ := filepath.Glob(filepath.Join("..", filepath.FromSlash(parts[1]), "*_test.go")) // the pattern is well formed
		if !anyContains(files, "\nfunc "+parts[2]+"(") {
			complaints = append(complaints, "there is no "+parts[2]+" in "+parts[1])
		}
	}
	return complaints
}

func anyContains(files []string, text string) bool {
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), text) {
			return true
		}
	}
	return false
}

// wrong says why what a story names does not exist, or nothing.
func (b *book) wrong(name string) string {
	if rest, ok := strings.CutPrefix(name, "tocsin "); ok {
		return b.wrongCommand(name, strings.Fields(rest))
	}
	if target, ok := strings.CutPrefix(name, "make "); ok {
		if !strings.Contains(b.makefile, "\n"+target+":") {
			return "there is no " + name
		}
		return ""
	}
	if m := aCall.FindStringSubmatch(name); m != nil {
		return b.wrongCall(name, m[1], m[2])
	}
	if aKey.MatchString(name) && (strings.Contains(b.settings, "**`"+name+"`**") || strings.Contains(b.yaml, `yaml:"`+name+`"`) || strings.Contains(b.yaml, `yaml:"`+name+`,`)) {
		return ""
	}
	return name + " is no command, call, YAML key or key of the configuration"
}

func (b *book) wrongCall(name, method, path string) string {
	if _, ok := b.paths[path][strings.ToLower(method)]; ok {
		return ""
	}
	if m := aSource.FindStringSubmatch(path); m != nil {
		if _, err := os.Stat(filepath.Join("ingest", m[1]+".go")); err == nil {
			return ""
		}
	}
	if strings.Contains(b.gateway, `"`+path+`"`) || strings.Contains(b.gateway, `"`+name+`"`) {
		return ""
	}
	return "there is no " + name
}

// wrongCommand holds a command against the help that its own golden test keeps.
func (b *book) wrongCommand(name string, words []string) string {
	var command, flags []string
	for _, w := range words {
		if strings.HasPrefix(w, "--") {
			flags = append(flags, w)
		} else {
			command = append(command, w)
		}
	}
	help, err := os.ReadFile(filepath.Join("..", "cmd", "tocsin", "testdata", "help-"+strings.Join(command, "-")+".txt"))
	text := string(help)
	if err != nil {
		all, _ := os.ReadFile(filepath.Join("..", "cmd", "tocsin", "testdata", "help.txt")) // nothing is in what cannot be read
		if len(command) != 1 || !strings.Contains(string(all), "\n  "+command[0]+" ") {
			return "there is no command " + name
		}
		text = b.commands
	}
	for _, f := range flags {
		if !strings.Contains(text, f) && !strings.Contains(text, `name:"`+f[2:]+`"`) {
			return "the command of " + name + " has no flag " + f
		}
	}
	return ""
}
