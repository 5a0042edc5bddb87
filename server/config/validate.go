package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push/webpush"
)

// Validate checks everything that can be checked without looking at files or
// the network; `tocsin doctor` does the rest. The error is Problems.
func (c Config) Validate() error {
	if problems := c.validate(nil); len(problems) > 0 {
		return problems
	}
	return nil
}

func (c Config) validate(sources map[string]string) Problems {
	v := &validator{sources: sources}
	v.ranges(reflect.ValueOf(c), "")
	v.address("listen", c.Listen)
	v.admin(c.AdminListen)
	v.url("public_url", c.PublicURL, "http", "https")
	v.required("data_dir", c.DataDir, "name a directory")
	v.redis(c)
	v.pair("tls.cert_file", c.TLS.CertFile, "tls.key_file", c.TLS.KeyFile)
	v.apps(c)
	for i, host := range c.Push.LinkHosts {
		if u, err := url.Parse("https://" + strings.TrimPrefix(host, "*.") + "/"); err != nil || u.Hostname() != strings.TrimPrefix(host, "*.") || strings.Contains(u.Hostname(), "*") || u.Hostname() == "" {
			v.bad(fmt.Sprintf("push.link_hosts[%d]", i), "write a host such as wiki.example.com, or *.example.com, instead of %q", host)
		}
	}
	v.smtp(c.SMTP)
	for i, allowed := range c.Webhooks.Allow {
		if _, err := ParsePrefix(allowed); err != nil {
			v.bad(fmt.Sprintf("webhooks.allow[%d]", i), "write an address or a prefix such as 10.1.2.0/24 instead of %q", allowed)
		}
	}
	v.url("dead_man.url", c.DeadMan.URL, "http", "https")
	v.url("tracing.otlp_endpoint", c.Tracing.Endpoint, "http", "https")
	if r := c.Tracing.Ratio; r < 0 || r > 1 {
		v.bad("tracing.ratio", "write a share from 0 to 1 instead of %v", r)
	}
	if c.Retention.ArchiveAfter >= c.Retention.KeepClosed {
		v.bad("retention.keep_closed", "must be longer than retention.archive_after, which is %s", showDuration(c.Retention.ArchiveAfter))
	}
	return v.problems
}

// ParsePrefix reads a network prefix; a single address is a prefix of its full length.
func ParsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(s)
}

type validator struct {
	sources  map[string]string
	problems Problems
}

func (v *validator) bad(key, format string, args ...any) {
	v.problems = append(v.problems, Problem{Source: v.sourceOf(key), Key: key, Fix: fmt.Sprintf(format, args...)})
}

// sourceOf says where key was given, or, of a missing one, the map that it is missing in.
func (v *validator) sourceOf(key string) string {
	for key != "" {
		if s, ok := v.sources[key]; ok {
			return s
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return ""
}

func (v *validator) required(key, value, fix string) {
	if value == "" {
		v.bad(key, "is missing: %s", fix)
	}
}

// ranges holds every duration to its min and max tags.
func (v *validator) ranges(s reflect.Value, prefix string) {
	for _, f := range fieldsOf(s.Type()) {
		value := s.Field(f.index)
		if value.Kind() == reflect.Struct {
			v.ranges(value, prefix+f.name+".")
			continue
		}
		d, ok := reflect.TypeAssert[time.Duration](value)
		if !ok || f.tag.Get("min") == "" {
			continue
		}
		least, err1 := parseDuration(f.tag.Get("min"))
		most, err2 := parseDuration(f.tag.Get("max"))
		if errors.Join(err1, err2) == nil && (d < least || d > most) {
			v.bad(prefix+f.name, "must be from %s to %s, not %s", f.tag.Get("min"), f.tag.Get("max"), showDuration(d))
		}
	}
}

func (v *validator) address(key, s string) bool {
	_, port, err := net.SplitHostPort(s)
	_, err2 := strconv.ParseUint(port, 10, 16) // 0 lets the system choose, which tests and the demo use
	if err != nil || err2 != nil {
		v.bad(key, "write host:port or :port instead of %q", s)
		return false
	}
	return true
}

func (v *validator) admin(s string) {
	if s == "" || !v.address("admin_listen", s) {
		return
	}
	host, _, _ := net.SplitHostPort(s)
	addr, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !addr.IsLoopback()) {
		v.bad("admin_listen", "must be a loopback address such as 127.0.0.1:6060, not %q: nobody is asked for a password there", s)
	}
}

func (v *validator) url(key, s string, schemes ...string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" {
		v.bad(key, "write a URL that begins with %s", strings.Join(schemes, ":// or ")+"://") // not the value: it may hold a secret
	}
}

