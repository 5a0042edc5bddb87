// Package config is the configuration of one tocsin process: one documented
// struct, read from a file, the environment and flags, and checked in one place.
//
// A key has three spellings of one name: `smtp.host` in the YAML file (a map
// in a map) and after --set, TOCSIN_SMTP_HOST in the environment. Flags win
// over the environment, the environment over the file, the file over the
// defaults. Whatever is wrong is reported all at once, each with its place,
// its key and the way to mend it; a key that nobody reads is an error.
//
// What belongs to the organisation (people, teams, services, policies, the
// catch-all) is not here but in the directory: see `tocsin apply`.
package config

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

// Config is everything that an operator can set. [Default] returns the usable
// defaults. The tags are the documentation: docs/configuration.md is made of them.
type Config struct {
	Listen      string `yaml:"listen" default:":8080" doc:"Address of the one listener for gRPC, HTTP, events and the stream: host:port, or :port for every interface. Without tls it speaks plain text and belongs behind a proxy."`
	AdminListen string `yaml:"admin_listen" default:"" doc:"Loopback address for profiles (/debug/pprof) and metrics, such as 127.0.0.1:6060. It asks nobody who they are, so no other address is taken. Empty: off."`
	PublicURL   string `yaml:"public_url" default:"" doc:"How phones and people reach this installation: https://oncall.example.com. It stands in enrolment links and e-mails. Empty: http:// or https:// and the listen address, good for trying things out on one machine."`
	DataDir     string `yaml:"data_dir" path:"true" default:"data" doc:"Directory of the master key, the encrypted copy of the directory, the admin socket and, without redis.url, the private Redis with all incidents. Only one process may use it. Back it up."`
	MasterKey   string `yaml:"master_key" secret:"true" default:"" doc:"Master key (or several, newest first, separated by commas) in base64, instead of the file master.key in data_dir. Better given as TOCSIN_MASTER_KEY than in a file."`

	Redis     Redis     `yaml:"redis" doc:"Where incidents are kept."`
	TLS       TLS       `yaml:"tls" doc:"Certificate of the listener. Both files are read again on SIGHUP."`
	Push      Push      `yaml:"push" doc:"The apps whose phones are paged. They and their keys are read again on SIGHUP."`
	SMTP      SMTP      `yaml:"smtp" doc:"The mail server through which e-mail pages leave."`
	Webhooks  Webhooks  `yaml:"webhooks" doc:"Outgoing webhooks."`
	DeadMan   DeadMan   `yaml:"dead_man" doc:"An outgoing call that proves from outside that this process lives and is ready."`
	OutOfBand OutOfBand `yaml:"out_of_band" doc:"What happens when Redis itself is out."`
	Retention Retention `yaml:"retention" doc:"How long closed incidents are kept, and when they are packed."`
	Upgrade   Upgrade   `yaml:"upgrade" doc:"What happens while instances of two versions run."`
	Log       Log       `yaml:"log" doc:"The log, on standard error."`
	Tracing   Tracing   `yaml:"tracing" doc:"OpenTelemetry traces."`
	Shutdown  Shutdown  `yaml:"shutdown" doc:"What SIGTERM does."`

	// Pace replaces the durations of the rules. Only the demo sets it, in code:
	// nobody can be paged every few seconds by a line in a file.
	Pace *incident.Pace `yaml:"-"`
}

// Redis is the store and its promise.
type Redis struct {
	URL        string   `yaml:"url" secret:"true" default:"" doc:"redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// (TLS: rediss+sentinel://, rediss+cluster://), with user, password and database as usual; several hosts are separated by commas, the Sentinel master is the path. Empty: a private redis-server from PATH is run in data_dir."`
	Durability string   `yaml:"durability" enum:"fsync,everysec,replicated" default:"fsync" doc:"What accepted means. fsync: on disk before the answer (the private server is run so; another server's settings are checked by tocsin doctor). everysec: the last second may be lost with the power. replicated: on a second Redis node before the answer, needs redis.url with a replica."`
	MaxMemory  ByteSize `yaml:"max_memory" default:"0" doc:"Memory of the private server, such as 512MB or 2GiB. 0: 60 % of what the machine or its control group has."`
	Program    string   `yaml:"program" path:"bare" default:"" doc:"Path of redis-server for the private server. Empty: redis-server or valkey-server from PATH."`
	CAFile     string   `yaml:"ca_file" path:"true" default:"" doc:"PEM file of the authority that signed the server's certificate, for the rediss forms. Empty: the system's."`
}

