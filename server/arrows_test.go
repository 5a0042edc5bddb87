// Package server_test holds what is true of all packages of the server together:
// the direction of their imports.
package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tocsin-oncall/tocsin/"

// layers is the server from top to bottom. A package may import those of its own
// line and below, never above. The first element of a path counts: server/store/storepb
// stands where server/store does.
var layers = [][]string{
	{"app"},
	{"config"},
	{"gateway"},
	{"rpc"},
	{"pagerduty"},
	{"ingest"},
	{"rehearsal"},
	{"engine"},
	{"notify"},
	{"respond"},
	{"handover"},
	{"forecast"},
	{"directory"},
	{"auth"},
	{"store"},
	{"redisd"},
	{"admission"},
	domain,
	{"fault"},
}

// domain are values and rules: no I/O, no clock, no wire formats.
var domain = []string{"incident", "attention", "escalation", "calendar", "drill", "readiness", "schedule", "silence", "roster", "catalog", "event", "civil"}

// ban is what packages must not import.
type ban struct {
	of      []string // import paths below the module; those in their folders are meant too
	reach   []string // not even through others
	imports []string // not themselves: the standard library and lower layers may
	why     string
}

var bans = []ban{
	{
		of: under("server/", domain),
		reach: []string{
			"github.com/redis/go-redis", "google.golang.org/grpc", "google.golang.org/protobuf", "net/http",
			module + "api", module + "push",
		},
		imports: []string{"os"}, // fmt reaches it
		why:     "the domain is values and rules",
	},
	{
		of:    []string{"server/fault"},
		reach: []string{"github.com", "google.golang.org", "net/http"},
		why:   "the error vocabulary is under all",
	},
	{
		of:      []string{"server/engine"},
		imports: []string{"github.com/redis/go-redis", "google.golang.org/grpc"},
		why:     "Redis is spoken to in store, gRPC in rpc and gateway",
	},
	{
		of:    []string{"push"},
		reach: []string{module + "server", module + "api", module + "cmd"},
		why:   "push is a library for anyone",
	},
}

// listed is one package as the go command describes it. Tests do not count:
// they put parts together.
type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestImportsPointDown(t *testing.T) {
	g := load(t)
	for _, from := range g.ours("server") {
		above := layerOf(from)
		if above < 0 {
			continue // TestEveryPackageHasItsPlace names it
		}
		for _, to := range g.packages[from].Imports {
			if at := layerOf(to); at >= 0 && at < above {
				t.Errorf("%s imports %s, which stands above it", short(from), short(to))
			}
		}
	}
}

func TestEveryPackageHasItsPlace(t *testing.T) {
	for _, from := range load(t).ours("server") {
		if layerOf(from) < 0 {
			t.Errorf("%s is in no layer: say where it stands, in server/arrows_test.go, .golangci.yml and ARCHITECTURE.md", short(from))
		}
	}
}

func TestNothingReachesWhatItMustNot(t *testing.T) {
	g := load(t)
	for _, b := range bans {
		for _, root := range b.of {
			for _, from := range g.ours(root) {
				for _, banned := range b.reach {
					if way := g.way(from, banned); way != nil {
						t.Errorf("%s reaches %s (%s): %s", short(from), banned, b.why, strings.Join(way, " → "))
					}
				}
				for _, banned := range b.imports {
					if slices.ContainsFunc(g.packages[from].Imports, func(p string) bool { return within(p, banned) }) {
						t.Errorf("%s imports %s (%s)", short(from), banned, b.why)
					}
				}
			}
		}
	}
}

