package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stage is one attempt to end a server.
type stage struct {
	signal syscall.Signal
	wait   time.Duration
}

var (
	// endNow leaves recovery to the next start.
	endNow = []stage{{syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}}
	// endOrphan begins with a fast shutdown, which writes everything.
	endOrphan = append([]stage{{syscall.SIGINT, 15 * time.Second}}, endNow...)
)

// process is one that runs now, with its arguments joined by spaces.
type process struct {
	pid     int
	command string
}

// serverProcesses finds the processes of the cluster: the first by its -D, the
// rest by the cluster's name in their titles. A process number in a file says
// nothing, because numbers are used again.
func serverProcesses(p place) (first, rest []int, err error) {
	all, err := processes()
	if err != nil {
		return nil, nil, fmt.Errorf("list processes: %w", err)
	}
	for _, q := range all {
		switch {
		case strings.HasPrefix(q.command, "postgres: "+p.id()+": "):
			rest = append(rest, q.pid)
		case strings.Contains(q.command+" ", "postgres -D "+p.data+" "):
			first = append(first, q.pid)
		}
	}
	return first, rest, nil
}

// stopOrphan ends the server of this cluster that a dead process of ours left
// behind. The caller holds the cluster's lock, so no living one has it. It
// touches no other server.
func stopOrphan(ctx context.Context, p place, log *slog.Logger) error {
	first, rest, err := serverProcesses(p)
	if err != nil {
		return err
	}
	if len(first)+len(rest) > 0 {
		log.Warn("stopping the Postgres that an earlier run left behind", "pids", slices.Concat(first, rest))
	}
	if err := endProcesses(ctx, p, endOrphan); err != nil {
		return err
	}
	return removeStalePid(p)
}

// endProcesses goes through the stages until no process of the cluster is left.
func endProcesses(ctx context.Context, p place, stages []stage) error {
	first, rest, err := serverProcesses(p)
	if err != nil {
		return err
	}
	for _, s := range stages {
		to := first
		if len(first) == 0 || s.signal == syscall.SIGKILL {
			to = slices.Concat(first, rest) // no one is left to tell the rest
		}
		for _, pid := range to {
			if err := syscall.Kill(pid, s.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end Postgres, process %d: %w", pid, err)
			}
		}
		if first, rest, err = waitGone(ctx, p, s.wait); err != nil {
			return err
		}
		if len(first)+len(rest) == 0 {
			return nil
		}
	}
	return fmt.Errorf("the Postgres at %s does not end: processes %v", p.data, slices.Concat(first, rest))
}

// waitGone waits until the cluster has no process, at most for limit, and
// returns those that are left.
func waitGone(ctx context.Context, p place, limit time.Duration) (first, rest []int, err error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		first, rest, err = serverProcesses(p)
		if err != nil || len(first)+len(rest) == 0 {
			return first, rest, err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return first, rest, nil
		case <-ctx.Done():
			return first, rest, ctx.Err()
		}
	}
}

// removeStalePid removes a postmaster.pid that names a process which is not
// the server: a number that the system has given to another process would keep
// Postgres from starting. Without processes of the cluster, nothing can be
// attached to its shared memory, which is what the file guards.
func removeStalePid(p place) error {
	path := filepath.Join(p.data, "postmaster.pid")
	pid, _, err := readPidFile(p)
	if err != nil || pid == 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return err // if the process is gone, Postgres sees that by itself
	}
	all, err := processes()
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for _, q := range all {
		if q.pid == pid && strings.Contains(q.command, "postgres") {
			return fmt.Errorf("process %d (%s) may be serving %s: stop it, or remove %s if it is not", pid, q.command, p.data, path)
		}
	}
	return os.Remove(path)
}

// readPidFile returns the process that postmaster.pid names, or 0 if there is
// no such file, and the state on the file's eighth line, which is "ready" once
// the server accepts connections (see pg_ctl.c and pidfile.h in PostgreSQL).
func readPidFile(p place) (pid int, state string, err error) {
	b, err := os.ReadFile(filepath.Join(p.data, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	lines := strings.Split(string(b), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil {
		return 0, "", nil // it is being written
	}
	if len(lines) >= 8 {
		state = strings.TrimSpace(lines[7])
	}
	return pid, state, nil
}
