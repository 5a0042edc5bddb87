package directory

import (
	"cmp"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v4"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Limits of a document.
const (
	MaxDocument = 4_000_000 // bytes, of all files together: a request has to have room for them
	maxNodes    = 500_000   // values, aliases counted each time they are used
	maxDepth    = 20
	maxProblems = 20 // told at once
)

// File is one YAML file of a folder. The name is how faults tell it; empty: the
// only text there is.
type File struct {
	Name string
	Text []byte
}

// parsed is one file as it was read.
type parsed struct {
	prefix string // of the paths of its fields
	doc    *Document
}

// ParseDocument reads a document strictly: a key that it does not know, a value
// of the wrong type and a key given twice are refused, all that it finds at
// once, each with its line. Nothing of what the values mean is checked here.
func ParseDocument(text []byte) (*Document, *Lines, error) {
	docs, lines, err := parseFiles([]File{{Text: text}})
	if len(docs) == 0 {
		return nil, lines, err
	}
	return docs[0].doc, lines, err
}

// parseFiles is ParseDocument for files that are one document together.
func parseFiles(files []File) ([]parsed, *Lines, error) {
	size := 0
	for _, f := range files {
		size += len(f.Text)
	}
	if size > MaxDocument {
		return nil, nil, fault.InvalidField("yaml", "has %d bytes; at most %d are allowed: split it, and apply the parts one by one", size, MaxDocument)
	}
	d := &decoder{lines: &Lines{at: map[string]int{}}}
	docs := make([]parsed, len(files))
	for i, f := range files {
		docs[i] = parsed{doc: &Document{}}
		if f.Name != "" {
			d.lines.named = true
			docs[i].prefix = f.Name + fileMark
		}
		if err := d.file(f, docs[i]); err != nil {
			return nil, nil, err
		}
	}
	return docs, d.lines, d.lines.err()
}

// file reads one file into its document.
func (d *decoder) file(f File, p parsed) error {
	var root yaml.Node
	if err := yaml.Load(f.Text, &root); err != nil {
		if len(strings.TrimSpace(string(f.Text))) == 0 {
			return nil
		}
		return fault.InvalidField(cmp.Or(f.Name, "yaml"), "is no YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	top := &root
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		top = root.Content[0]
	}
	if root.Kind != 0 && !null(top) {
		d.value(top, reflect.ValueOf(p.doc).Elem(), p.prefix, 0)
	}
	return nil
}

// fileMark stands in a path between the name of the file and the field.
const fileMark = ":"

// Lines knows where in a document a field stands, and gathers what is wrong.
type Lines struct {
	at       map[string]int
	named    bool // paths begin with the name of a file
	problems []fault.Field
	messages []string
	more     int
}

// of returns the line of the field, or of the nearest thing around it.
func (l *Lines) of(path string) int {
	for path != "" {
		if line, ok := l.at[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

// place returns the file of a path and the path within it.
func (l *Lines) place(path string) (file, field string) {
	if l.named {
		if file, field, ok := strings.Cut(path, fileMark); ok {
			return file, field
		}
	}
	return "", path
}

// where says in words where the field stands: "line 3", or "team.yaml:3".
func (l *Lines) where(path string) string {
	file, _ := l.place(path)
	if file == "" {
		return "line " + strconv.Itoa(l.of(path))
	}
	return file + ":" + strconv.Itoa(l.of(path))
}

func (l *Lines) bad(path, format string, args ...any) {
	if len(l.problems) == maxProblems {
		l.more++
		return
	}
	fix := fmt.Sprintf(format, args...)
	file, field := l.place(path)
	if file != "" { // as compilers say it, so that editors and CI find the line
		l.messages = append(l.messages, l.where(path)+": "+field+": "+fix)
		l.problems = append(l.problems, fault.Field{Path: field, Fix: l.where(path) + ": " + fix})
		return
	}
	if l.of(path) > 0 {
		fix = l.where(path) + ": " + fix
	}
	l.messages = append(l.messages, path+": "+fix)
	l.problems = append(l.problems, fault.Field{Path: path, Fix: fix})
}

// err returns everything that is wrong as one fault, nil for nothing.
func (l *Lines) err() error {
	if len(l.problems) == 0 {
		return nil
	}
	lines := l.messages
	if l.more > 0 {
		lines = append(slices.Clone(lines), fmt.Sprintf("and %d more", l.more))
	}
	return &fault.Error{Kind: fault.Invalid, Reason: "INVALID_FIELD", Message: strings.Join(lines, "; "), Fields: l.problems}
}

// decoder fills the structs of a Document from nodes.
type decoder struct {
	lines *Lines
	nodes int
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, depth int) {
	if d.nodes++; d.nodes > maxNodes || depth > maxDepth {
		if d.nodes == maxNodes+1 || depth == maxDepth+1 {
			d.lines.bad(path, "the document is too large or too deep here")
		}
		return
	}
	if path != "" && !strings.HasSuffix(path, fileMark) {
		d.lines.at[path] = n.Line
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if null(n) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, depth+1)
	case reflect.Struct:
		d.mapping(n, v, path, depth)
	case reflect.Slice:
		d.sequence(n, v, path, depth)
	case reflect.Map:
		d.strings(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.lines.bad(path, "is %s; keys and values are expected", kindOf(n))
		return
	}
	fields := fieldNames(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		name := key.Value
		at := join(path, name)
		index := slices.Index(fields, name)
		if index < 0 || key.Kind != yaml.ScalarNode {
			d.lines.at[at] = key.Line
			d.lines.bad(at, "unknown key%s", nearest(name, fields))
			continue
		}
		if first, twice := d.lines.at[at]; twice {
			d.lines.at[at] = key.Line
			d.lines.bad(at, "is given twice, first on line %d", first)
			continue
		}
		d.value(n.Content[i+1], v.Field(index), at, depth+1)
	}
}

func (d *decoder) sequence(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.SequenceNode {
		d.lines.bad(path, "is %s; a list is expected", kindOf(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
	}
}

func (d *decoder) strings(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.lines.bad(path, "is %s; keys and values are expected", kindOf(n))
		return
	}
	out := make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		var text string
		at := join(path, n.Content[i].Value)
		d.value(n.Content[i+1], reflect.ValueOf(&text).Elem(), at, 0)
		out[n.Content[i].Value] = text
	}
	v.Set(reflect.ValueOf(out))
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.lines.bad(path, "is %s; one value is expected", kindOf(n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		if n.Tag == "!!bool" {
			d.lines.bad(path, "%s is a truth value here; put it in quotes", n.Value)
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.lines.bad(path, "%q is neither true nor false", n.Value)
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Tag != "!!int" || err != nil {
			d.lines.bad(path, "%q is no whole number", n.Value)
			return
		}
		v.SetInt(int64(i))
	default:
		d.lines.bad(path, "cannot be set in a document")
	}
}

func join(path, name string) string {
	if path == "" || strings.HasSuffix(path, fileMark) {
		return path + name
	}
	return path + "." + name
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "one value"
	}
}

func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
	}
	return names
}

// nearest says which of the names was probably meant.
func nearest(name string, names []string) string {
	if s := suggestion(name, slices.Values(names)); s != "" {
		return s
	}
	return "; known are " + strings.Join(names, ", ")
}

// suggestion is "; did you mean x?" when one of the names is near, and otherwise empty.
func suggestion(name string, names iter.Seq[string]) string {
	best, distance := "", max(2, len(name)/3)+1
	for n := range names {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), n); d < distance || d == distance && best != "" && n < best {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}
