// Command sandbox runs an installation that the libraries for phones are tested
// against: `tocsin serve` with its private redis-server, the push services of
// Apple, Google and browsers as simulators with their control, and between the
// phones and the server a line that can fail. It prints one line of JSON that
// says where everything is. See mobile-sdk/README.md; it runs on Linux only.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/push/pushtest/control"
)

// options are the flags of the command.
type options struct {
	Program  string `placeholder:"FILE" help:"The tocsin to run. Default: one that is built now."`
	Dir      string `placeholder:"DIR" help:"Where it keeps data and logs. Default: a directory that is removed at the end."`
	AppURL   string `name:"app-url" default:"https://app.example.com/" help:"Where the web app is: what a tap on a notification in a browser opens."`
	Attached bool   `help:"End when standard input ends: whoever started it is gone."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("sandbox"), kong.Description("Run an installation to test apps against."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if o.Attached {
		attached, detach := context.WithCancel(ctx)
		ctx = attached
		go func() { // ends with the process, at the latest
			_, _ = io.Copy(io.Discard, os.Stdin)
			detach()
		}()
	}
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

//go:embed organisation.yaml
var organisation string

// keepLog is how many pushes each simulator shows.
const keepLog = 10_000

// started is the line that is printed.
type started struct {
	Server  string `json:"server"`   // for phones: HTTP and gRPC, through the line
	Direct  string `json:"direct"`   // past the line
	Control string `json:"control"`  // of the line, the server, enrolments and alerts
	APNs    string `json:"apns"`     // control of Apple's simulator
	FCM     string `json:"fcm"`      // of Google's
	WebPush string `json:"web_push"` // of the browsers'
	App     string `json:"app"`      // bundle id and package
	Token   string `json:"token"`    // of an API call as administrator
	Log     string `json:"log"`      // file of the server
}

// run starts everything, prints where it is, and ends it when ctx ends.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "tocsin-sandbox-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	if o.Program == "" {
		if o.Program, err = build(ctx, o.Dir); err != nil {
			return err
		}
	}
	l, err := openLine(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	installation, err := lab.New(lab.Options{Program: o.Program, Dir: o.Dir, KeepLog: keepLog, PublicURL: l.URL(), AppURL: o.AppURL})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, installation.Close()) }()
	d := &desk{lab: installation, line: l}
	if err := d.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	where := started{Server: l.URL(), Direct: "http://" + d.server.Listen, App: lab.Bundle, Log: filepath.Join(o.Dir, "tocsin.log")}
	if where.Token, err = d.furnish(ctx); err != nil {
		return err
	}
	for _, s := range []struct {
		simulator control.Simulator
		url       *string
	}{{installation.Apple, &where.APNs}, {installation.Google, &where.FCM}, {installation.Browsers, &where.WebPush}} {
		c, err := control.Start("127.0.0.1:0", control.Options{Simulator: s.simulator, App: lab.Bundle})
		if err != nil {
			return err
		}
		defer c.Close()
		*s.url = c.URL()
	}
	if where.Control, err = d.listen(ctx); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(where); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// build makes the tocsin of this tree.
func build(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "tocsin")
	text, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "github.com/tocsin-oncall/tocsin/cmd/tocsin").CombinedOutput() //nolint:gosec // of this module
	if err != nil {
		return "", fmt.Errorf("build tocsin: %w\n%s", err, text)
	}
	return program, nil
}

// admin connects to the server as its administrator. The connection is lazy.
func admin(socket string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	return conn, nil
}

// furnish applies the organisation, and returns a token of its administrator.
func (d *desk) furnish(ctx context.Context) (string, error) {
	_, err := tocsinv1.NewConfigurationServiceClient(d.conn).ApplyConfiguration(ctx, &tocsinv1.ApplyConfigurationRequest{Yaml: organisation, Force: true}) // no phone is there yet
	if err != nil {
		return "", fmt.Errorf("apply the organisation: %w", err)
	}
	made, err := tocsinv1.NewTokenServiceClient(d.conn).CreateToken(ctx, &tocsinv1.CreateTokenRequest{Token: &tocsinv1.Token{DisplayName: "sandbox", User: "users/cy"}})
	if err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return made.GetSecret(), nil
}
