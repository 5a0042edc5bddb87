package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Key describes one key for documentation and look-up.
type Key struct {
	Key     string // "smtp.host"
	Env     string // "TOCSIN_SMTP_HOST"
	Type    string // "text", "true or false", "duration", ...
	Default string // as one would write it; "" = empty
	Doc     string
	Secret  bool
	Items   []Key // of a list of maps
}

// Keys lists every key in the order of the struct.
func Keys() []Key { return keysOf(reflect.TypeFor[Config](), "", envPrefix) }

func keysOf(t reflect.Type, prefix, env string) []Key {
	var all []Key
	for _, f := range fieldsOf(t) {
		ft := t.Field(f.index).Type
		if ft.Kind() == reflect.Struct {
			all = append(all, keysOf(ft, prefix+f.name+".", env+f.env+"_")...)
			continue
		}
		k := Key{
			Key: prefix + f.name, Env: env + f.env, Type: typeName(ft, f.tag),
			Default: f.tag.Get("default"), Doc: f.tag.Get("doc"), Secret: f.tag.Get("secret") == "true",
		}
		if ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct {
			k.Items = keysOf(ft.Elem(), "", "")
		}
		all = append(all, k)
	}
	return all
}

func typeName(t reflect.Type, tag reflect.StructTag) string {
	if options := tag.Get("enum"); options != "" {
		return "`" + strings.ReplaceAll(options, ",", "`, `") + "`"
	}
	switch {
	case t.String() == "time.Duration":
		least, most := tag.Get("min"), tag.Get("max")
		if least != "" {
			return "duration, " + least + " to " + most
		}
		return "duration"
	case t == reflect.TypeFor[ByteSize]():
		return "size"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "list of maps"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "whole number"
	case t.Kind() == reflect.Float64:
		return "number"
	case tag.Get("path") != "":
		return "path"
	default:
		return "text"
	}
}

const intro = `# Configuration

<!-- Made from the struct in server/config by its test: go test ./server/config -update -->

Everything has a usable default: ` + "`tocsin serve`" + ` with no configuration runs a private Redis in ./data and listens on :8080.

A key can be given in three places. The later one wins.

1. The file: ` + "`--config FILE`, or `TOCSIN_CONFIG`, or `tocsin.yaml`" + ` in the working directory, or ` + "`/etc/tocsin/tocsin.yaml`" + `.
   Relative paths in it are meant from the directory of the file.
2. The environment: ` + "`TOCSIN_`" + ` and the key in capitals, with underscores for dots. A list is separated by commas, a list of maps is JSON.
3. Flags: ` + "`--set KEY=VALUE`" + `, and short forms for the most used keys (` + "`tocsin serve --help`" + `).

A key that nobody reads is refused, with the nearest one that exists. Durations are written as 30s, 5m, 12h or 90d, sizes as 512MB or 2GiB.
People, teams, services and policies are not configured here but applied: ` + "`tocsin apply -f`" + `.

` + "```yaml" + `
listen: ":443"
public_url: https://oncall.example.com
data_dir: /var/lib/tocsin
tls:
  cert_file: /etc/tocsin/tls.crt
  key_file: /etc/tocsin/tls.key
push:
  apps:
    - id: oncall
      platform: ios
      bundle: com.example.oncall
      team_id: TEAM123456
      key_id: KEY1234567
      key_file: AuthKey_KEY1234567.p8
    - id: oncall
      platform: android
      service_account_file: fcm-service-account.json
    - id: oncall
      platform: web
      vapid_key_file: vapid.json
      vapid_subject: mailto:oncall@example.com
smtp:
  host: smtp.example.com
  username: oncall
  password_file: smtp-password
  from: Tocsin <oncall@example.com>
dead_man:
  url: https://checks.example.com/ping/tocsin
` + "```" + `
`

// Reference returns docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(intro)
	t := reflect.TypeFor[Config]()
	b.WriteString("\n## Of the process\n\n")
	for _, k := range Keys() {
		if !strings.Contains(k.Key, ".") {
			writeKey(&b, k)
		}
	}
	for _, f := range fieldsOf(t) {
		ft := t.Field(f.index).Type
		if ft.Kind() != reflect.Struct {
			continue
		}
		fmt.Fprintf(&b, "\n## `%s`\n\n%s\n\n", f.name, f.tag.Get("doc"))
		for _, k := range keysOf(ft, f.name+".", envPrefix+f.env+"_") {
			writeKey(&b, k)
		}
	}
	return b.String()
}

func writeKey(b *strings.Builder, k Key) {
	fmt.Fprintf(b, "- **`%s`**", k.Key)
	if k.Env != "" {
		fmt.Fprintf(b, " (`%s`)", k.Env)
	}
	fmt.Fprintf(b, ": %s", k.Type)
	if k.Default != "" {
		fmt.Fprintf(b, ", default `%s`", k.Default)
	}
	if k.Secret {
		b.WriteString(", secret")
	}
	fmt.Fprintf(b, ".\n  %s\n", k.Doc)
	for _, item := range k.Items {
		fmt.Fprintf(b, "  - **`%s`**: %s", item.Key, item.Type)
		if item.Default != "" && item.Default != "0" {
			fmt.Fprintf(b, ", default `%s`", item.Default)
		}
		fmt.Fprintf(b, ". %s\n", item.Doc)
	}
}
