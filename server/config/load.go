package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Variables of the environment that are read elsewhere.
const (
	EnvFile   = "TOCSIN_CONFIG" // path of the configuration file
	EnvServer = "TOCSIN_SERVER" // address of the server, for the client commands
	EnvToken  = "TOCSIN_TOKEN"  // API token, for the client commands
	envPrefix = "TOCSIN_"
)

// usualFiles are looked for when no file is named.
var usualFiles = []string{"tocsin.yaml", "/etc/tocsin/tocsin.yaml"} //nolint:gochecknoglobals // look-up table

// Setting is one key given on the command line.
type Setting struct {
	Flag  string // as it was written, for complaints: "--listen"
	Key   string // "listen"
	Value string
}

// Sources are where a configuration comes from.
type Sources struct {
	File  string    // path; "" = the usual ones, which need not exist
	Env   []string  // as os.Environ
	Flags []Setting // in the order given; a later one wins
}

// Default returns the configuration of an installation where nothing is set.
func Default() Config {
	var c Config
	setDefaults(reflect.ValueOf(&c).Elem())
	return c
}

// setDefaults fills a struct from its default tags, which a test holds to be readable.
func setDefaults(v reflect.Value) {
	d := decoder{seen: map[string]string{}}
	for _, f := range fieldsOf(v.Type()) {
		target := v.Field(f.index)
		if target.Kind() == reflect.Struct {
			setDefaults(target)
			continue
		}
		if text := f.tag.Get("default"); text != "" {
			d.value(&yaml.Node{Kind: yaml.ScalarNode, Value: text}, f.name, target, f.tag)
		}
	}
	if len(d.problems) > 0 {
		panic(d.problems.Error()) //nolint:forbidigo // a default tag of this package is wrong: no input leads here
	}
}

// Load reads and validates. The error is Problems when the content is wrong;
// used is the file that was read, or "".
func Load(src Sources) (c Config, used string, err error) {
	c = Default()
	d := &decoder{seen: map[string]string{}}
	used, text, err := readFile(src)
	if err != nil {
		return c, used, err
	}
	root := reflect.ValueOf(&c).Elem()
	if used != "" {
		d.file(used, text, root)
	}
	d.environment(src.Env, root)
	d.flags(src.Flags, root)
	problems := d.problems
	if len(problems) == 0 { // else a value that could not be read would be called missing too
		problems = c.validate(d.seen)
	}
	if len(problems) > 0 {
		return c, used, problems
	}
	return c, used, nil
}

func readFile(src Sources) (used string, text []byte, err error) {
	names, must := usualFiles, false
	if named := src.File; named != "" {
		names, must = []string{named}, true
	} else if named := lookup(src.Env, EnvFile); named != "" {
		names, must = []string{named}, true
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil {
			return name, text, nil
		}
		if must || !errors.Is(err, fs.ErrNotExist) {
			return "", nil, fmt.Errorf("read the configuration: %w", err)
		}
	}
	return "", nil, nil
}

func lookup(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (d *decoder) file(name string, text []byte, root reflect.Value) {
	d.source, d.lines = name, true
	if dir, err := filepath.Abs(filepath.Dir(name)); err == nil {
		d.dir = dir
	}
	defer func() { d.lines, d.dir = false, "" }()
	var doc yaml.Node
	if len(strings.TrimSpace(string(text))) == 0 {
		return
	}
	if err := yaml.Load(text, &doc); err != nil {
		d.problems = append(d.problems, Problem{Source: name, Fix: strings.TrimPrefix(err.Error(), "yaml: ")})
		return
	}
	n := &doc
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	if n.Kind == 0 {
		return // comments only
	}
	d.mapping(n, "", root)
}

// platformVariable matches what Kubernetes and Docker put into the
// environment for a service that is called tocsin. They are not ours.
var platformVariable = regexp.MustCompile(`_SERVICE_(HOST|PORT)(_|$)|^TOCSIN_([A-Z0-9_]+_)?PORT(_[0-9]+_(TCP|UDP)(_.*)?)?$`)

func (d *decoder) environment(env []string, root reflect.Value) {
	known := map[string]string{} // variable -> key
	for _, k := range Keys() {
		known[k.Env] = k.Key
	}
	others := []string{EnvFile, EnvServer, EnvToken}
	for _, kv := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(others, name) {
			continue
		}
		key, ok := known[name]
		switch {
		case ok:
			d.source = name
			d.set(root, key, value)
		case platformVariable.MatchString(name):
		default:
			best := nearest(name, append(slices.Collect(mapKeys(known)), others...))
			fix := "nobody reads this variable: remove it"
			if best != "" {
				fix = "nobody reads this variable; did you mean " + best + "?"
			}
			d.problems = append(d.problems, Problem{Source: name, Fix: fix})
		}
	}
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (d *decoder) flags(all []Setting, root reflect.Value) {
	known := make([]string, 0, len(all))
	for _, k := range Keys() {
		known = append(known, k.Key)
	}
	for _, s := range all {
		d.source = s.Flag
		if !slices.Contains(known, s.Key) {
			d.problems = append(d.problems, Problem{Source: s.Flag, Key: s.Key, Fix: unknownKey(s.Key, s.Key, known)})
			continue
		}
		d.set(root, s.Key, s.Value)
	}
}

// set gives a dotted key the value of a text. A list of maps is given as YAML or JSON.
func (d *decoder) set(root reflect.Value, key, text string) {
	v, tag := root, reflect.StructTag("")
	for part := range strings.SplitSeq(key, ".") {
		for _, f := range fieldsOf(v.Type()) {
			if f.name == part {
				v, tag = v.Field(f.index), f.tag
				break
			}
		}
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct {
		var doc yaml.Node
		if err := yaml.Load([]byte(text), &doc); err != nil || len(doc.Content) != 1 {
			d.complain(n, key, "write a list as JSON: [{...}]")
			return
		}
		n = doc.Content[0]
	}
	d.value(n, key, v, tag)
}
