package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// The bench's children are this program again. Each ends when its standard
// input does, so that none outlives the bench however that ends.

type benchWorkerCommand struct {
	serveFlags
	CPUProfile string `name:"cpuprofile" type:"path"`
	MemProfile string `name:"memprofile" type:"path"`
}

// Run is `doctorsflow serve`, profiled if asked for.
func (c *benchWorkerCommand) Run(ctx context.Context, o output) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	ctx, stop := whileParent(ctx)
	defer stop()
	if c.CPUProfile != "" {
		f, err := os.Create(c.CPUProfile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = f.Close() // a profile that is not whole says so when it is read
		}()
	}
	if c.MemProfile != "" {
		defer func() { err = errors.Join(err, writeHeap(c.MemProfile)) }()
	}
	log := telemetry.NewLogger(o.err, c.LogFormat, c.LogLevel)
	return serve(ctx, &c.serveFlags, log, func(r running) {
		_ = json.NewEncoder(o.out).Encode(r) // the bench notices when it gets no line
	})
}

func writeHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

type benchGatewayCommand struct {
	Latency time.Duration
}

// Run simulates both gateways, without limits.
func (c *benchGatewayCommand) Run(ctx context.Context, o output) error {
	ctx, stop := whileParent(ctx)
	defer stop()
	sim := simulator.New(simulator.Config{Seed: 1, Open: true, Latency: c.Latency, KeepRequests: -1})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	if err := json.NewEncoder(o.out).Encode(running{Simulator: "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	err = sim.Run(ctx)
	err = errors.Join(err, server.Close())
	if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// whileParent ends the context when standard input does. What is printed then
// has no reader, which must not end the process before it has stopped in order.
func whileParent(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that is wanted
		stop()
	}()
	return ctx, stop
}

// child is a process of the bench.
type child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	where running
	log   *tail
	done  chan struct{} // closed when it has ended
	err   error         // how, once done
}

// startChild starts this program with args and waits until it says where it
// can be reached.
func startChild(ctx context.Context, name string, args ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: name, cmd: exec.Command(exe, append([]string{"bench"}, args...)...), log: new(tail), done: make(chan struct{})}
	c.cmd.Env = childEnv()
	c.cmd.Stderr = c.log
	// Ctrl-C in a terminal reaches the bench alone, which ends them in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		ready <- lines.Scan() && json.Unmarshal(lines.Bytes(), &c.where) == nil
		_, _ = io.Copy(io.Discard, stdout)
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	select {
	case ok := <-ready:
		if ok {
			return c, nil
		}
		<-c.done
		return nil, fmt.Errorf("the bench's %s did not start: %w\n%s", name, c.err, c.log)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), c.stop())
	}
}

// stop ends the child in order, and by force after two minutes.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	defer c.stdin.Close()
	select {
	case <-c.done:
	case <-time.After(2 * time.Minute):
		_ = c.cmd.Process.Kill() // it may have ended just now
		<-c.done
	}
	if c.err != nil {
		return fmt.Errorf("the bench's %s ended with %w\n%s", c.name, c.err, c.log)
	}
	return nil
}

// childEnv leaves out every setting that would make a child another one than
// the bench asked for.
func childEnv() []string {
	keep := []string{"PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LANG", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG", "GOCOVERDIR"}
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(keep, name)
	})
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailSize {
		t.b = append([]byte(nil), t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }
