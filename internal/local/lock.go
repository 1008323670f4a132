package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked means that another process uses the data folder. The error that
// wraps it names the folder and the process.
var ErrLocked = errors.New("local: the data folder is in use")

// DirLock is the exclusive use of a data folder. The kernel ends it with the
// process, however that dies.
type DirLock struct{ f *os.File }

// Lock takes the data folder dir, which it creates if need be, and keeps
// "lock" in it, with the id of this process. It does not wait: the error wraps
// [ErrLocked] if another process, or another Lock in this one, has it.
func Lock(dir string) (*DirLock, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("local: data folder: %w", err)
	}
	return lockFile(filepath.Join(dir, "lock"))
}

// Release gives the folder back; further calls do nothing.
func (l *DirLock) Release() error {
	if err := unlock(l.f); err != nil {
		return fmt.Errorf("local: unlock: %w", err)
	}
	return nil
}

// unlock does not leave the unlocking to Close: a child that is being started
// just now may hold a copy of the file until it runs its program.
func unlock(f *os.File) error {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // fails only if it is closed
	if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// lockFile takes the lock on the file at path, which it makes if need be.
// Whoever has the lock may remove the file, so what was locked may have no name
// any more; it then begins again.
func lockFile(path string) (*DirLock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("local: lock: %w", err)
		}
		l, err := lockOpen(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("local: lock: %w", err)
		}
		if named, err := os.Stat(path); err == nil && os.SameFile(mine, named) {
			return l, nil
		}
		if err := l.Release(); err != nil {
			return nil, err
		}
	}
}

func lockOpen(f *os.File) (*DirLock, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		b, _ := io.ReadAll(io.LimitReader(f, 32)) // only to name the holder
		return nil, fmt.Errorf("%w by process %s (%s); stop it, or choose another folder with --data",
			ErrLocked, strings.TrimSpace(string(b)), filepath.Dir(f.Name()))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, fmt.Errorf("local: lock %s: %w", f.Name(), err)
	}
	return &DirLock{f}, nil
}

// makeDir makes a data folder. A child that runs as another user must be able
// to pass through root's, so that one is searchable; the files in it are not
// readable.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		return os.Chmod(dir, 0o711)
	}
	return nil
}

// writeFile puts b at path, for the owner alone, whole or not at all.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in dir survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
