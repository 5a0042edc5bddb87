package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const stopPatience = 25 * time.Second // above the server's own drain

// process is a child that writes its log into a file: a pipe would break, and
// kill the child in its own way, when the demo is killed.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
	err  error         // of Wait; read after gone
}

// launch starts a child in a process group of its own: a Ctrl-C in the
// terminal is for the demo, which then ends its children in order.
func launch(ctx context.Context, g *guard, name, log, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = out.Close() }() // the child has its own
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, log: log, cmd: cmd, gone: make(chan struct{})}
	g.started(p.pid())
	go func() { // ends with the child; stop and kill wait for it
		p.err = cmd.Wait()
		g.ended(p.pid())
		close(p.gone)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// alive reports whether the child runs.
func (p *process) alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// kill ends the child as a crash would, and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// stop asks the child to end, and returns when it has; one that does not is killed.
func (p *process) stop() error {
	if !p.alive() {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
		if p.err != nil {
			return fmt.Errorf("%s ended with %w; its log says: %s", p.name, p.err, p.tail(3))
		}
		return nil
	case <-time.After(stopPatience):
		p.kill()
		return fmt.Errorf("%s did not end within %s and was killed; its log says: %s", p.name, stopPatience, p.tail(3))
	}
}

// tail is the end of the child's log, in one line.
func (p *process) tail(lines int) string {
	all := lastLines(p.log, lines)
	if len(all) == 0 {
		return "(nothing)"
	}
	return strings.Join(all, " / ")
}

// lastLines reads the end of a file; none when there is no such file.
func lastLines(path string, n int) []string {
	const most = 16 << 10
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	buf := make([]byte, min(info.Size(), most))
	if _, err := f.ReadAt(buf, info.Size()-int64(len(buf))); err != nil {
		return nil
	}
	buf = bytes.TrimSpace(buf)
	if len(buf) == 0 {
		return nil
	}
	all := strings.Split(string(buf), "\n")
	return all[max(0, len(all)-n):]
}

// poll asks until ok, the process has ended or ctx has. The last error of ok
// says why it was not.
func (p *process) poll(ctx context.Context, ok func(context.Context) error) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.gone:
			return fmt.Errorf("%s ended while starting; its log says: %s", p.name, p.tail(3))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s is not up: %w; its log says: %s", p.name, context.Cause(ctx), p.tail(3)), err)
		}
	}
}
