package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Settings of a test run, besides which there is nothing to set.
const (
	// binEnv names the programs, as --postgres-bin does.
	binEnv = "DOCTORSFLOW_POSTGRES_BIN"
	// fetchEnv, if set, makes the machine's own PostgreSQL invisible.
	fetchEnv = "DOCTORSFLOW_TEST_FETCH_POSTGRES"
)

// startLimit bounds the first start, which may have to fetch PostgreSQL.
const startLimit = 5 * time.Minute

// shared finds or starts the server, once in a test program, and holds it for
// the program's life.
var shared = sync.OnceValues(func() (server, error) {
	s, err := join(stateDir())
	if err != nil {
		return s, fmt.Errorf("storetest: shared Postgres: %w", err)
	}
	return s, nil
})

// held keeps the lock on "users" until the program ends.
var held []*os.File

// stateDir is where the test programs of one user and one source tree meet.
func stateDir() string {
	_, source, _, _ := runtime.Caller(0)
	sum := sha256.Sum256([]byte(source + "\x00" + os.Getenv(binEnv) + "\x00" + os.Getenv(fetchEnv)))
	return filepath.Join(os.TempDir(), "doctorsflow-test-"+strconv.Itoa(os.Geteuid())+"-"+hex.EncodeToString(sum[:5]))
}

// join makes this program a user of the server in dir, which it starts if no
// one has.
//
//	users       held shared by every test program, exclusively by a keeper that ends
//	start       held exclusively while a test program looks for a server or starts one
//	keeper      held exclusively by the keeper, the process that has the server
//	ready       the server's URL; failed: why there is none
func join(dir string) (server, error) {
	users, err := lockIn(dir, "users", syscall.LOCK_SH)
	if err != nil {
		return server{}, err
	}
	held = append(held, users)
	start, err := lockIn(dir, "start", syscall.LOCK_EX)
	if err != nil {
		return server{}, err
	}
	defer unlock(start)
	alive, err := keeperAlive(dir)
	if err != nil {
		return server{}, err
	}
	pid := 0
	if !alive {
		if pid, err = startKeeper(dir); err != nil {
			return server{}, err
		}
	}
	return waitReady(dir, pid)
}

// startKeeper starts this very program as the keeper; see init.
func startKeeper(dir string) (pid int, err error) {
	for _, name := range []string{"ready", "failed"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(exe)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), keeperEnv+"="+dir)
	// It outlives this program, and no one may wait for its output.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	return pid, cmd.Process.Release()
}

// waitReady returns the server once the keeper has it. If pid is not 0, the
// keeper is a child of this process, whose end is an error.
func waitReady(dir string, pid int) (server, error) {
	deadline := time.Now().Add(startLimit)
	for ; time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(dir, "ready")); err == nil {
			u, err := url.Parse(strings.TrimSpace(string(b)))
			return server{u}, err
		}
		if b, err := os.ReadFile(filepath.Join(dir, "failed")); err == nil {
			return server{}, errors.New(strings.TrimSpace(string(b)))
		}
		if pid != 0 {
			var status syscall.WaitStatus
			if got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); err == nil && got == pid {
				pid = 0
			}
			continue
		}
		if alive, err := keeperAlive(dir); err != nil || !alive {
			return server{}, errors.Join(errors.New("the process that keeps it ended"), err)
		}
	}
	return server{}, fmt.Errorf("not ready after %v", startLimit)
}

// keeperAlive reports whether a process has the keeper's lock.
func keeperAlive(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, "keeper"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	defer unlock(f)
	err = flock(f, syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