// TestTheArrowsCanFail walks the checks over a made-up server in which each rule
// is broken once: a check that finds nothing there would find nothing anywhere.
func TestTheArrowsCanFail(t *testing.T) {
	g := graph{packages: map[string]listed{
		module + "server/event": {Imports: []string{"example.com/client"}},
		module + "server/fault": {Imports: []string{"fmt"}},
		module + "push/apns":    {Imports: []string{module + "pushed"}},
		module + "pushed":       {Imports: []string{module + "server/event"}},
		"example.com/client":    {Imports: []string{"net/http"}},
		"fmt":                   {Standard: true, Imports: []string{"net/http"}},
		"net/http":              {Standard: true},
	}}
	for _, c := range []struct {
		from, banned string
		want         []string
	}{
		{"server/event", "net/http", []string{"server/event", "example.com/client", "net/http"}},
		{"push/apns", module + "server", []string{"push/apns", "pushed", "server/event"}},
		{"server/fault", "net/http", nil}, // what the standard library does inside is its own affair
		{"push/apns", "example.com/other", nil},
	} {
		if got := g.way(module+c.from, c.banned); !slices.Equal(got, c.want) {
			t.Errorf("way from %s to %s: got %q, want %q", c.from, c.banned, got, c.want)
		}
	}
	if got, want := g.ours("push"), []string{module + "push/apns"}; !slices.Equal(got, want) {
		t.Errorf("packages of push: got %q, want %q", got, want)
	}
	order := []string{"app", "rpc", "rpc/interceptor", "engine", "store/storepb", "event", "fault"}
	for i := 1; i < len(order); i++ {
		if hi, lo := layerOf(module+"server/"+order[i-1]), layerOf(module+"server/"+order[i]); hi > lo || hi < 0 {
			t.Errorf("layer of %s: got %d, want it above %s, %d", order[i-1], hi, order[i], lo)
		}
	}
	for _, p := range []string{"server/util", "server/events", "push", "cmd/tocsin"} {
		if got := layerOf(module + p); got != -1 {
			t.Errorf("layer of %s: got %d, want none", p, got)
		}
	}
}

// graph is who imports whom: our packages of server/ and push/ and all below them.
type graph struct{ packages map[string]listed }

// load asks the go command for the graph. What does not compile at the moment is
// listed all the same, as far as its imports can be read.
func load(t *testing.T) graph {
	t.Helper()
	dirs := sources(t, "../server", "../push")
	args := append([]string{"list", "-e", "-deps", "-json=ImportPath,Imports,Standard"}, dirs...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	g := graph{packages: map[string]listed{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read the answer of go list: %v", err)
		}
		g.packages[p.ImportPath] = p
	}
	if len(g.ours("server")) == 0 {
		t.Fatalf("go list named %d packages and none of the server", len(g.packages))
	}
	return g
}

// sources returns the folders under roots that hold Go code besides tests. It
// reads the folders itself so that the go command, which keeps the results of
// tests, sees what this one depends on and runs it again after a change.
func sources(t *testing.T, roots ...string) []string {
	t.Helper()
	var dirs []string
	for _, root := range roots {
		err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil // not there yet, or gone since its folder was read
			case err != nil:
				return err
			case e.IsDir() && e.Name() == "testdata":
				return filepath.SkipDir
			}
			dir := filepath.ToSlash(filepath.Dir(name))
			if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("read %s: %v", root, err)
		}
	}
	if _, err := os.Stat("../go.mod"); err != nil {
		t.Fatalf("this test stands in server/, right below go.mod: %v", err)
	}
	return dirs
}

// ours returns, in order, the packages of the module at root and in its folders.
func (g graph) ours(root string) []string {
	var found []string
	for p := range g.packages {
		if within(p, module+root) {
			found = append(found, p)
		}
	}
	slices.Sort(found)
	return found
}

// way returns the shortest chain of imports from a package to one at or below
// banned, nil when there is none. What the standard library imports inside
// itself is not followed.
func (g graph) way(from, banned string) []string {
	came := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at != from && within(at, banned) {
			var way []string
			for ; at != ""; at = came[at] {
				way = append(way, short(at))
			}
			slices.Reverse(way)
			return way
		}
		if g.packages[at].Standard {
			continue
		}
		for _, next := range g.packages[at].Imports {
			if _, seen := came[next]; !seen {
				came[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// layerOf returns the line of layers that a package of the server stands on, -1 for none.
func layerOf(pkg string) int {
	rest, ok := strings.CutPrefix(pkg, module+"server/")
	if !ok {
		return -1
	}
	name, _, _ := strings.Cut(rest, "/")
	return slices.IndexFunc(layers, func(layer []string) bool { return slices.Contains(layer, name) })
}

// within reports whether a package is root or in one of its folders.
func within(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}

func under(dir string, names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = path.Join(dir, name)
	}
	return all
}

func short(pkg string) string { return strings.TrimPrefix(pkg, module) }
