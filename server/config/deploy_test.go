package config_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// TestWhatIsDeployedIsAConfiguration reads what deploy/ gives a server: the
// configuration to begin with, the ConfigMap that the chart makes with the least and
// with all of its values, and the environment of the compose file. A key that is
// renamed would otherwise be found by whoever deploys.
func TestWhatIsDeployedIsAConfiguration(t *testing.T) {
	deploy := filepath.Join("..", "..", "deploy")
	read := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(deploy, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	loads := func(what string, text []byte, env ...string) config.Config {
		t.Helper()
		file := filepath.Join(t.TempDir(), "tocsin.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := config.Load(config.Sources{File: file, Env: env})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return c
	}
	loads("deploy/tocsin.yaml", read("tocsin.yaml"))

	for _, values := range []string{"least.yaml", "all.yaml"} {
		text, env := rendered(t, read(filepath.Join("helm", "golden", values)))
		c := loads("the chart with "+values, []byte(text), env...)
		if c.Listen != ":8080" || c.DataDir != "/data" || c.Private() || c.MasterKey == "" {
			t.Errorf("the chart with %s listens on %s, has its data in %s, a private Redis: %t, a master key: %t", values, c.Listen, c.DataDir, c.Private(), c.MasterKey != "")
		}
	}

	var compose struct {
		Services map[string]struct{ Environment map[string]string }
	}
	if err := yaml.Unmarshal(read("compose.yaml"), &compose); err != nil {
		t.Fatal(err)
	}
	var env []string
	for name, value := range compose.Services["tocsin"].Environment {
		if strings.HasPrefix(value, "${") { // of whoever runs it
			value = "https://oncall.example.com"
		}
		env = append(env, name+"="+value)
	}
	if c := loads("deploy/compose.yaml", nil, env...); c.Private() {
		t.Error("the compose file leaves tocsin without its Redis")
	}
}

// rendered returns the configuration in a rendered chart, and its environment
// with something in the place of the secrets.
func rendered(t *testing.T, chart []byte) (text string, env []string) {
	t.Helper()
	secrets := map[string]string{
		"TOCSIN_REDIS_URL": "redis+sentinel://a,b,c/main", "TOCSIN_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"TOCSIN_DEAD_MAN_URL": "https://checks.example.com/ping",
	}
	documents := yaml.NewDecoder(bytes.NewReader(chart))
	for {
		var doc struct {
			Kind string
			Data map[string]string
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Env []struct{ Name, Value string }
						}
					}
				}
			}
		}
		if err := documents.Decode(&doc); errors.Is(err, io.EOF) {
			return text, env
		} else if err != nil {
			t.Fatal(err)
		}
		if doc.Kind == "ConfigMap" {
			text = doc.Data["tocsin.yaml"]
		}
		for _, c := range doc.Spec.Template.Spec.Containers {
			for _, e := range c.Env {
				value := e.Value
				if value == "" {
					value = secrets[e.Name]
				}
				if e.Name != "TOCSIN_CONFIG" { // where the text above is mounted
					env = append(env, e.Name+"="+value)
				}
			}
		}
	}
}
