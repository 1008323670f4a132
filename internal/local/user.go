package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// account is the user that the server runs as.
type account struct {
	name     string
	uid, gid uint32
	groups   []uint32
	switched bool // it is not the user that this process runs as
}

// serverAccount chooses who runs a server whose data is, or will be, at data.
// Postgres refuses to run as root, so root borrows the owner of existing data,
// else the user postgres, else nobody.
func serverAccount(data string) (account, error) {
	if os.Geteuid() != 0 {
		return ownAccount(data)
	}
	if fi, err := os.Stat(data); err == nil {
		if uid := fileOwner(fi).Uid; uid != 0 {
			u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
			if err != nil {
				return account{}, fmt.Errorf("%s belongs to user id %d, who has no entry in /etc/passwd: add one with useradd", data, uid)
			}
			return accountOf(u)
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil && u.Uid != "0" {
			return accountOf(u)
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root and this machine has neither a user postgres nor a user nobody: run `useradd --system postgres`")
}

func ownAccount(data string) (account, error) {
	uid := uint32(os.Geteuid())
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return account{}, fmt.Errorf("user id %d has no entry in /etc/passwd, which PostgreSQL needs: add one, or set --database-url", uid)
	}
	if fi, err := os.Stat(data); err == nil && fileOwner(fi).Uid != uid {
		return account{}, fmt.Errorf("%s belongs to user id %d: start as the user who made it, or choose another folder with --data", data, fileOwner(fi).Uid)
	}
	return account{name: u.Username, uid: uid, gid: uint32(os.Getegid())}, nil
}

func accountOf(u *user.User) (account, error) {
	a := account{name: u.Username, switched: true}
	ids, err := u.GroupIds()
	if err != nil {
		return a, fmt.Errorf("groups of user %s: %w", u.Username, err)
	}
	for _, s := range ids {
		id, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return a, fmt.Errorf("groups of user %s: %w", u.Username, err)
		}
		a.groups = append(a.groups, uint32(id))
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return a, fmt.Errorf("id of user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	a.uid, a.gid = uint32(uid), uint32(gid)
	return a, err
}

// command prepares a program to run as a in dir, with nothing of our
// environment, where PG* variables would change what it does, and in a process
// group of its own, so that Ctrl-C in a terminal reaches us alone and we drain
// before the server goes.
func (a account) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.switched {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
	}
	return cmd
}

// own gives path to a alone.
func (a account) own(path string) error {
	if a.switched {
		if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
			return err
		}
	}
	return os.Chmod(path, 0o700)
}

// blockedAt returns the first folder on the way to path that a may not pass
// through, or "" if there is none. Folders that do not exist do not block.
func (a account) blockedAt(path string) (string, error) {
	path, err := resolve(path)
	if err != nil {
		return "", err
	}
	blocked := ""
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		fi, err := os.Stat(dir)
		if err == nil && !a.mayPass(fi) {
			blocked = dir
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return blocked, nil
		}
	}
}

// mayPass applies the permission bits as the kernel does: the first class that
// fits decides, even if a later one would allow more.
func (a account) mayPass(dir fs.FileInfo) bool {
	st, mode := fileOwner(dir), dir.Mode()
	switch {
	case st.Uid == a.uid:
		return mode&0o100 != 0
	case st.Gid == a.gid || slices.Contains(a.groups, st.Gid):
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// resolve makes path absolute and follows the links in the part of it that
// exists.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		found, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(found, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return "", err
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

func fileOwner(fi fs.FileInfo) *syscall.Stat_t { return fi.Sys().(*syscall.Stat_t) }
