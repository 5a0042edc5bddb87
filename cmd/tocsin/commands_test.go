package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// command runs one command line and returns everything that it showed, as a transcript.
func command(t *testing.T, env []string, args ...string) (transcript string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	code = run(ctx, &session{
		args: args, env: env, out: &out, err: &errOut, now: func() time.Time { return noon }, zone: time.UTC,
		build: build{Version: "v0.0.0", Commit: "0123456789ab", Go: "go1.26.8", Target: "linux/amd64", Schema: 1},
	})
	transcript = out.String()
	if errOut.Len() > 0 {
		transcript += "--- standard error\n" + errOut.String()
	}
	return fmt.Sprintf("%s--- exit %d\n", transcript, code), code
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
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
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{
		"", "apply", "plan", "drift", "export", "import", "import pagerduty", "import opsgenie", "import grafana-oncall", "import goalert", "token", "token create", "token list", "token revoke", "enrol", "page", "oncall", "oncall who", "oncall take", "oncall explain", "oncall handoff", "oncall review",
		"oncall shifts", "oncall override", "oncall override add", "oncall override list", "oncall override remove", "oncall cover", "oncall cover ask", "oncall cover list", "oncall cover accept", "oncall cover decline", "oncall cover cancel",
		"readiness", "drill", "drill start", "drill list", "drill show", "drill cancel", "drill put-off", "drill review", "calendar", "calendar feeds", "calendar new", "calendar revoke", "calendar vacations", "incidents", "incidents list", "incidents show",
		"dry-run",
		"incidents ack", "incidents resolve", "incidents explain", "incidents watch", "incidents export", "status", "dlq", "dlq list", "dlq retry", "hold", "resume", "backup", "doctor", "simulate", "simulate apns", "simulate fcm", "simulate webpush", "version",
	} {
		t.Run(args, func(t *testing.T) {
			got, _ := command(t, nil, append(strings.Fields(args), "--help")...)
			golden(t, strings.Trim("help-"+strings.ReplaceAll(args, " ", "-"), "-"), got)
		})
	}
}

