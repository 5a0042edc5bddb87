package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// schemaFile is where the JSON Schema of a document is published. This test
// writes it with -update: out of the types, the tables of words and the comments.
const schemaFile = "../../api/schema/tocsin.schema.json"

func TestSchemaIsThatOfTheTypes(t *testing.T) {
	s := schemaWriter{comments: comments(t), defs: map[string]any{}}
	root := s.object(reflect.TypeFor[Document]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "tocsin configuration"
	root["$defs"] = s.defs
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("%s is not what the types say; write it with -update (-file +types):\n%s", schemaFile, diff)
	}
}

// schemaWriter turns the types of a Document into definitions.
type schemaWriter struct {
	comments map[string]string // by type, and by type.field
	defs     map[string]any
}

func (s schemaWriter) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for f := range t.Fields() {
		name, rest, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		value := s.value(name, f.Type)
		if c := s.comments[t.Name()+"."+f.Name]; c != "" {
			value["description"] = c
		}
		properties[name] = value
		if rest == "" {
			required = append(required, name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	if c := s.comments[t.Name()]; c != "" {
		out["description"] = c
	}
	return out
}

func (s schemaWriter) value(name string, t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return s.value(name, t.Elem())
	case reflect.Struct:
		if _, ok := s.defs[t.Name()]; !ok {
			s.defs[t.Name()] = nil // while it is being made
			s.defs[t.Name()] = s.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.value(name, t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": []string{"string", "number", "boolean"}}}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	default:
		return text(name)
	}
}

// text is the form of a key whose value is a word or a text.
func text(name string) map[string]any {
	const (
		spans   = `^(0|[0-9]+d|([0-9]+(\.[0-9]+)?(h|m|s|ms))+)$`
		clock   = `^([01]?[0-9]|2[0-3]):[0-5][0-9]$`
		instant = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`
	)
	tables := map[string]words{
		"role": roleWords, "privacy": privacyWords, "kind": methodWords, "strategy": strategyWords, "urgency_rule": urgencyWords,
		"unit": unitWords, "mode": modeWords, "key_scope": scopeWords, "min_severity": severityWords, "days": dayWords,
	}
	patterns := map[string]string{
		"delay": spans, "interval": spans, "response_target": spans, "acknowledge_reminder": spans, "auto_resolve": spans, "reopen_window": spans, "length": spans, "limit": spans, "on_call_within": spans,
		"acknowledge_timeout": `^never$|` + spans, "start": clock, "end": clock, "start_time": instant, "end_time": instant,
		"handoff": `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}$`, "id": idForm.String(), "email": "@", "key": `^[a-z0-9]{32}$`,
	}
	out := map[string]any{"type": "string"}
	if table, ok := tables[name]; ok {
		out["enum"] = slices.DeleteFunc(slices.Clone(table), func(w string) bool { return w == "" })
	} else if p, ok := patterns[name]; ok {
		out["pattern"] = p
	}
	return out
}

// comments reads what the types and fields of a document are for.
func comments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "yaml_document.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	say := func(key string, groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if g != nil && out[key] == "" {
				out[key] = strings.Join(strings.Fields(g.Text()), " ")
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			if spec, ok := n.Specs[0].(*ast.TypeSpec); ok && len(n.Specs) == 1 {
				say(spec.Name.Name, n.Doc)
			}
		case *ast.TypeSpec:
			say(n.Name.Name, n.Doc)
			if s, ok := n.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					say(n.Name.Name+"."+f.Names[0].Name, f.Doc, f.Comment)
				}
			}
		}
		return true
	})
	return out
}

// validate holds a document against the published schema, with a validator that
// knows nothing of our decoder.
func validateDocument(t *testing.T, text []byte) error {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Load(text, &v); err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(doc)
}

func TestSchemaTakesWhatTheServerTakes(t *testing.T) {
	golden, err := os.ReadFile("testdata/export.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]byte{"the example": example(t), "the export": golden}
	for _, f := range folder() {
		texts[f.Name] = f.Text
	}
	for name, text := range texts {
		if err := validateDocument(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaSeesMistakes(t *testing.T) {
	base := string(example(t))
	for _, tc := range []struct{ old, with, where string }{
		{"escalation_policy: checkout", "escalation_polcy: checkout", "/services/0"},
		{"settings:", "setings:", "setings"},
		{"role: admin", "role: boss", "/people/0/role"},
		{"members: [ann, ben]", "members: ann", "/teams/0/members"},
		{"name: Ann Example", "name: true", "/people/0/name"},
		{"delay: 5m", "delay: five", "/policies/0/levels/0/delay"},
		{`start: "22:00"`, `start: "25:00"`, "/people/0/quiet_hours/start"},
		{"loops: 1", "loops: many", "/policies/0/loops"},
		{"unit: weeks", "unit: fortnights", "/schedules/0/layers/0/rotation/unit"},
		{"2026-03-02T09:00", "monday at nine", "/schedules/0/layers/0/rotation/handoff"},
		{"monday, tuesday, sunday", "monday, mardi", "/schedules/0/layers/1/restrictions/0/days/1"},
		{"2026-06-01T00:00:00Z", "first of June", "/schedules/0/layers/0/shadows/end_time"},
		{"  - id: ben\n", "  -\n", "/people/1"},
		{"- id: ben\n", "- id: Ben!\n", "/people/1/id"},
	} {
		text := strings.Replace(base, tc.old, tc.with, 1)
		if text == base {
			t.Fatalf("the example has no %q", tc.old)
		}
		if err := validateDocument(t, []byte(text)); err == nil || !strings.Contains(fmt.Sprint(err), tc.where) {
			t.Errorf("%s: got %v, want a fault at %s", tc.with, err, tc.where)
		}
	}
}
