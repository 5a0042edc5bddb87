package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/app"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/notify"
)

// Hosts of the push services, by what has to be reached of each.
var hosts = map[string][]string{ //nolint:gochecknoglobals // look-up table
	"ios/production":     {"api.push.apple.com:443"},
	"ios/sandbox":        {"api.sandbox.push.apple.com:443"},
	"android/production": {"fcm.googleapis.com:443", "oauth2.googleapis.com:443"},
	"web/production":     {"fcm.googleapis.com:443", "updates.push.services.mozilla.com:443", "web.push.apple.com:443"},
}

// pushApp checks one app: its key signs, and its service answers.
func pushApp(a config.PushApp) check {
	name := strings.Join([]string{"push", a.ID, a.Platform}, " ")
	if a.Platform == "ios" {
		name += " " + a.Environment
	}
	return func(ctx context.Context, _ Input) []Finding {
		all := []Finding{credential(name, a)} //nolint:contextcheck // making a provider takes no context: it does not connect
		targets, trust := hosts[a.Platform+"/"+a.Environment], (*tls.Config)(nil)
		if a.TestEndpoint != "" {
			u, err := url.Parse(a.TestEndpoint)
			if err != nil {
				return append(all, fail(name, "mend test_endpoint", "%v", err))
			}
			if trust, err = rootsOf(a.TestCAFile); err != nil {
				return append(all, fail(name, "mend test_ca_file", "%v", err))
			}
			targets = []string{net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443"))}
			all = append(all, warn(name, "remove test_endpoint on a real installation", "a simulator at %s stands in for the service: no real phone rings", u.Host))
		}
		for _, target := range targets {
			all = append(all, reach(ctx, name, target, trust))
		}
		return all
	}
}

// credential makes the provider as the server will; that reads and uses the key.
func credential(name string, a config.PushApp) Finding {
	file := cmp.Or(a.KeyFile, a.ServiceAccountFile, a.VAPIDKeyFile)
	info, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) && a.Platform == "web" {
		return fail(name, "bring it back from the backup, since every browser has subscribed with it; for a first web app, make one: tocsin vapid "+file, "%v", err)
	}
	if err != nil {
		return fail(name, "put the key where the configuration says, readable for the user that runs tocsin serve", "%v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fail(name, "make it readable for the user that runs tocsin serve", "%v", err)
	}
	if err := usable(a, text); err != nil && a.Platform == "web" {
		return fail(name, "mend the file or the keys of the app in the configuration", "the credential cannot be used: %v", err)
	} else if err != nil {
		return fail(name, "download the key again and compare the ids in the configuration with it", "the credential cannot be used: %v", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return warn(name, "chmod 600 "+file, "others may read the key (mode %04o)", info.Mode().Perm())
	}
	return ok(name, "the key signs")
}

func usable(a config.PushApp, key []byte) error {
	var ca []byte
	if a.TestCAFile != "" {
		var err error
		if ca, err = os.ReadFile(a.TestCAFile); err != nil {
			return err
		}
	}
	p, err := app.NewProvider(a, key, ca, app.ProviderOptions{})
	if err != nil {
		return err
	}
	return p.Close()
}

// reach makes a TLS connection as the providers do: HTTP/2 or nothing.
func reach(ctx context.Context, name, target string, trust *tls.Config) Finding {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if trust != nil {
		conf = trust.Clone()
	}
	conf.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", target)
	if err != nil {
		return fail(name, fmt.Sprintf("let this machine reach %s directly over TCP, with DNS; a proxy that opens TLS will not do", target), "%s: %s", target, dialText(err))
	}
	defer func() { _ = conn.Close() }()
	if t, ok := conn.(*tls.Conn); !ok || t.ConnectionState().NegotiatedProtocol != "h2" {
		return fail(name, "take the proxy in between away", "%s does not speak HTTP/2", target)
	}
	return ok(name, "%s answers", target)
}

// dialText says what of the way did not work.
func dialText(err error) string {
	if dns, found := errors.AsType[*net.DNSError](err); found {
		return "the name cannot be resolved: " + dns.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + each.String()
	}
	return err.Error()
}

// mail has a conversation with the mail server up to the login.
func mail(ctx context.Context, in Input) []Finding {
	const check = "mail"
	c := in.Config.SMTP
	if c.Host == "" {
		return []Finding{warn(check, "set smtp.host and smtp.from", "no mail server: when a phone stays silent there is no other way to go")}
	}
	conf := notify.MailConfig{
		Host: c.Host, Port: c.Port, Security: notify.MailSecurity(c.Security), Username: c.Username, Password: c.Password, From: c.From, Hello: c.Hello,
	}
	var err error
	if c.PasswordFile != "" {
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return []Finding{fail(check, "check smtp.password_file", "%v", err)}
		}
		conf.Password = strings.TrimRight(before(string(text), "\n"), "\r")
	}
	if conf.TLS, err = rootsOf(c.CAFile); err != nil {
		return []Finding{fail(check, "check smtp.ca_file", "%v", err)}
	}
	m, err := notify.NewMail(conf)
	if err == nil {
		err = m.Check(ctx)
	}
	if err != nil {
		return []Finding{fail(check, "check smtp.host, smtp.port, smtp.security, user and password", "%v", err)}
	}
	if c.Security == "none" && c.Host != "localhost" && !strings.HasPrefix(c.Host, "127.") {
		return []Finding{warn(check, "set smtp.security to starttls", "%s takes mail; it travels in the clear", c.Host)}
	}
	return []Finding{ok(check, "%s takes mail", c.Host)}
}