func TestOutputs(t *testing.T) {
	apply := filepath.Join(t.TempDir(), "org.yaml")
	if err := os.WriteFile(apply, []byte("people: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(apply)
	event := filepath.Join(t.TempDir(), "event")
	if err := os.WriteFile(event, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, args string }{
		{"plan", "plan --owner shop " + folder},
		{"plan-json", "plan -o json --owner shop " + folder},
		{"plan-markdown", "plan --markdown --owner shop " + folder},
		{"plan-no-folder", "plan " + filepath.Join(folder, "none")},
		{"plan-prune-nobodys", "plan --prune -f " + apply},
		{"drift", "drift --owner shop " + folder},
		{"dry-run", "dry-run --at 2026-12-01T03:00 --event " + event},
		{"dry-run-folder", "dry-run --service blog --folder " + folder + " --event " + event},
		{"dry-run-json", "dry-run --service blog -o json --event " + event},
		{"dry-run-no-event", "dry-run --event none"},
		{"dry-run-prune-nothing", "dry-run --prune --event " + event},
		{"apply-no-plan", "apply --plan " + apply},
		{"apply-plan-and-folder", "apply --plan x " + folder},
		{"incidents-list", "incidents list"},
		{"incidents-list-all", "incidents list --all"},
		{"incidents-list-none", "incidents list --service none"},
		{"incidents-list-json", "incidents list -n 1 -o json"},
		{"incidents-show", "incidents show 43"},
		{"incidents-show-acknowledged", "incidents show a0b1c1"},
		{"incidents-show-resolved", "incidents show #41"},
		{"incidents-show-unknown", "incidents show nothere"},
		{"incidents-show-unknown-number", "incidents show 7"},
		{"incidents-ack", "incidents ack 43 incidents/a0b1c1"},
		{"incidents-ack-partly", "incidents ack 43 nothere"},
		{"incidents-resolve", "incidents resolve 43 --note=fixed"},
		{"incidents-explain", "incidents explain 43 bob"},
		{"incidents-export", "incidents export --since 7d"},
		{"incidents-export-bad-time", "incidents export --since yesterday"},
		{"page", "page --service checkout Help!"},
		{"page-nobody", "page Help!"},
		{"page-refused", "page --service none Help!"},
		{"apply", "apply -f " + apply},
		{"apply-dry-run", "apply --all --dry-run -f " + apply},
		{"apply-no-file", "apply"},
		{"export", "export"},
		{"token-create", "token create --user ann laptop"},
		{"token-create-service", "token create --role stakeholder --scope read --expires never export"},
		{"token-create-nobody", "token create x"},
		{"token-create-bad-time", "token create --user ann --expires soon x"},
		{"token-list", "token list --all"},
		{"token-revoke", "token revoke k9"},
		{"enrol", "enrol ann"},
		{"enrol-plain", "enrol ann --no-qr"},
		{"status", "status"},
		{"status-json", "status -o json"},
		{"dlq-list", "dlq list"},
		{"dlq-retry", "dlq retry --all"},
		{"dlq-retry-nothing", "dlq retry"},
		{"hold", "hold migration"},
		{"resume", "resume"},
		{"version", "version"},
		{"version-json", "version -o json"},
		{"unknown-command", "incident list"},
		{"unknown-flag", "incidents list --sevice x"},
		{"bad-set", "incidents list --set lissten=x"},
		{"doctor-misconfigured", "doctor --set lissten=x --set log.level=loud"},
		{"doctor-misconfigured-json", "doctor --set lissten=x -o json"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := serveAdmin(t, &server{})
			got, _ := command(t, []string{"TOCSIN_DATA_DIR=" + dir}, strings.Fields(c.args)...)
			golden(t, c.name, strings.NewReplacer(dir, "DATA", folder, "FOLDER").Replace(got))
			if strings.Contains(got, "\x1b") {
				t.Error("an escape sequence of an alert reached the terminal")
			}
			if strings.HasSuffix(c.args, "json") && !json.Valid([]byte(strings.Split(got, "--- ")[0])) {
				t.Errorf("not JSON: %s", got)
			}
		})
	}
}

func TestDoctorAsksTheServerOnThisMachine(t *testing.T) {
	dir := serveAdmin(t, &server{})
	got, code := command(t, []string{"TOCSIN_DATA_DIR=" + dir}, "doctor")
	if code != exitError {
		t.Errorf("exit %d, want %d: the server is not ready", code, exitError)
	}
	for _, want := range []string{
		"FAIL  server", "-> see tocsin status", "Bob Beispiel cannot be woken", "OK    catch-all", "Cy Kyriakou can be reached", "to mend.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestStatusOfAHealthyServer(t *testing.T) {
	dir := serveAdmin(t, &server{healthy: true})
	got, _ := command(t, nil, "status", "--data-dir", dir)
	golden(t, "status-ready", got)
}

func TestWatchGoesOnWhereTheStreamBroke(t *testing.T) {
	f := &server{breaks: 1}
	dir := serveAdmin(t, f)
	got, code := command(t, nil, "incidents", "watch", "--data-dir", dir)
	golden(t, "incidents-watch", got)
	if code != exitError {
		t.Errorf("exit %d, want %d: the second stream was refused", code, exitError)
	}
	r, _ := f.last()
	if cursor := r.(*api.WatchIncidentsRequest).GetCursor(); cursor != "1" {
		t.Errorf("resumed from cursor %q, want 1", cursor)
	}
}

func TestWhichServerIsCalled(t *testing.T) {
	f := &server{}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, f, l)
	addr := l.Addr().String()
	cases := []struct {
		name string
		env  []string
		args []string
		want string // of the output; "" = it went well with the token
	}{
		{"flags", nil, []string{"--server", addr, "--token", "tcs_x"}, ""},
		{"environment", []string{"TOCSIN_SERVER=http://" + addr, "TOCSIN_TOKEN=tcs_x"}, nil, ""},
		{"no token", []string{"TOCSIN_SERVER=" + addr}, nil, "a token is needed for"},
		{"no server", []string{"TOCSIN_TOKEN=tcs_x"}, nil, "add --server or set TOCSIN_SERVER"},
		{"nothing and nobody here", []string{"TOCSIN_DATA_DIR=/nonexistent"}, nil, "no server runs here (there is no /nonexistent/admin.sock): start one with tocsin serve"},
		{"no address", nil, []string{"--server", "somewhere", "--token", "x"}, "write https://host, http://host:port or host:port"},
		{"nobody listens", nil, []string{"--server", "127.0.0.1:1", "--token", "x"}, "the server does not answer"},
		{"TLS is not spoken there", nil, []string{"--server", "https://" + addr, "--token", "x"}, "the server does not answer"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, code := command(t, c.env, append([]string{"hold", "test"}, c.args...)...)
			if c.want != "" {
				if code == exitOK || !strings.Contains(got, c.want) {
					t.Errorf("exit %d, got %q, want %q", code, got, c.want)
				}
				return
			}
			if _, caller := f.last(); code != exitOK || caller != "Bearer tcs_x" {
				t.Errorf("exit %d, authorization %q, want Bearer tcs_x; output %s", code, caller, got)
			}
		})
	}
}

