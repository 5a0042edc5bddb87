package app

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v4"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// TestWhatIsWatchedIsThere holds the rules and the dashboard of deploy/ against
// a server that has paged somebody: each metric that they ask for is exported
// under that name and with those labels. A rule about a misspelt metric never
// fires, and nobody misses it.
func TestWhatIsWatchedIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	in.send("trigger", "db", "disk full")
	n := gets(t, ann.Phone, "the page", page)
	shown := func(line string) func() bool {
		return func() bool { _, text := in.get("/metrics"); return strings.Contains(text, line) }
	}
	// A receipt that overtakes the push service's answer is not measured from it.
	eventually(t, "the acceptance is recorded", shown(`push_deliveries_total{provider="apns",state="accepted"}`))
	ann.receipt(n, pb.Receipt_STATE_RECEIVED)
	ann.acknowledge(n)
	gets(t, ann.Phone, "the quiet card", func(n pushtest.Notification) bool { return n.Kind == "clear" })
	eventually(t, "the receipt is counted", shown("push_receipt_seconds_count"))

	known := in.exports()
	rules, board := alertRules(t), dashboard(t)
	if len(rules) < 20 || len(board) < 40 {
		t.Fatalf("there are %d rules and %d expressions of the dashboard: they were not read", len(rules), len(board))
	}
	for name, expr := range rules {
		for _, complaint := range known.complaints(expr, true) {
			t.Errorf("deploy/alerts.yml: %s: %s", name, complaint)
		}
	}
	for _, expr := range board {
		for _, complaint := range known.complaints(expr, false) {
			t.Errorf("deploy/grafana/tocsin.json: %s: %s", expr, complaint)
		}
	}
}

// TestWhatIsWatchedCanBeWrong shows that the test above sees what is not there.
func TestWhatIsWatchedCanBeWrong(t *testing.T) {
	t.Parallel()
	known := exports{
		labels: map[string][]string{"tocsin_ready": nil, "push_seconds": {"provider"}, "push_fallback_total": {"cause"}},
		types:  map[string]string{"tocsin_ready": "gauge", "push_seconds": "histogram", "push_fallback_total": "counter"},
		text:   `push_fallback_total{cause="no_receipt"} 0`,
	}
	for expr, want := range map[string]string{
		`max by (job) (tocsin_ready) == 0`:                                               "",
		`histogram_quantile(0.5, sum by (le, provider) (rate(push_seconds_bucket[5m])))`: "",
		`increase(push_fallback_total{cause="no_receipt"}[1h]) > 5`:                      "",
		`max by (job) (tocsin_raedy) == 0`:                                               "no metric tocsin_raedy",
		`rate(tocsin_ready_bucket[5m])`:                                                  "no metric tocsin_ready_bucket",
		`push_seconds > 5`:                                                               "only as _bucket",
		`max by (provider) (tocsin_ready)`:                                               "no label provider",
		`push_fallback_total{why="no_receipt"}`:                                          "no label why",
		`push_fallback_total{cause="no_reciept"}`:                                        `never has cause="no_reciept"`,
		`max by (job (tocsin_ready)`:                                                     "cannot be read",
	} {
		got := strings.Join(known.complaints(expr, true), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: complaints %q, want %q", expr, got, want)
		}
	}
}

// TestEveryAlertIsTriedAndExplained: promtool proves only what alerts_test.yml
// asks for, and an alert that the page for three in the morning does not name
// helps nobody there.
func TestEveryAlertIsTriedAndExplained(t *testing.T) {
	t.Parallel()
	type ran struct {
		Alert string `yaml:"alertname"`
		Exp   []any  `yaml:"exp_alerts"`
	}
	var cases struct {
		Tests []struct {
			Ran []ran `yaml:"alert_rule_test"`
		} `yaml:"tests"`
	}
	if err := yaml.Unmarshal(deployed(t, "alerts_test.yml"), &cases); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, c := range cases.Tests {
		for _, r := range c.Ran {
			if len(r.Exp) > 0 {
				fires[r.Alert] = true
			} else {
				silent[r.Alert] = true
			}
		}
	}
	page := string(deployed(t, filepath.Join("..", "docs", "operations.md")))
	for name := range alertRules(t) {
		if !fires[name] || !silent[name] {
			t.Errorf("deploy/alerts_test.yml shows %s firing: %t, silent: %t; want both", name, fires[name], silent[name])
		}
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/operations.md does not say what to do about %s", name)
		}
	}
}

// deployed reads a file of deploy/.
func deployed(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// alertRules returns the expressions of the alerts by name.
func alertRules(t *testing.T) map[string]string {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(deployed(t, "alerts.yml"), &file); err != nil {
		t.Fatal(err)
	}
	rules := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rules[r.Alert] = r.Expr
		}
	}
	return rules
}

// ofVariable is how a variable of a dashboard asks for the values of a label.
var ofVariable = regexp.MustCompile(`^label_values\((.+), \w+\)$`)

