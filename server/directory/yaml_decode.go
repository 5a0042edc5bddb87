package directory

import (
	"fmt"
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
	MaxDocument = 4 << 20 // bytes
	maxNodes    = 500_000 // values, aliases counted each time they are used
	maxDepth    = 20
	maxProblems = 20 // told at once
)

// ParseDocument reads a document strictly: a key that it does not know, a value
// of the wrong type and a key given twice are refused, all that it finds at
// once, each with its line. Nothing of what the values mean is checked here.
func ParseDocument(text []byte) (*Document, *Lines, error) {
	if len(text) > MaxDocument {
		return nil, nil, fault.InvalidField("yaml", "has %d bytes; at most %d are allowed", len(text), MaxDocument)
	}
	d := &decoder{lines: &Lines{at: map[string]int{}}}
	doc := &Document{}
	var root yaml.Node
	if err := yaml.Load(text, &root); err != nil {
		if len(strings.TrimSpace(string(text))) == 0 {
			return doc, d.lines, nil
		}
		return nil, nil, fault.InvalidField("yaml", "is no YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	top := &root
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		top = root.Content[0]
	}
	if root.Kind != 0 && !null(top) {
		d.value(top, reflect.ValueOf(doc).Elem(), "", 0)
	}
	return doc, d.lines, d.lines.err()
}

// Lines knows where in a document a field stands, and gathers what is wrong.
type Lines struct {
	at       map[string]int
	problems []fault.Field
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

func (l *Lines) bad(path, format string, args ...any) {
	fix := fmt.Sprintf(format, args...)
	if line := l.of(path); line > 0 {
		fix = "line " + strconv.Itoa(line) + ": " + fix
	}
	if len(l.problems) == maxProblems {
		l.more++
		return
	}
	l.problems = append(l.problems, fault.Field{Path: path, Fix: fix})
}

// err returns everything that is wrong as one fault, nil for nothing.
func (l *Lines) err() error {
	if len(l.problems) == 0 {
		return nil
	}
	lines := make([]string, len(l.problems))
	for i, p := range l.problems {
		lines[i] = p.Path + ": " + p.Fix
	}
	if l.more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", l.more))
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
	if path != "" {
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
	if path == "" {
		return name
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
	best, distance := "", max(2, len(name)/3)+1
	for _, n := range names {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), n); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return "; known are " + strings.Join(names, ", ")
	}
	return "; did you mean " + best + "?"
}
