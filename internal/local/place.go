package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Where the server's files go when its user cannot reach the data folder. The
// first that can be made is used.
var elsewhere = []string{"/var/lib/doctorsflow", "/var/tmp/doctorsflow"}

// place is where one server's files are.
type place struct {
	folder string // the product's data folder, absolute and free of links
	data   string // the cluster; the server's alone
	moved  bool   // data is outside folder
}

// pointer is the file that remembers where the cluster of a data folder is, so
// that a later change of permissions, users or defaults cannot seem to lose it.
func (p place) pointer() string  { return filepath.Join(p.folder, "postgres.location") }
func (p place) password() string { return filepath.Join(p.folder, "postgres.password") }
func (p place) log() string      { return filepath.Join(p.folder, "postgres.log") }

// socketDir is in /tmp because a socket's path has about 100 bytes at most.
func (p place) socketDir() string { return filepath.Join("/tmp", p.id()) }

// id tells this cluster from all others on the machine, in the names of its
// socket folder and its processes.
func (p place) id() string { return "doctorsflow-" + shortHash(p.data) }

func (p place) initialized() bool {
	_, err := os.Stat(filepath.Join(p.data, "PG_VERSION"))
	return err == nil
}

// placeFor says where the cluster of the data folder is or should be, and who
// runs it. It creates the folder, and nothing in it.
func placeFor(folder string) (place, account, error) {
	if err := makeDir(folder); err != nil {
		return place{}, account{}, err
	}
	folder, err := resolve(folder)
	if err != nil {
		return place{}, account{}, err
	}
	p := place{folder: folder, data: filepath.Join(folder, "postgres")}
	remembered, err := os.ReadFile(p.pointer())
	switch {
	case err == nil:
		p.data, p.moved = strings.TrimSpace(string(remembered)), true
		if !p.initialized() {
			return p, account{}, fmt.Errorf("%s says that the database is at %s, but it is not there: put it back, or remove that file to begin with an empty one", p.pointer(), p.data)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return p, account{}, err
	}
	who, err := serverAccount(p.data)
	if err != nil {
		return p, who, err
	}
	blocked, err := who.blockedAt(p.data)
	if err != nil || blocked == "" || !who.switched {
		return p, who, err
	}
	if p.initialized() {
		return p, who, fmt.Errorf("the database is at %s, where user %s, who runs it, cannot get: run `chmod o+x %s`", p.data, who.name, blocked)
	}
	return p, who, p.moveOut(who, elsewhere)
}

// moveOut finds a place that who can reach.
func (p *place) moveOut(who account, bases []string) error {
	var tried []error
	for _, base := range bases {
		err := os.MkdirAll(base, 0o755)
		if err == nil {
			err = os.Chmod(base, 0o755) // whatever the umask took away
		}
		blocked, e := who.blockedAt(filepath.Join(base, "postgres"))
		if err = errors.Join(err, e); err == nil && blocked == "" {
			p.data, p.moved = filepath.Join(base, "postgres-"+shortHash(p.folder)), true
			return nil
		}
		tried = append(tried, fmt.Errorf("%s: blocked at %q: %w", base, blocked, err))
	}
	return fmt.Errorf("user %s can reach neither %s nor a folder under /var: choose another folder with --data (%w)", who.name, p.folder, errors.Join(tried...))
}

// setAside keeps a cluster that is in our way and that this data folder does
// not know: the folder of that name was removed and made anew.
func (p place) setAside(log *slog.Logger) error {
	if !p.moved || !p.initialized() {
		return nil
	}
	if _, err := os.Stat(p.pointer()); err == nil {
		return nil
	}
	to := p.data + time.Now().UTC().Format(".20060102T150405.000000000")
	if err := os.Rename(p.data, to); err != nil {
		return err
	}
	log.Warn("kept the database of an earlier data folder of the same name", "at", to)
	return nil
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
