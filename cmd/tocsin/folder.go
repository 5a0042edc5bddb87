package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// maxFolder is how much YAML a server takes at once.
const maxFolder = 4_000_000

// source is the flags that say what is applied, planned, or looked for drift.
type source struct {
	Path     string `arg:"" optional:"" help:"Folder of which all *.yaml and *.yml are one document; or one file; - is standard input."`
	File     string `short:"f" placeholder:"FILE" help:"The same, as a flag."`
	Owner    string `placeholder:"NAME" help:"Name of what declares it, by which records are marked. Default: that of the folder; for a single file, none."`
	Prune    bool   `help:"Delete what the owner has declared before and does not any more, with what belongs to it: of a schedule its overrides, shadows, cover requests and calendar feeds, of a person devices, tokens and feeds, of a team feeds. Nothing else that people made by hand."`
	TakeOver bool   `help:"Take over records that another owner declares."`
	Force    bool   `help:"Take even a policy that can reach nobody at present."`
}

var ownerForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// request reads the files and says what is asked for.
func (c source) request() (*api.ApplyConfigurationRequest, error) {
	path := c.Path
	if path == "" {
		path = c.File
	}
	if path == "" || c.Path != "" && c.File != "" {
		return nil, usageError{errors.New("name one folder or file")}
	}
	r := &api.ApplyConfigurationRequest{Owner: c.Owner, Prune: c.Prune, TakeOver: c.TakeOver, Force: c.Force}
	info, err := os.Stat(path)
	switch {
	case path == "-":
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		r.Files = []*api.ConfigurationFile{{Name: "stdin", Text: string(text)}}
	case err != nil:
		return nil, fmt.Errorf("read configuration: %w", err)
	case info.IsDir():
		if r.Files, err = readFolder(path); err != nil {
			return nil, err
		}
		if c.Owner == "" {
			whole, err := filepath.Abs(path)
			if err != nil {
				return nil, fmt.Errorf("name the folder %s: %w", path, err)
			}
			r.Owner = strings.ToLower(filepath.Base(whole))
		}
	default:
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		r.Files = []*api.ConfigurationFile{{Name: filepath.Base(path), Text: string(text)}}
	}
	return r, c.check(r)
}

func (c source) check(r *api.ApplyConfigurationRequest) error {
	if r.GetOwner() != "" && !ownerForm.MatchString(r.GetOwner()) {
		return usageError{fmt.Errorf("--owner: %q is no name: give one of a to z, 0 to 9, \".\", \"_\" and \"-\"", r.GetOwner())}
	}
	if r.GetOwner() == "" && c.Prune {
		return usageError{errors.New("--prune needs --owner: only what an owner has declared is deleted")}
	}
	size := 0
	for _, f := range r.GetFiles() {
		size += len(f.GetText())
	}
	if size > maxFolder {
		return fmt.Errorf("the files have %d bytes, and %d can be applied at once: split the folder, and give each part an owner of its own", size, maxFolder)
	}
	return nil
}

// readFolder reads the YAML files in a folder, in the order of their names, and
// none in the folders below.
func readFolder(dir string) ([]*api.ConfigurationFile, error) {
	names, err := yamlFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 { // of a mistyped folder, everything would be missing
		return nil, fmt.Errorf("%s has no file that ends in .yaml or .yml", dir)
	}
	files := make([]*api.ConfigurationFile, len(names))
	for i, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		files[i] = &api.ConfigurationFile{Name: name, Text: string(text)}
	}
	return files, nil
}

func yamlFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if ext := filepath.Ext(name); (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(name, ".") && !e.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// writeFolder writes files into a folder that has no other YAML: what is there
// beside them would be declared twice.
func writeFolder(dir string, files []*api.ConfigurationFile, head string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("write --dir: %w", err)
	}
	there, err := yamlFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range there {
		if !slices.ContainsFunc(files, func(f *api.ConfigurationFile) bool { return f.GetName() == name }) {
			return fmt.Errorf("%s has the file %s already, which the export would not replace: name an empty folder", dir, name)
		}
	}
	for _, f := range files {
		if !fs.ValidPath(f.GetName()) || strings.Contains(f.GetName(), "/") {
			return fmt.Errorf("the server named a file %q", f.GetName())
		}
		if err := os.WriteFile(filepath.Join(dir, f.GetName()), []byte(head+f.GetText()), 0o600); err != nil {
			return fmt.Errorf("write --dir: %w", err)
		}
	}
	return nil
}
