package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/doctorsflow/doctorsflow/internal/local"
)

// keeperEnv makes a test program the keeper of the server in the folder it
// names, instead of running its tests.
const keeperEnv = "DOCTORSFLOW_TEST_KEEPER"

// idleEnv is how long the server stays without a user. The test programs of
// one `go test` run follow each other faster than the default.
const (
	idleEnv     = "DOCTORSFLOW_TEST_KEEPER_IDLE"
	defaultIdle = 20 * time.Second
)

func init() {
	dir := os.Getenv(keeperEnv)
	if dir == "" {
		return
	}
	idle, err := time.ParseDuration(os.Getenv(idleEnv))
	if err != nil {
		idle = defaultIdle
	}
	if err := keep(dir, idle); err != nil {
		_ = publish(dir, "failed", err.Error()) // without it the waiting program says less
		os.Exit(1)
	}
	os.Exit(0)
}

// keep has the server until no one has used it for idle, and then removes all
// traces of it.
func keep(dir string, idle time.Duration) error {
	f, err := lockIn(dir, "keeper", syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return fmt.Errorf("another keeper is there: %w", err)
	}
	defer unlock(f)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGHUP)
	users, err := serve(ctx, dir, idle)
	if err = errors.Join(err, removeData(dir)); err != nil || users == nil {
		return err
	}
	// Whoever waits for "users" begins anew when its name is gone, so it is
	// the last to go.
	for _, name := range []string{"failed", "start", "keeper", "users"} {
		os.Remove(filepath.Join(dir, name))
	}
	os.Remove(dir)
	unlock(users)
	return nil
}

// serve runs the server until it is idle, and then returns the exclusive lock
// on "users"; until ctx is done, which is no error; or until it is lost.
func serve(ctx context.Context, dir string, idle time.Duration) (users *os.File, err error) {
	data, err := dataDir(dir)
	if err != nil {
		return nil, err
	}
	p, err := local.StartPostgres(ctx, local.PostgresConfig{
		Dir: data, Bin: os.Getenv(binEnv), FetchOnly: os.Getenv(fetchEnv) != "",
		Settings: map[string]string{
			"max_connections": "400",
			"max_wal_size":    "256MB", // it may be memory
			// It would hold up the copying of templates, and tests are short.
			"autovacuum": "off",
		},
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		os.Remove(filepath.Join(dir, "ready"))
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = errors.Join(err, p.Stop(ctx))
	}()
	if err := p.Bootstrap(ctx, "scratch", roles); err != nil {
		return nil, err
	}
	if err := publish(dir, "ready", p.SuperURL()); err != nil {
		return nil, err
	}
	return waitIdle(ctx, dir, idle, p.Wait())
}

// memory is a file system without a disk, where most Linux machines have one.
// A database is some 400 small files, and copies there take a fifth of the time.
const memory = "/dev/shm"

// enough is the free space, in bytes, that memory must have.
const enough = 2 << 30

// dataDir makes a new folder for the server, and remembers it in dir for the
// next keeper, should this one be killed.
func dataDir(dir string) (string, error) {
	if err := removeData(dir); err != nil {
		return "", err
	}
	parent := dir
	var st unix.Statfs_t
	if err := unix.Statfs(memory, &st); err == nil && st.Bavail*uint64(st.Bsize) >= enough {
		parent = memory
	}
	data, err := os.MkdirTemp(parent, "doctorsflow-test-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(data, 0o711); err != nil { // the server's user passes through
		return "", err
	}
	return data, publish(dir, "data", data)
}

// removeData removes what was not written durably anyway, and stops the server
// on it if there is one.
func removeData(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "data"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := local.Remove(strings.TrimSpace(string(b))); err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, "data"))
}

// publish puts a line where waitReady looks, whole or not at all.
func publish(dir, name, line string) error {
	tmp := filepath.Join(dir, name+".tmp")
	if err := os.WriteFile(tmp, []byte(line+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, name))
}

// waitIdle returns the lock that serve does.
func waitIdle(ctx context.Context, dir string, idle time.Duration, lost <-chan error) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "users"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(idle / 20)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case err := <-lost:
			return nil, err
		case <-ctx.Done():
			return nil, nil
		case <-tick.C:
		}
		if flock(f, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			last = time.Now()
			continue
		}
		if time.Since(last) >= idle {
			return f, nil
		}
		if err := flock(f, syscall.LOCK_UN); err != nil {
			return nil, err
		}
	}
}
