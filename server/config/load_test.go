package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/config"
)

var update = flag.Bool("update", false, "write the golden files")

func TestReferenceIsCurrent(t *testing.T) {
	const path = "../../docs/configuration.md"
	got := config.Reference()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/configuration.md is not what the struct says; run go test ./server/config -update (-file +struct):\n%s", diff)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	for _, k := range config.Keys() {
		for _, item := range append(k.Items, k) {
			if !strings.HasSuffix(item.Doc, ".") {
				t.Errorf("%s: doc %q is no sentence", item.Key, item.Doc)
			}
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := config.Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestWholeFile(t *testing.T) {
	c, used, err := config.Load(config.Sources{File: "testdata/full.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if used != "testdata/full.yaml" {
		t.Errorf("used %q", used)
	}
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	want := config.Default()
	want.Listen, want.AdminListen = ":443", "localhost:6060"
	want.PublicURL, want.DataDir = "https://oncall.example.com/", "/var/lib/tocsin"
	want.Redis.URL, want.Redis.Durability = "redis+sentinel://user:secret@a:26379,b:26379/main", "replicated"
	want.TLS = config.TLS{CertFile: in("tls.crt"), KeyFile: "/etc/tls.key"}
	ios := config.PushApp{
		ID: "oncall", Platform: "ios", Environment: "production", Bundle: "com.example.oncall",
		TeamID: "TEAM123456", KeyID: "KEY1234567", KeyFile: in("keys/AuthKey.p8"), Critical: true,
	}
	sandbox := ios
	sandbox.Environment, sandbox.Critical = "sandbox", false
	sandbox.TestEndpoint, sandbox.TestCAFile = "https://127.0.0.1:2197", in("ca.pem")
	want.Push.Apps = []config.PushApp{ios, sandbox, {
		ID: "oncall", Platform: "android", Environment: "production",
		ServiceAccountFile: in("fcm.json"), PerSecond: 9.5, MaxInFlight: 20,
	}}
	want.SMTP.Host, want.SMTP.From = "smtp.example.com", "Tocsin <oncall@example.com>"
	want.Webhooks.Allow = []string{"10.1.2.0/24", "::1"}
	want.DeadMan = config.DeadMan{URL: "https://checks.example.com/x", Interval: 30 * time.Second}
	want.Retention = config.Retention{ArchiveAfter: 2 * time.Hour, KeepClosed: 36 * time.Hour}
	want.Tracing = config.Tracing{Endpoint: "http://localhost:4317", Ratio: 0.25}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := c.URL(); got != "https://oncall.example.com" {
		t.Errorf("URL = %q", got)
	}
}

func TestShippedConfigurationIsValid(t *testing.T) {
	c, _, err := config.Load(config.Sources{File: "../../deploy/tocsin.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Push.Apps) != 3 {
		t.Errorf("%d apps, want one of each platform", len(c.Push.Apps))
	}
}

func TestNoWayOutForARestore(t *testing.T) { // as docs/operations.md says
	c, _, err := config.Load(config.Sources{File: "../../deploy/tocsin.yaml", Flags: []config.Setting{
		{Flag: "--set", Key: "push.apps", Value: "[]"}, {Flag: "--set", Key: "smtp.host", Value: "127.0.0.1"}, {Flag: "--set", Key: "smtp.port", Value: "1"},
	}})
	if err != nil || len(c.Push.Apps) != 0 || c.SMTP.Port != 1 {
		t.Errorf("apps %v, port %d, %v; want none, 1", c.Push.Apps, c.SMTP.Port, err)
	}
}

func TestLaterSourceWins(t *testing.T) {
	src := config.Sources{
		File: file(t, "listen: \":1\"\nlog: {level: warn}\nsmtp: {host: a.example, from: a@b.example}\n"),
		Env: []string{
			"TOCSIN_LISTEN=:2", "TOCSIN_SMTP_HOST=b.example", "TOCSIN_WEBHOOKS_ALLOW=10.0.0.1, 10.0.0.2", "TOCSIN_SMTP_PORT=",
			`TOCSIN_PUSH_APPS=[{"id":"x","platform":"android","service_account_file":"sa.json"}]`,
			"HOME=/root", "TOCSIN_SERVER=localhost:1", "TOCSIN_TOKEN=t",
			"TOCSIN_SERVICE_HOST=10.0.0.9", "TOCSIN_SERVICE_PORT_HTTP=80", "TOCSIN_PORT=tcp://10.0.0.9:80", "TOCSIN_PORT_8080_TCP_ADDR=10.0.0.9",
		},
		Flags: []config.Setting{{Flag: "--listen", Key: "listen", Value: ":3"}},
	}
	c, _, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":3" || c.SMTP.Host != "b.example" || c.Log.Level != "warn" || c.SMTP.From != "a@b.example" {
		t.Errorf("listen %q, host %q, level %q, from %q; want flag, variable, file, file", c.Listen, c.SMTP.Host, c.Log.Level, c.SMTP.From)
	}
	if want := []string{"10.0.0.1", "10.0.0.2"}; !cmp.Equal(c.Webhooks.Allow, want) {
		t.Errorf("allow = %q, want %q", c.Webhooks.Allow, want)
	}
	if len(c.Push.Apps) != 1 || c.Push.Apps[0].ServiceAccountFile != "sa.json" || c.Push.Apps[0].Environment != "production" {
		t.Errorf("apps = %+v, want the one of the variable", c.Push.Apps)
	}
}

func TestBadConfigurationsSayWhatToDo(t *testing.T) {
	const ios = "id: a, platform: ios, bundle: b.c, team_id: TEAM123456, key_id: KEY1234567, key_file: k.p8"
	cases := []struct {
		name, file string
		env        []string
		flags      []config.Setting
		want       []string // FILE stands for the path of the file
	}{
		{name: "unknown key", file: "lissten: :8080", want: []string{"FILE:1: lissten: there is no such key; did you mean listen?"}},
		{name: "unknown nested key", file: "log:\n  level: info\nsmtp:\n  hots: x", want: []string{"FILE:4: smtp.hots: there is no such key; did you mean smtp.host?"}},
		{name: "unknown key in a list", file: "push:\n  apps:\n    - {" + ios + ",\n       kay_id: x}", want: []string{"FILE:4: push.apps[0].kay_id: there is no such key; did you mean push.apps[0].key_id?"}},
		{name: "nothing near", file: "dead_man: {zzzzzzzz: 1}", want: []string{"FILE:1: dead_man.zzzzzzzz: there is no such key; known here: url, interval"}},
		{name: "belongs elsewhere", file: "users: [{name: ann}]", want: []string{"FILE:1: users: belongs to the organisation: put it into the file of `tocsin apply -f`"}},
		{name: "twice", file: "listen: :1\nlisten: :2", want: []string{"listen"}},
		{name: "no yaml", file: "listen: [", want: []string{"FILE: "}},
		{name: "a list for a value", file: "listen: [a]", want: []string{"FILE:1: listen: write one value here instead of a list"}},
		{name: "a value for a map", file: "smtp: mail", want: []string{`FILE:1: smtp: write keys and values here instead of the value "mail"`}},
		{name: "a map for a list", file: "push: {apps: {a: b}}", want: []string{"FILE:1: push.apps: write a list here (lines that begin with a dash) instead of a map"}},
		{name: "the root is a list", file: "- a", want: []string{"FILE:1: write keys and values here instead of a list"}},
		{name: "duration", file: "dead_man: {interval: 5}", want: []string{`FILE:1: dead_man.interval: write a duration such as 30s, 5m, 12h or 90d instead of "5"`}},
		{name: "negative duration", file: "out_of_band: {after: -5s}", want: []string{"out_of_band.after: write a duration"}},
		{name: "duration out of range", file: "dead_man: {interval: 1s}", want: []string{"FILE:1: dead_man.interval: must be from 10s to 1h, not 1s"}},
		{name: "size", file: "redis: {max_memory: much}", want: []string{`redis.max_memory: write a size such as 512MB or 2GiB instead of "much"`}},
		{name: "choice", file: "log: {level: loud}", want: []string{`FILE:1: log.level: must be one of debug, info, warn, error, not "loud"`}},
		{name: "truth", file: "webhooks: {allow_http: perhaps}", want: []string{`webhooks.allow_http: write true or false instead of "perhaps"`}},
		{name: "several at once", file: "lissten: x\nlog: {format: xml}", want: []string{"lissten", "log.format"}},
		{name: "variable", env: []string{"TOCSIN_LISTN=:1"}, want: []string{"TOCSIN_LISTN: nobody reads this variable; did you mean TOCSIN_LISTEN?"}},
		{name: "strange variable", env: []string{"TOCSIN_ABSOLUTELY_NOTHING_OF_OURS_AT_ALL_XYZ=1"}, want: []string{"nobody reads this variable: remove it"}},
		{name: "value of a variable", env: []string{"TOCSIN_SMTP_PORT=many"}, want: []string{`TOCSIN_SMTP_PORT: smtp.port: write a whole number instead of "many"`}},
		{name: "apps in a variable", env: []string{"TOCSIN_PUSH_APPS=[{"}, want: []string{"TOCSIN_PUSH_APPS: push.apps: write a list as JSON: [{...}]"}},
		{name: "flag", flags: []config.Setting{{Flag: "--set", Key: "redis.ulr", Value: "x"}}, want: []string{"--set: redis.ulr: there is no such key; did you mean redis.url?"}},
		{name: "address", file: "listen: \"8080\"", want: []string{`FILE:1: listen: write host:port or :port instead of "8080"`}},
		{name: "open admin port", file: "admin_listen: :6060", want: []string{"FILE:1: admin_listen: must be a loopback address"}},
		{name: "one half of TLS", file: "tls: {cert_file: a.pem}", want: []string{"FILE:1: tls.key_file: is missing: tls.cert_file needs it"}},
		{name: "redis", env: []string{"TOCSIN_REDIS_URL=http://u:secret@h"}, want: []string{"TOCSIN_REDIS_URL: redis.url: write a URL that begins with unix:///, redis://"}},
		{name: "replica of the private server", file: "redis: {durability: replicated}", want: []string{"redis.durability: replicated needs redis.url"}},
		{name: "ios without anything", file: "push:\n  apps:\n    - id: a\n      platform: ios", want: []string{
			`FILE:3: push.apps[0].bundle: write the bundle identifier`, "push.apps[0].team_id", "push.apps[0].key_id", "push.apps[0].key_file: is missing",
		}},
		{name: "mixed platforms", file: "push: {apps: [{" + ios + ", project: p}, {id: b, platform: android, key_id: KEY1234567}]}", want: []string{
			"push.apps[0].project: is for android: remove it", "push.apps[1].service_account_file: is missing", "push.apps[1].key_id: is for ios: remove it",
		}},
		{name: "no platform", file: "push: {apps: [{id: a}]}", want: []string{"push.apps[0].platform: is missing: write ios, android or web"}},
		{name: "web without anything", file: "push: {apps: [{id: a, platform: web, environment: sandbox, project: p, key_id: KEY1234567, critical_alerts: true}]}\npublic_url: http://oncall.example.com", want: []string{
			"push.apps[0].vapid_key_file: is missing", "push.apps[0].vapid_subject: ", "push.apps[0].app_url: is missing: browsers open nothing but https", "push.apps[0].environment: is for ios",
			"push.apps[0].project: is for android: remove it", "push.apps[0].key_id: is for ios: remove it", "push.apps[0].critical_alerts: is for ios: no browser plays",
		}},
		{name: "web in the house", file: "push: {apps: [{id: a, platform: web, vapid_key_file: k, vapid_subject: 'mailto:a@relay.local', app_url: 'ftp://x', allowed_hosts: ['https://push.example.com']}]}", want: []string{
			"push.apps[0].vapid_subject: the subject \"mailto:a@relay.local\": Apple refuses names that end in .local", "push.apps[0].app_url: the app URL", "push.apps[0].allowed_hosts: push service \"https://push.example.com\": write a host name",
		}},
		{name: "web in an app", file: "push: {apps: [{" + ios + ", vapid_key_file: k, allowed_hosts: [a.example]}]}", want: []string{
			"push.apps[0].vapid_key_file: is for web: remove it", "push.apps[0].allowed_hosts: is for web: remove it",
		}},
		{name: "the same app twice", file: "push: {apps: [{" + ios + "}, {" + ios + "}]}", want: []string{"push.apps[1].id: is the same app as push.apps[0]"}},
		{name: "simulator elsewhere", file: "push: {apps: [{" + ios + ", test_endpoint: \"https://apns.example.com\", test_ca_file: c}]}", want: []string{"push.apps[0].test_endpoint: must be on this machine"}},
		{name: "simulator without its authority", file: "push: {apps: [{" + ios + ", test_endpoint: \"https://127.0.0.1:1\"}]}", want: []string{"push.apps[0].test_ca_file: is missing"}},
		{name: "mail without a sender", file: "smtp: {host: h}", want: []string{"FILE:1: smtp.from: is missing"}},
		{name: "mail without a host", file: "smtp: {from: a@b.c}", want: []string{"smtp.host: is missing: smtp.from is set"}},
		{name: "user without password", file: "smtp: {host: h, from: a@b.c, username: u}", want: []string{"smtp.password_file: is missing"}},
		{name: "link host", file: "push: {link_hosts: [https://wiki.example.com, '*.example.com', a.*.example, 'wiki.example.com:8443']}", want: []string{
			`push.link_hosts[0]: write a host such as wiki.example.com, or *.example.com, instead of "https://wiki.example.com"`,
			`push.link_hosts[2]: write a host such as wiki.example.com, or *.example.com, instead of "a.*.example"`,
			`push.link_hosts[3]: write a host such as wiki.example.com, or *.example.com, instead of "wiki.example.com:8443"`,
		}},
		{name: "webhook prefix", file: "webhooks: {allow: [intranet]}", want: []string{`webhooks.allow[0]: write an address or a prefix such as 10.1.2.0/24 instead of "intranet"`}},
		{name: "kept shorter than archived", file: "retention: {archive_after: 2d, keep_closed: 1d}", want: []string{"retention.keep_closed: must be longer than retention.archive_after, which is 2d"}},
		{name: "ratio", file: "tracing: {ratio: 2}", want: []string{"tracing.ratio: write a share from 0 to 1 instead of 2"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := file(t, c.file)
			_, _, err := config.Load(config.Sources{File: path, Env: c.env, Flags: c.flags})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				want = strings.ReplaceAll(want, "FILE", path)
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %s\nwant %s", err, want)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("a secret is told: %s", err)
			}
		})
	}
}

func TestNamedFileMustExist(t *testing.T) {
	for _, src := range []config.Sources{{File: "/nonexistent.yaml"}, {Env: []string{"TOCSIN_CONFIG=/nonexistent.yaml"}}} {
		if _, _, err := config.Load(src); err == nil || !strings.Contains(err.Error(), "/nonexistent.yaml") {
			t.Errorf("error = %v, want one that names the file", err)
		}
	}
	t.Chdir(t.TempDir())
	if _, used, err := config.Load(config.Sources{}); err != nil || strings.HasPrefix(used, "tocsin") {
		t.Errorf("without a file: used %q, %v", used, err)
	}
}

func TestURLOfAnInstallationThatNamesNone(t *testing.T) {
	for listen, want := range map[string]string{":8080": "http://localhost:8080", "10.0.0.1:80": "http://10.0.0.1:80", "[::1]:80": "http://[::1]:80"} {
		c := config.Default()
		c.Listen = listen
		if got := c.URL(); got != want {
			t.Errorf("listen %s: URL = %s, want %s", listen, got, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte("a: &x [*x]"))
	f.Add([]byte("push: {apps: [1, [2], {id: 3}]}\n---\nlisten: :1"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := config.Load(config.Sources{File: path})
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("loaded, yet not valid: %v", err)
		}
		if reflect.DeepEqual(c, config.Config{}) {
			t.Error("loaded nothing, not even defaults")
		}
	})
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tocsin.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
