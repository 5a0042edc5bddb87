package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // it went wrong, or doctor found something that will
	exitUsage = 2 // the command line or the configuration has to change first; drift has 3 for what it found
)

// session is what one run of the program has to do with the world.
type session struct {
	args     []string
	env      []string
	out, err io.Writer
	now      func() time.Time
	zone     *time.Location // in which times are shown
	terminal bool           // whether out is one
	build    build
}

// grammar is the command line. Commands are methods Run of its members.
type grammar struct {
	Config  string   `group:"settings" short:"c" placeholder:"FILE" help:"Configuration file. Default: $$TOCSIN_CONFIG, ./tocsin.yaml or /etc/tocsin/tocsin.yaml."`
	DataDir string   `group:"settings" placeholder:"DIR" help:"Data directory of the server on this machine. Default: data."`
	Set     []string `group:"settings" placeholder:"KEY=VALUE" sep:"none" help:"Set any key of the configuration; may be repeated."`

	Serve    serveCmd    `cmd:"" group:"run" help:"Run the server."`
	Demo     demoCmd     `cmd:"" group:"run" help:"Watch an alert become a push and be acknowledged, all on this machine."`
	Doctor   doctorCmd   `cmd:"" group:"run" help:"Check settings, clock, credentials and gateways; print cause and cure."`
	Simulate simulateCmd `cmd:"" group:"run" help:"Stand in for Apple, Google or a browser, with phones behind it."`
	Version  versionCmd  `cmd:"" group:"run" help:"Print the version."`

	Apply  applyCmd  `cmd:"" group:"configure" help:"Bring people, teams, schedules, services and policies to what a folder of YAML files says."`
	Plan   planCmd   `cmd:"" group:"configure" help:"Say what applying a folder would change, and who would be paged differently."`
	DryRun dryRunCmd `cmd:"" group:"configure" help:"Tell what an event would lead to: who is paged, on which devices, when; nothing is sent."`
	Drift  driftCmd  `cmd:"" group:"configure" help:"Say how the server differs from a folder; exit code 3 when it does."`
	Export exportCmd `cmd:"" group:"configure" help:"Print people, teams, schedules, services and policies as that YAML."`
	Import importCmd `cmd:"" group:"configure" help:"Make that YAML of what another on-call system has, and compare who is on call."`
	Token  tokenCmd  `cmd:"" group:"configure" help:"API tokens."`
	Vapid  vapidCmd  `cmd:"" group:"configure" help:"Make the key pair by which the push services of browsers know this installation, once."`
	Enrol  enrolCmd  `cmd:"" group:"configure" help:"Make a one-time link and QR code that binds a phone to a person."`

	Page      pageCmd      `cmd:"" group:"respond" help:"Page people by hand."`
	Incidents incidentsCmd `cmd:"" group:"respond" help:"List, show, acknowledge, resolve and watch incidents."`
	Oncall    oncallCmd    `cmd:"" group:"respond" help:"Say who is on call and why, take over, look ahead."`

	Readiness readinessCmd `cmd:"" group:"respond" help:"Say who of those on call could be woken now, and what to mend."`
	Drill     drillCmd     `cmd:"" group:"respond" help:"Fire drills: begin, list, show, cancel."`
	Calendar  calendarCmd  `cmd:"" group:"respond" help:"Shifts in calendar programs, and vacations out of them."`

	Status statusCmd `cmd:"" group:"operate" help:"Say how the installation is: what is late, stuck, or cannot be woken."`
	Dlq    dlqCmd    `cmd:"" group:"operate" help:"Work that was given up after repeated failures."`
	Hold   holdCmd   `cmd:"" group:"operate" help:"Stop all paging, everywhere, until resume."`
	Resume resumeCmd `cmd:"" group:"operate" help:"Let paging go on, and page what is still triggered."`
	Backup backupCmd `cmd:"" group:"operate" help:"Copy what the private Redis holds while it runs, and try the copy."`

	DemoServe demoServeCmd `cmd:"" group:"run" hidden:""`
	DemoGuard demoGuardCmd `cmd:"" group:"run" hidden:""`
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run parses the command line, carries out the command and returns the exit code.
func run(ctx context.Context, s *session) int {
	err := s.dispatch(ctx)
	var done exited
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &done):
		return int(done)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitOK // Ctrl-C is how one leaves a watch
	}
	fmt.Fprintf(s.err, "tocsin: %s\n", explain(err))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		return exitUsage
	}
	return exitError
}

// exited is how kong ends the program after it printed help.
type exited int

func (e exited) Error() string { return "exit" }

func (s *session) dispatch(ctx context.Context) (err error) {
	var g grammar
	defer func() { // kong's Exit must not return
		if r := recover(); r != nil {
			code, ok := r.(exited)
			if !ok {
				panic(r) //nolint:forbidigo // not ours: pass it on
			}
			err = code
		}
	}()
	parser, err := kong.New(&g,
		kong.Name("tocsin"),
		kong.Description("Pages people until somebody answers. Run the server with tocsin serve; the other commands talk to one: to --server with --token, or without them to the server on this machine."),
		kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { panic(exited(code)) }), //nolint:forbidigo // caught above
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 110, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "run", Title: "Running it:"},
			{Key: "configure", Title: "Setting up people and services:"},
			{Key: "respond", Title: "Responding:"},
			{Key: "operate", Title: "At three in the morning:"},
			{Key: "server", Title: "Which server:"},
			{Key: "settings", Title: "Configuration:"},
		}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s, &g),
	)
	if err != nil {
		return err
	}
	args := s.args
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		if parse, ok := errors.AsType[*kong.ParseError](err); ok {
			return usageError{fmt.Errorf("%w; see tocsin %s", err, helpFor(parse.Context))}
		}
		return err
	}
	return command.Run()
}

// helpFor names the command whose help explains the mistake.
func helpFor(c *kong.Context) string {
	var words []string
	for _, p := range c.Path {
		if p.Command != nil {
			words = append(words, p.Command.Name)
		}
	}
	return strings.Join(append(words, "--help"), " ")
}

// load reads the configuration as the server on this machine would.
func (g *grammar) load(s *session, more ...config.Setting) (config.Config, string, error) {
	var settings []config.Setting
	for _, kv := range g.Set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return config.Config{}, "", usageError{fmt.Errorf("--set %s: write KEY=VALUE", kv)}
		}
		settings = append(settings, config.Setting{Flag: "--set", Key: key, Value: value})
	}
	if g.DataDir != "" {
		settings = append(settings, config.Setting{Flag: "--data-dir", Key: "data_dir", Value: g.DataDir})
	}
	return config.Load(config.Sources{File: g.Config, Env: s.env, Flags: append(settings, more...)})
}

func (s *session) getenv(name string) string {
	for _, kv := range s.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}