// TLS is the certificate of the listener.
type TLS struct {
	CertFile string `yaml:"cert_file" path:"true" default:"" doc:"PEM file with the certificate and its chain. Empty: no TLS."`
	KeyFile  string `yaml:"key_file" path:"true" default:"" doc:"PEM file with the private key."`
}

// Push is the apps.
type Push struct {
	Apps      []PushApp `yaml:"apps" doc:"One entry for each app and environment."`
	LinkHosts []string  `yaml:"link_hosts" default:"" doc:"Hosts to which links may lead that a sealed page offers to open: wiki.example.com, or *.example.com for all below one. Other links stay in the incident and are not sent."`
}

// PushApp is one app at Apple or Google, or the web app in browsers.
type PushApp struct {
	ID          string `yaml:"id" doc:"Name by which phones register for the app, such as oncall. The same id may stand once for each platform and environment."`
	Platform    string `yaml:"platform" enum:"ios,android,web" doc:"Which service reaches the phones: ios is APNs, android is FCM, web is the push service of each browser."`
	Environment string `yaml:"environment" enum:"production,sandbox" default:"production" doc:"APNs only: sandbox for apps installed by Xcode, production for TestFlight and the App Store."`

	Bundle   string `yaml:"bundle" doc:"APNs: the bundle identifier of the app, com.example.oncall."`
	TeamID   string `yaml:"team_id" doc:"APNs: the ten characters of the developer team."`
	KeyID    string `yaml:"key_id" doc:"APNs: the ten characters that name the key."`
	KeyFile  string `yaml:"key_file" path:"true" doc:"APNs: the .p8 file as downloaded from Apple. Keep it readable for tocsin alone."`
	Critical bool   `yaml:"critical_alerts" doc:"APNs: Apple has granted the app the critical alerts entitlement. Critical sounds are sent only then."`

	Project            string `yaml:"project" doc:"FCM: the project id. Empty: the one in the service account file."`
	ServiceAccountFile string `yaml:"service_account_file" path:"true" doc:"FCM: the JSON key of a service account that may send messages."`

	VAPIDKeyFile string   `yaml:"vapid_key_file" path:"true" doc:"Web: the key pair that push services know this installation by, made once with tocsin vapid. Keep it for good and back it up: with another one, every browser has to subscribe anew. Keep it readable for tocsin alone."`
	Subject      string   `yaml:"vapid_subject" doc:"Web: whom a push service writes to when something is wrong: mailto:oncall@example.com or an https URL. Apple refuses every push whose subject is no name of the Internet."`
	AppURL       string   `yaml:"app_url" doc:"Web: https URL of the web app, where a tap on a notification leads. Empty: public_url and /app/."`
	AllowedHosts []string `yaml:"allowed_hosts" doc:"Web: push services besides those of Chrome, Edge, Firefox and Safari, such as push.example.com or *.example.com. Subscriptions at any other host are refused."`

	TestEndpoint string `yaml:"test_endpoint" doc:"https URL on a loopback address of a simulator that stands in for Apple, Google or the browsers' services. Refused for any other address."`
	TestCAFile   string `yaml:"test_ca_file" path:"true" doc:"PEM file of the authority that signed the simulator's certificate. Needed with test_endpoint."`

	MaxInFlight int     `yaml:"max_in_flight" default:"0" doc:"Pushes under way at a time. 0: the library's own cap."`
	PerSecond   float64 `yaml:"per_second" default:"0" doc:"Pushes per second, for projects with a quota. 0: no limit."`
}

// SMTP is the mail server.
type SMTP struct {
	Host         string `yaml:"host" default:"" doc:"Name of the mail server. Empty: no e-mail."`
	Port         int    `yaml:"port" default:"0" doc:"0: 587 with starttls, 465 with tls, 25 with none."`
	Security     string `yaml:"security" enum:"starttls,tls,none" default:"starttls" doc:"starttls is required, not tried. none is for a relay on this machine."`
	Username     string `yaml:"username" default:"" doc:"Empty: no authentication."`
	Password     string `yaml:"password" secret:"true" default:"" doc:"Better given as TOCSIN_SMTP_PASSWORD or in password_file."`
	PasswordFile string `yaml:"password_file" path:"true" default:"" doc:"File whose first line is the password."`
	From         string `yaml:"from" default:"" doc:"Sender, with or without a name: Tocsin <oncall@example.com>."`
	Hello        string `yaml:"hello" default:"" doc:"Name in HELO. Empty: this machine's."`
	CAFile       string `yaml:"ca_file" path:"true" default:"" doc:"PEM file of the authority that signed the server's certificate. Empty: the system's."`
}

