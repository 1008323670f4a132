package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// lockIn makes dir and takes the lock on the file of that name in it. A keeper
// that ends removes both, so what was locked may be a file that has no name
// any more; it then begins again.
func lockIn(dir, name string, how int) (*os.File, error) {
	for {
		if err := makeDir(dir); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := flock(f, how); err != nil {
			f.Close()
			return nil, err
		}
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if named, err := os.Stat(f.Name()); err == nil && os.SameFile(mine, named) {
			return f, nil
		}
		unlock(f)
	}
}

// makeDir makes the folder, which the server's user must be able to pass
// through. The name is one that anyone could have taken before us.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return os.Chmod(dir, 0o711)
	}
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile; the caller tries again
	}
	if err != nil {
		return err
	}
	if st := fi.Sys().(*syscall.Stat_t); !fi.IsDir() || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to someone else: set TMPDIR to a folder of your own", dir)
	}
	return nil
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// unlock does not leave the unlocking to Close: a child that is being started
// just now may hold a copy of the file until it runs its program.
func unlock(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // cannot fail on an open file
	f.Close()
}
