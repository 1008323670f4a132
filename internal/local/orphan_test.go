package local

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestPidFileOfSomethingElseDoesNotStopAStart(t *testing.T) {
	t.Parallel()
	p := place{data: t.TempDir()}
	file := filepath.Join(p.data, "postmaster.pid")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeStalePid(p); err != nil {
		t.Errorf("no file: %v", err)
	}
	// The number now belongs to another program: this test.
	write(strconv.Itoa(os.Getpid()) + "\n" + p.data + "\n")
	if err := stopOrphan(t.Context(), p, discard); err != nil {
		t.Errorf("reused number: %v", err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file that would stop Postgres is still there: %v", err)
	}
}

func TestServerStartedByHandIsLeftAlone(t *testing.T) {
	t.Parallel()
	// A program that calls itself postgres and does not have our folder in its
	// arguments, as one started with PGDATA set.
	dir := t.TempDir()
	script := filepath.Join(dir, "postgres")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho up\nread line\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := own(t).command(t.Context(), dir, script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	p := place{data: t.TempDir()}
	file := filepath.Join(p.data, "postmaster.pid")
	if err := os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = stopOrphan(t.Context(), p, discard)
	if err == nil || !strings.Contains(err.Error(), "stop it") {
		t.Errorf("stopOrphan = %v, want a sentence that says to stop it", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program was disturbed: %v", err)
	}
}