func (v *validator) pair(keyA, a, keyB, b string) {
	if a != "" && b == "" {
		v.bad(keyB, "is missing: %s needs it", keyA)
	}
	if b != "" && a == "" {
		v.bad(keyA, "is missing: %s needs it", keyB)
	}
}

func (v *validator) redis(c Config) {
	schemes := []string{"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
	if u := c.Redis.URL; u != "" && !strings.HasPrefix(u, "unix:///") {
		scheme, rest, _ := strings.Cut(u, "://")
		if !slices.Contains(schemes, scheme) || rest == "" {
			v.bad("redis.url", "write a URL that begins with unix:///, %s", strings.Join(schemes, "://, ")+"://")
		}
	}
	if c.Private() && c.Redis.Durability == "replicated" {
		v.bad("redis.durability", "replicated needs redis.url: the private server has no replica")
	}
	if !c.Private() && c.Redis.MaxMemory != 0 {
		v.bad("redis.max_memory", "is for the private server only: set maxmemory in the configuration of the server behind redis.url")
	}
	if !c.Private() && c.Redis.Program != "" {
		v.bad("redis.program", "is for the private server only: remove it or redis.url")
	}
}

var (
	appID      = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	appleID    = regexp.MustCompile(`^[A-Z0-9]{10}$`)
	bundleName = regexp.MustCompile(`^[A-Za-z0-9.-]{1,155}$`)
)

func (v *validator) apps(c Config) {
	seen := map[[3]string]int{}
	for i, a := range c.Push.Apps {
		key := func(name string) string { return fmt.Sprintf("push.apps[%d].%s", i, name) }
		if !appID.MatchString(a.ID) {
			v.bad(key("id"), "write 1 to 63 of a-z, 0-9, dot, dash and underscore, not %q", a.ID)
		}
		id := [3]string{a.ID, a.Platform, a.Environment}
		if first, ok := seen[id]; ok {
			v.bad(key("id"), "is the same app as push.apps[%d]: remove one, or give another platform or environment", first)
		}
		seen[id] = i
		switch a.Platform {
		case "ios":
			v.ios(a, key)
		case "android":
			v.android(a, key)
		case "web":
			v.web(c, a, key)
		default:
			v.bad(key("platform"), "is missing: write ios, android or web")
		}
		if a.Platform != "web" {
			v.notWeb(a, key)
		}
		v.pair(key("test_endpoint"), a.TestEndpoint, key("test_ca_file"), a.TestCAFile)
		v.loopback(key("test_endpoint"), a.TestEndpoint)
		if a.MaxInFlight < 0 {
			v.bad(key("max_in_flight"), "write a number from 0")
		}
		if a.PerSecond < 0 {
			v.bad(key("per_second"), "write a number from 0")
		}
	}
}

func (v *validator) ios(a PushApp, key func(string) string) {
	if !bundleName.MatchString(a.Bundle) {
		v.bad(key("bundle"), "write the bundle identifier of the app, such as com.example.oncall, not %q", a.Bundle)
	}
	for _, id := range [][2]string{{"team_id", a.TeamID}, {"key_id", a.KeyID}} {
		if !appleID.MatchString(id[1]) {
			v.bad(key(id[0]), "write the ten capital letters and digits that Apple gives, not %q", id[1])
		}
	}
	v.required(key("key_file"), a.KeyFile, "name the .p8 file downloaded from Apple")
	if a.Project != "" || a.ServiceAccountFile != "" {
		v.bad(key(cmp.Or(given("project", a.Project), "service_account_file")), "is for android: remove it")
	}
}

func (v *validator) android(a PushApp, key func(string) string) {
	v.required(key("service_account_file"), a.ServiceAccountFile, "name the JSON key file of the service account")
	if a.Environment != "production" {
		v.bad(key("environment"), "is for ios: FCM knows only production, remove it")
	}
	for _, f := range [][2]string{{"bundle", a.Bundle}, {"team_id", a.TeamID}, {"key_id", a.KeyID}, {"key_file", a.KeyFile}} {
		if f[1] != "" {
			v.bad(key(f[0]), "is for ios: remove it")
		}
	}
	if a.Critical {
		v.bad(key("critical_alerts"), "is for ios: remove it")
	}
}

func (v *validator) web(c Config, a PushApp, key func(string) string) {
	v.required(key("vapid_key_file"), a.VAPIDKeyFile, "name the file that tocsin vapid wrote; make it once and keep it for good")
	if err := webpush.CheckSubject(a.Subject); err != nil {
		v.bad(key("vapid_subject"), "%v", err)
	}
	switch err := webpush.CheckAppURL(c.WebAppURL(a)); {
	case err != nil && a.AppURL == "" && a.TestEndpoint == "":
		v.bad(key("app_url"), "is missing: browsers open nothing but https, and public_url is not; write the URL of the web app")
	case err != nil && a.AppURL != "":
		v.bad(key("app_url"), "%v", err)
	}
	if err := webpush.CheckHosts(a.AllowedHosts...); err != nil {
		v.bad(key("allowed_hosts"), "%v", err)
	}
	if a.Environment != "production" {
		v.bad(key("environment"), "is for ios: browsers know only production, remove it")
	}
	for _, f := range [][2]string{{"bundle", a.Bundle}, {"team_id", a.TeamID}, {"key_id", a.KeyID}, {"key_file", a.KeyFile}} {
		if f[1] != "" {
			v.bad(key(f[0]), "is for ios: remove it")
		}
	}
	if a.Critical {
		v.bad(key("critical_alerts"), "is for ios: no browser plays a critical sound, remove it")
	}
	if a.Project != "" || a.ServiceAccountFile != "" {
		v.bad(key(cmp.Or(given("project", a.Project), "service_account_file")), "is for android: remove it")
	}
}

// notWeb refuses what only a web app has.
func (v *validator) notWeb(a PushApp, key func(string) string) {
	for _, f := range [][2]string{
		{"vapid_key_file", a.VAPIDKeyFile}, {"vapid_subject", a.Subject}, {"app_url", a.AppURL}, {"allowed_hosts", strings.Join(a.AllowedHosts, ",")},
	} {
		if f[1] != "" {
			v.bad(key(f[0]), "is for web: remove it")
		}
	}
}

func given(name, value string) string {
	if value == "" {
		return ""
	}
	return name
}

// loopback keeps pages and credentials from a stranger who stands in for Apple.
func (v *validator) loopback(key, s string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		v.bad(key, "write an https:// URL")
		return
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() != "localhost" && (err != nil || !addr.Unmap().IsLoopback()) {
		v.bad(key, "must be on this machine (https://127.0.0.1:port): a simulator elsewhere would be given the pages")
	}
}

func (v *validator) smtp(s SMTP) {
	if s.Host == "" {
		for _, f := range [][2]string{{"from", s.From}, {"username", s.Username}, {"password", s.Password}, {"password_file", s.PasswordFile}} {
			if f[1] != "" {
				v.bad("smtp.host", "is missing: smtp.%s is set", f[0])
				return
			}
		}
		return
	}
	if strings.ContainsAny(s.Host, ":/ ") && net.ParseIP(s.Host) == nil {
		v.bad("smtp.host", "write a host name without scheme and port, not %q; the port is smtp.port", s.Host)
	}
	if s.Port < 0 || s.Port > 65535 {
		v.bad("smtp.port", "write a number from 1 to 65535, or 0 for the usual one, not %d", s.Port)
	}
	if s.From == "" {
		v.bad("smtp.from", "is missing: write the sender's address")
	} else if _, err := mail.ParseAddress(s.From); err != nil {
		v.bad("smtp.from", "write an address such as Tocsin <oncall@example.com> instead of %q", s.From)
	}
	if s.Password != "" && s.PasswordFile != "" {
		v.bad("smtp.password", "is given twice: remove it or smtp.password_file")
	}
	if s.Username == "" && (s.Password != "" || s.PasswordFile != "") {
		v.bad("smtp.username", "is missing: a password is set")
	}
	if s.Username != "" && s.Password == "" && s.PasswordFile == "" {
		v.bad("smtp.password_file", "is missing: smtp.username is set; or set TOCSIN_SMTP_PASSWORD")
	}
}
