package server_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "run the numbered cases and write docs/conformance.md")

// cases is how many numbered cases there are of what has to follow when a push
// service, a phone, a person or a machine does something.
const cases = 74

var numbered = regexp.MustCompile(`^TestCase(\d\d)_\w+$`)

// proof is one test of a case.
type proof struct {
	number int
	pkg    string // "push", "server/notify"
	name   string
	says   string   // its comment, without its name
	passed []string // the parts named after providers that passed; of a run
	took   time.Duration
}

func (p *proof) id() string { return p.pkg + " " + p.name }

// TestConformance holds docs/conformance.md: every case has a test, every test
// says what it is about, and the page says the same. With -update it runs them
// and writes the page from what passed:
//
//	go test ./server -run TestConformance -update -timeout 30m
func TestConformance(t *testing.T) {
	proofs := readProofs(t)
	for n := 1; n <= cases; n++ {
		if !slices.ContainsFunc(proofs, func(p proof) bool { return p.number == n }) {
			t.Errorf("case %d has no test: name one TestCase%02d_…", n, n)
		}
	}
	for _, p := range proofs {
		if p.says == "" {
			t.Errorf("%s: a comment has to say what happens and what follows, after the test's name", p.id())
		}
	}
	page := filepath.Join("..", "docs", "conformance.md")
	if *update {
		runProofs(t, proofs)
		if err := os.WriteFile(page, []byte(conformancePage(proofs)), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text := content(t, page)
	for _, p := range proofs {
		if !strings.Contains(text, p.row()) {
			t.Errorf("docs/conformance.md does not have %s as it is: run this test with -update", p.id())
		}
	}
	if rows := strings.Count(text, "`TestCase"); rows != len(proofs) {
		t.Errorf("docs/conformance.md has %d tests, there are %d: run this test with -update", rows, len(proofs))
	}
}

// readProofs finds the tests of the cases, in the order of their numbers.
func readProofs(t *testing.T) []proof {
	t.Helper()
	var proofs []proof
	root := ".."
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		for _, d := range tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil {
				continue
			}
			if m := numbered.FindStringSubmatch(f.Name.Name); m != nil {
				n, err := strconv.Atoi(m[1])
				if err != nil {
					return err
				}
				proofs = append(proofs, proof{number: n, pkg: filepath.ToSlash(dir), name: f.Name.Name, says: sentence(f)})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(proofs, func(a, b proof) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name))
	})
	return proofs
}

// sentence is what a test's comment says of it, on one line.
func sentence(f *ast.FuncDecl) string {
	text := strings.Join(strings.Fields(f.Doc.Text()), " ")
	text = strings.TrimSpace(strings.TrimPrefix(text, f.Name.Name))
	text = strings.TrimSpace(strings.TrimPrefix(text, ":"))
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.ReplaceAll(text[1:], "|", "\\|")
}

// runProofs runs the tests and notes what passed. One that fails fails this one.
func runProofs(t *testing.T, proofs []proof) {
	t.Helper()
	args := []string{"test", "-json", "-count=1", "-run", "^TestCase", "-timeout", "25m"}
	known := map[string]*proof{}
	for i := range proofs {
		p := &proofs[i]
		known[p.id()] = p
		if dir := "./" + p.pkg; !slices.Contains(args, dir) {
			args = append(args, dir)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("go %s: %v", strings.Join(args, " "), err)
	}
	passed := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Action, Package, Test, Output string
			Elapsed                       float64
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		top, part, _ := strings.Cut(e.Test, "/")
		id := strings.TrimPrefix(e.Package, module) + " " + top
		p := known[id]
		switch {
		case p == nil:
		case e.Action == "pass" && part == "":
			passed[id], p.took = true, time.Duration(e.Elapsed*float64(time.Second))
		case e.Action == "pass" && slices.Contains(providers, part):
			p.passed = append(p.passed, part)
		}
	}
	for id := range known {
		if !passed[id] {
			t.Errorf("%s did not pass", id)
		}
	}
}

var providers = []string{"apns", "fcm", "webpush"}

// against is which providers the test is about: those that its parts are named
// after, else those that its chapter is about.
func (p *proof) against() string {
	if len(p.passed) > 0 {
		slices.Sort(p.passed)
		return strings.Join(p.passed, ", ")
	}
	switch {
	case p.number <= 30:
		return "apns"
	case p.number <= 42:
		return "fcm"
	case p.number <= 47:
		return "webpush"
	}
	return "all together"
}

// row is the part of a line of the page that can be known without a run.
func (p *proof) row() string {
	return fmt.Sprintf("| %d | %s | `%s` in %s |", p.number, p.says, p.name, path.Clean(p.pkg))
}

func conformancePage(proofs []proof) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# What is proven of pushes

%d numbered cases: what a push service, a phone, a person or a machine does, and what has to follow. Each is a test of that
number, against simulators over real HTTP/2 and, from case 48 on, mostly with the whole server and a real Redis. This page is written by
`+"`go test ./server -run TestConformance -update`"+` from a run in which all of them passed; without -update that test fails when the
page and the tests differ. What they prove is proven of the simulators ([simulators.md](simulators.md)), not of Apple, Google or Mozilla.

Last run: %s, %d tests.

`, cases, time.Now().UTC().Format("2 January 2006"), len(proofs))
	chapters := map[int]string{1: "APNs", 31: "FCM", 43: "Web Push", 48: "Receipts and escalation", 56: "Actions", 62: "Devices and privacy", 68: "The sender and the server"}
	last := 0
	for _, p := range proofs {
		for n := last + 1; n <= p.number; n++ {
			if title, ok := chapters[n]; ok {
				fmt.Fprintf(&b, "\n## %s\n\n| Case | What happens, and what follows | Test | Against |\n|---|---|---|---|\n", title)
			}
		}
		last = p.number
		fmt.Fprintf(&b, "%s %s |\n", p.row(), p.against())
	}
	return strings.ReplaceAll(b.String(), "\n\n\n", "\n\n")
}