func TestServerThatIsGone(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, adminSocket)})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as SIGKILL leaves it
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, code := command(t, nil, "status", "--data-dir", dir)
	if want := "the server that ran here is gone"; code != exitError || !strings.Contains(got, want) {
		t.Errorf("exit %d, got %q, want %q", code, got, want)
	}
}

func TestParseServer(t *testing.T) {
	cases := []struct {
		in, address string
		secure      bool
	}{
		{"https://oncall.example.com", "oncall.example.com:443", true},
		{"http://oncall.example.com", "oncall.example.com:80", false},
		{"https://[::1]:8443/", "[::1]:8443", true},
		{"localhost:8080", "localhost:8080", false},
		{"127.0.0.1:8080", "127.0.0.1:8080", false},
		{"oncall.example.com:443", "oncall.example.com:443", true},
	}
	for _, c := range cases {
		address, secure, err := parseServer(c.in)
		if address != c.address || secure != c.secure || err != nil {
			t.Errorf("parseServer(%q) = %q, %v, %v; want %q, %v", c.in, address, secure, err, c.address, c.secure)
		}
	}
}

func TestRequestsCarryWhatWasTyped(t *testing.T) {
	f := &server{}
	dir := serveAdmin(t, f)
	if got, code := command(t, nil, "page", "--data-dir", dir, "-u", "ann", "-u", "users/bob", "-p", "shop", "--urgency", "low", "--priority", "P2", "Help"); code != exitOK {
		t.Fatal(got)
	}
	m, _ := f.last()
	r := m.(*api.CreateIncidentRequest)
	if got, want := strings.Join(r.GetUsers(), " "), "users/ann users/bob"; got != want {
		t.Errorf("users = %s, want %s", got, want)
	}
	if r.GetEscalationPolicy() != "escalationPolicies/shop" || r.GetIncident().GetUrgency() != api.Incident_URGENCY_LOW || r.GetIncident().GetPriority() != api.Incident_PRIORITY_P2 || r.GetRequestId() == "" {
		t.Errorf("request = %v", r)
	}
}

func TestExplainSaysNothingTwice(t *testing.T) {
	st, err := status.New(codes.NotFound, "incident.service: there is no services/x").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "incident.service", Description: "there is no services/x"}, {Field: "incident.title", Description: "is too long"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := explain(fmt.Errorf("page: %w", st.Err())), "not found: incident.service: there is no services/x\n  incident.title: is too long"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m", 192 * time.Second: "3m12s", 4*time.Hour + 5*time.Minute: "4h5m", 75 * time.Hour: "3d3h", 48 * time.Hour: "2d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31mb\u202ec\u0000d\r\ne")
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(text)
		for _, r := range got {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' {
				t.Errorf("clean(%q) = %q has %U", text, got, r)
			}
		}
		if again := clean(got); again != got {
			t.Errorf("clean is not idempotent: %q, then %q", got, again)
		}
	})
}