// dashboard returns the expressions of all panels and variables, with something
// in the place of Grafana's own variables.
func dashboard(t *testing.T) []string {
	t.Helper()
	var file struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(deployed(t, filepath.Join("grafana", "tocsin.json")), &file); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range file.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	for _, v := range file.Templating.List {
		if m := ofVariable.FindStringSubmatch(v.Definition); m != nil {
			all = append(all, m[1])
		} else if v.Type == "query" {
			t.Errorf("the variable %s asks in a way that this test does not know: %s", v.Name, v.Definition)
		}
	}
	grafana := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*")
	for i := range all {
		all[i] = grafana.Replace(all[i])
	}
	return all
}

// exports is what a server exports.
type exports struct {
	labels map[string][]string // by metric
	types  map[string]string   // by metric, of those that have been shown
	text   string              // of /metrics
}

var (
	described = regexp.MustCompile(`^Desc\{fqName: "(\w+)".*constLabels: \{(.*)\}, variableLabels: \{(.*?)\}`)
	typed     = regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`)
	labelName = regexp.MustCompile(`\w+`)
)

// exports asks a server what it exports: /metrics for what it shows, and its
// registry also for what has had no reason to show itself yet.
func (in *instance) exports() exports {
	in.t.Helper()
	status, text := in.get("/metrics")
	if status != 200 {
		in.t.Fatalf("/metrics answers %d", status)
	}
	x := exports{labels: map[string][]string{}, types: map[string]string{}, text: text}
	descs := make(chan *prometheus.Desc)
	go func() { // ends with the range below
		in.server.registry.Describe(descs)
		close(descs)
	}()
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			in.t.Fatalf("a description of another form: %s", d)
		}
		var constant []string
		for pair := range strings.SplitSeq(m[2], ",") {
			name, _, _ := strings.Cut(pair, "=")
			constant = append(constant, name)
		}
		x.labels[m[1]] = append(constant, labelName.FindAllString(m[3], -1)...)
	}
	for _, m := range typed.FindAllStringSubmatch(text, -1) {
		x.types[m[1]] = m[2]
		if _, ok := x.labels[m[1]]; !ok {
			in.t.Errorf("/metrics shows %s, which nothing describes", m[1])
		}
	}
	return x
}

// complaints returns what an expression asks for that is not exported. With
// values, a label must have been seen with the value that it is compared with.
func (x exports) complaints(expr string, values bool) (all []string) {
	parsed, err := metricsql.Parse(expr)
	if err != nil {
		return []string{"cannot be read: " + err.Error()}
	}
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			for _, filters := range e.LabelFilterss {
				all = append(all, x.selector(filters, values)...)
			}
		case *metricsql.AggrFuncExpr:
			all = append(all, x.grouping(e)...)
		}
	})
	return all
}

// selector judges what stands in braces, the name of the metric first.
func (x exports) selector(filters []metricsql.LabelFilter, values bool) (all []string) {
	name := filters[0].Value
	labels, complaint := x.metric(name)
	if complaint != "" {
		return []string{complaint}
	}
	for _, f := range filters[1:] {
		if !slices.Contains(labels, f.Label) {
			all = append(all, fmt.Sprintf("%s has no label %s", name, f.Label))
			continue
		}
		seen := regexp.MustCompile(`(?m)^` + name + `\{(.*,)?` + f.Label + `=` + regexp.QuoteMeta(fmt.Sprintf("%q", f.Value)))
		if values && !f.IsRegexp && !f.IsNegative && !seen.MatchString(x.text) {
			all = append(all, fmt.Sprintf("%s never has %s=%q", name, f.Label, f.Value))
		}
	}
	return all
}

// grouping judges by what labels an aggregation is made.
func (x exports) grouping(a *metricsql.AggrFuncExpr) (all []string) {
	for _, arg := range a.Args {
		metricsql.VisitAll(arg, func(e metricsql.Expr) {
			m, ok := e.(*metricsql.MetricExpr)
			if !ok {
				return
			}
			name := m.LabelFilterss[0][0].Value
			labels, complaint := x.metric(name)
			for _, by := range a.Modifier.Args {
				if complaint == "" && !slices.Contains(labels, by) {
					all = append(all, fmt.Sprintf("%s has no label %s to be summed up by", name, by))
				}
			}
		})
	}
	return all
}

// metric returns the labels that a metric has for Prometheus, or what is wrong
// with its name.
func (x exports) metric(name string) (labels []string, complaint string) {
	scraped := []string{"job", "instance"}
	if name == "up" {
		return scraped, ""
	}
	if own, ok := x.labels[name]; ok {
		if x.types[name] == "histogram" {
			return nil, name + " is a histogram: there is only as _bucket, _sum and _count"
		}
		return append(scraped, own...), ""
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && x.types[base] == "histogram" {
			return append(append(scraped, "le"), x.labels[base]...), ""
		}
	}
	return nil, "there is no metric " + name
}
