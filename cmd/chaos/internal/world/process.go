package world

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// startPatience is how long a process may take until it answers: a busy
// machine needs seconds for what takes tenths.
const startPatience = 60 * time.Second

// pollEvery is the time between two looks at something that is to happen.
const pollEvery = 20 * time.Millisecond

// process is one run of a program.
type process struct {
	name  string
	log   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	first chan string   // the first line of standard output
	gone  chan struct{} // closed when it has ended
}

// launch starts a program that is killed when this process ends, however it does.
func launch(ctx context.Context, name, log string, env []string, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = out.Close() }() // the child has its own
	//nolint:gosec // programs of this machine
	p := &process{name: name, log: log, cmd: exec.CommandContext(context.WithoutCancel(ctx), program, args...), gone: make(chan struct{}), first: make(chan string, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the child
		lines := bufio.NewReader(stdout)
		if line, err := lines.ReadString('\n'); err == nil {
			p.first <- strings.TrimSpace(line)
		}
		_, _ = io.Copy(io.Discard, lines)
		_ = p.cmd.Wait() // how it ended is what the run is about
		close(p.gone)
	}()
	return p, nil
}

func (p *process) alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // one that has ended needs none

// kill ends the process as a crash would, and returns when it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.gone
}

// stop asks the process to end, and makes it when it does not.
func (p *process) stop(patience time.Duration) error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.gone:
		return nil
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.name, patience)
	}
}

// until asks again and again until there is no error, the process has ended or ctx has.
func (p *process) until(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.gone:
			return fmt.Errorf("%s ended before it was %s: %w; its log ends: %s", p.name, what, errEnded, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not %s: %w; its log ends: %s", p.name, what, errors.Join(context.Cause(ctx), err), p.tail())
		case <-tick.C:
		}
	}
}

var errEnded = errors.New("the process has ended")

// tail is the end of the log.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " / ")
}
