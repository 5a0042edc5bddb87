package lab

import (
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

// ErrEnded is the end of a process while something was expected of it.
var ErrEnded = errors.New("the process has ended")

// Command is a program to run.
type Command struct {
	Name    string   // in messages
	Program string   // its path
	Args    []string // without the program
	Env     []string // beside that of this process
	Dir     string   // "" is this process's own
	Log     string   // file to which it writes what it has to say
}

// Process is one run of a program.
type Process struct {
	command Command
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	gone    chan struct{} // closed when it has ended
	err     error         // how; read after gone
}

// Launch starts a program, which is killed when this process ends, however it does.
func Launch(ctx context.Context, c Command) (*Process, error) {
	out, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer func() { _ = out.Close() }() // the child has its own
	p := &Process{command: c, gone: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), c.Program, c.Args...) //nolint:gosec // programs of this machine
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = c.Dir, append(os.Environ(), c.Env...), out, out
	// A group of its own: an interrupt at the terminal is this process's to handle.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go func() { // ends with the child
		p.err = p.cmd.Wait()
		close(p.gone)
	}()
	return p, nil
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Gone is closed when it has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Alive reports whether it runs.
func (p *Process) Alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// Signal sends a signal. One that has ended needs none.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Tell writes a line to its standard input. To one that has ended it makes no
// difference.
func (p *Process) Tell(line string) { _, _ = fmt.Fprintln(p.stdin, line) }

// Kill ends the process as a crash would, and returns when it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.gone
}

// Stop asks the process to end, and makes it when it does not.
func (p *Process) Stop(patience time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
		return nil
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.command.Name, patience)
	}
}

// Err is how the process has ended; nil while it runs.
func (p *Process) Err() error {
	if p.Alive() {
		return nil
	}
	return p.err
}

// Until asks every few milliseconds until there is no error, the process has
// ended (ErrEnded) or the patience has.
func (p *Process) Until(ctx context.Context, what string, every, patience time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.gone:
			return fmt.Errorf("%s ended before it was %s: %w; its log ends: %s", p.command.Name, what, ErrEnded, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not %s: %w; its log ends: %s", p.command.Name, what, errors.Join(context.Cause(ctx), err), p.tail())
		case <-tick.C:
		}
	}
}

// tail is the end of the log.
func (p *Process) tail() string {
	text, err := os.ReadFile(p.command.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " / ")
}
