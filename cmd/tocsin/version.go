package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// build is what this program was made of.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"` // empty when only Version tells it
	Go      string `json:"go"`
	Target  string `json:"target"`
	Schema  int    `json:"schema"` // of stored documents: the newest that it writes
}

// readBuild joins what the linker was told and what the compiler recorded.
func readBuild(version string) build {
	b := build{Version: version, Go: runtime.Version(), Target: runtime.GOOS + "/" + runtime.GOARCH, Schema: store.Schema}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	modified := false
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value[:min(12, len(setting.Value))]
		case "vcs.modified":
			modified = setting.Value == "true"
		}
	}
	if modified {
		b.Commit += " with changes"
	}
	if b.Version == "" {
		b.Version = "development"
	}
	return b
}

type versionCmd struct {
	output
}

// Run prints the version.
func (c *versionCmd) Run(s *session) error {
	if c.json() {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		return e.Encode(s.build)
	}
	fmt.Fprintf(s.out, "tocsin %s\n", s.build.Version)
	t := s.facts()
	t.fact("commit", s.build.Commit)
	t.fact("go", s.build.Go+" "+s.build.Target)
	t.fact("schema", fmt.Sprint(s.build.Schema))
	return t.flush()
}
