package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// decoder puts YAML nodes into the struct and gathers what is wrong. It walks
// the nodes itself, so that every complaint has the line and the key.
type decoder struct {
	source   string // name of the file or variable, for complaints
	lines    bool   // whether line numbers mean something in source
	dir      string // relative paths are meant from here; "" = leave them
	problems Problems
	seen     map[string]string // key -> source of the last value, for Validate's complaints
}

// field is one key of a struct.
type field struct {
	name, env string
	index     int
	tag       reflect.StructTag
}

// fieldsOf lists the keys of a struct type in order.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		all = append(all, field{name: name, env: strings.ToUpper(name), index: i, tag: f.Tag})
	}
	return all
}

func names(fields []field) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.name
	}
	return all
}

func (d *decoder) at(n *yaml.Node) string {
	if d.lines && n.Line > 0 {
		return d.source + ":" + strconv.Itoa(n.Line)
	}
	return d.source
}

func (d *decoder) complain(n *yaml.Node, key, format string, args ...any) {
	d.problems = append(d.problems, Problem{Source: d.at(n), Key: key, Fix: fmt.Sprintf(format, args...)})
}

// mapping reads a map into the struct v; prefix is the key of v with a final dot, or "".
func (d *decoder) mapping(n *yaml.Node, prefix string, v reflect.Value) {
	n = resolve(n)
	key := strings.TrimSuffix(prefix, ".")
	if isNull(n) {
		return // `smtp:` with everything commented out
	}
	if n.Kind != yaml.MappingNode {
		d.complain(n, key, "write keys and values here instead of %s", kindName(n))
		return
	}
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == k.Value })
		switch {
		case at < 0:
			d.complain(k, prefix+k.Value, "%s", unknownKey(k.Value, prefix+k.Value, names(fields)))
		case given[k.Value]:
			d.complain(k, prefix+k.Value, "is given twice: remove one")
		default:
			given[k.Value] = true
			f := fields[at]
			d.value(value, prefix+f.name, v.Field(f.index), f.tag)
		}
	}
}

// value reads any value.
func (d *decoder) value(n *yaml.Node, key string, v reflect.Value, tag reflect.StructTag) {
	n = resolve(n)
	d.seen[key] = d.at(n)
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, key+".", v)
	case reflect.Slice:
		d.list(n, key, v)
	default:
		if isNull(n) {
			return // `host:` with nothing behind it: the default
		}
		if n.Kind != yaml.ScalarNode {
			d.complain(n, key, "write one value here instead of %s", kindName(n))
			return
		}
		if err := d.scalar(n.Value, v, tag); err != nil {
			d.complain(n, key, "%s", err)
		}
	}
}

func (d *decoder) list(n *yaml.Node, key string, v reflect.Value) {
	if isNull(n) {
		return
	}
	if n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String {
		v.Set(reflect.ValueOf(splitList(n.Value))) // one value, or several with commas
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.complain(n, key, "write a list here (lines that begin with a dash) instead of %s", kindName(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		el := list.Index(i)
		if el.Kind() == reflect.Struct {
			setDefaults(el)
		}
		d.value(item, fmt.Sprintf("%s[%d]", key, i), el, "")
	}
	v.Set(list)
}

// scalar parses text by the type of v.
func (d *decoder) scalar(text string, v reflect.Value, tag reflect.StructTag) error {
	if text == "" && (v.Kind() != reflect.String || tag.Get("enum") != "") {
		return nil // TOCSIN_SMTP_PORT= : the default
	}
	switch target := v.Addr().Interface().(type) {
	case *time.Duration:
		parsed, err := parseDuration(text)
		*target = parsed
		return err
	case *ByteSize:
		parsed, err := parseSize(text)
		*target = parsed
		return err
	case *bool:
		parsed, err := strconv.ParseBool(text)
		*target = parsed
		if err != nil {
			return fmt.Errorf("write true or false instead of %q", text)
		}
	case *int:
		parsed, err := strconv.Atoi(text)
		*target = parsed
		if err != nil {
			return fmt.Errorf("write a whole number instead of %q", text)
		}
	case *float64:
		parsed, err := strconv.ParseFloat(text, 64)
		*target = parsed
		if err != nil {
			return fmt.Errorf("write a number instead of %q", text)
		}
	case *string:
		if options := tag.Get("enum"); options != "" && !slices.Contains(strings.Split(options, ","), text) {
			return fmt.Errorf("must be one of %s, not %q", strings.ReplaceAll(options, ",", ", "), text)
		}
		*target = d.path(text, tag.Get("path"))
	default:
		return fmt.Errorf("values of type %s cannot be read", v.Type())
	}
	return nil
}

// path makes a path of a file absolute by the directory of that file. A
// program may also be a bare name, which PATH leads to.
func (d *decoder) path(text, tag string) string {
	if tag == "" || text == "" || d.dir == "" || filepath.IsAbs(text) || tag == "bare" && !strings.ContainsRune(text, filepath.Separator) {
		return text
	}
	return filepath.Join(d.dir, text)
}

func splitList(s string) []string {
	var all []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("the value %.40q", n.Value)
	}
}