// Webhooks limits where outgoing webhooks go.
type Webhooks struct {
	Allow []string `yaml:"allow" default:"" doc:"Addresses inside the house that may be called all the same, as prefixes: 10.1.2.0/24, or single addresses. Private, loopback and link-local addresses are refused otherwise, whatever name leads to them."`
	Plain bool     `yaml:"allow_http" default:"false" doc:"Take http:// as well as https:// for addresses in allow."`
}

// DeadMan is the outgoing sign of life.
type DeadMan struct {
	URL      string        `yaml:"url" secret:"true" default:"" doc:"Called with GET while this process is ready, such as a check at a service that alarms when the calls stop. Empty: no calls."`
	Interval time.Duration `yaml:"interval" default:"1m" min:"10s" max:"1h" doc:"Time between calls. Let the other side alarm after three."`
}

// OutOfBand is the last resort.
type OutOfBand struct {
	After time.Duration `yaml:"after" default:"1m" doc:"When Redis has been out for so long, every administrator's phones get a push directly, from the encrypted copy of the directory, once per outage. 0s: never."`
}

// Retention is the life of closed incidents.
type Retention struct {
	ArchiveAfter time.Duration `yaml:"archive_after" default:"1h" min:"1m" max:"30d" doc:"A closed incident is packed into one record of about 600 bytes when it has been closed for so long. Nothing is lost: reading, re-opening and late receipts work on it as before."`
	KeepClosed   time.Duration `yaml:"keep_closed" default:"400d" min:"1d" max:"3650d" doc:"A closed incident is removed after so long. Export it before, with tocsin incidents export."`
}

// Upgrade is the time between two versions.
type Upgrade struct {
	WayBack time.Duration `yaml:"way_back" default:"10m" min:"0s" max:"30d" doc:"After the last instance of an older version was seen, everything is still written so that it could read it, for so long: until then the old version can be started again. Afterwards it is refused. 0s: there is no way back. The same at every instance."`
}

// Log is the log.
type Log struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" default:"info" doc:"Least level that is written. A page that went well is debug."`
	Format string `yaml:"format" enum:"auto,text,json" default:"auto" doc:"auto: text in a terminal, json otherwise."`
}

// Tracing is the export of traces.
type Tracing struct {
	Endpoint string  `yaml:"otlp_endpoint" default:"" doc:"OTLP gRPC collector: http://host:4317 without TLS, https://host:4317 with it. Empty: off."`
	Ratio    float64 `yaml:"ratio" default:"1" doc:"Share of new traces that are recorded, from 0 to 1. A caller's own decision wins."`
}

// Shutdown is the end of the process.
type Shutdown struct {
	Drain time.Duration `yaml:"drain" default:"20s" min:"1s" max:"10m" doc:"After SIGTERM, requests and sends under way may take so long to end; then the process goes all the same. Nothing accepted is lost either way."`
}

// WebAppURL returns where taps on the notifications of a web app lead.
func (c Config) WebAppURL(a PushApp) string {
	if a.AppURL != "" {
		return a.AppURL
	}
	return c.URL() + "/app/"
}

// PushApps returns the apps, each web app with where its taps lead.
func (c Config) PushApps() []PushApp {
	all := slices.Clone(c.Push.Apps)
	for i, a := range all {
		if a.Platform == "web" {
			all[i].AppURL = c.WebAppURL(a)
		}
	}
	return all
}

// LogValue shows that there is a configuration and nothing of it: secrets are in it.
func (c Config) LogValue() slog.Value { return slog.StringValue("configuration") }

// Private reports whether a private Redis is run.
func (c Config) Private() bool { return c.Redis.URL == "" }

// URL returns PublicURL without a final slash, or what the listen address makes of it.
func (c Config) URL() string {
	if c.PublicURL != "" {
		return strings.TrimRight(c.PublicURL, "/")
	}
	scheme := "http://"
	if c.TLS.CertFile != "" {
		scheme = "https://"
	}
	host, port, ok := splitAddress(c.Listen)
	if !ok {
		return scheme + c.Listen
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	return scheme + joinAddress(host, port)
}
