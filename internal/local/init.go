package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// superuser is the bootstrap role; it is used to make the others and nothing else.
const superuser = "postgres"

// initialize makes the cluster if there is none and returns the superuser's
// password. The cluster appears under its name only when it is complete, so a
// start that was cut short leaves nothing that the next one could trip over.
func (p *Postgres) initialize(ctx context.Context, durable bool) error {
	password, err := os.ReadFile(p.place.password())
	switch {
	case err == nil:
		p.superPassword = strings.TrimSpace(string(password))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case p.place.initialized():
		return fmt.Errorf("%s, with the superuser's password, is gone: put it back from a backup", p.place.password())
	default:
		p.superPassword = rand.Text()
		if err := writeFile(p.place.password(), []byte(p.superPassword+"\n")); err != nil {
			return err
		}
	}
	if !p.place.initialized() {
		if err := p.initdb(ctx, durable); err != nil {
			return err
		}
	}
	if p.place.moved {
		return writeFile(p.place.pointer(), []byte(p.place.data+"\n"))
	}
	return nil
}

func (p *Postgres) initdb(ctx context.Context, durable bool) error {
	data := p.place.data
	half, _ := filepath.Glob(data + ".init-*") // left by a start that was cut short
	for _, dir := range half {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	fresh, err := os.MkdirTemp(filepath.Dir(data), filepath.Base(data)+".init-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := p.who.own(fresh); err != nil {
		return err
	}
	// The socket folder is the one place that only the server's user and we see.
	pwfile := filepath.Join(p.socketDir, "initdb")
	if err := writeFile(pwfile, []byte(p.superPassword+"\n")); err != nil {
		return err
	}
	defer os.Remove(pwfile)
	if err := p.who.own(pwfile); err != nil {
		return err
	}
	args := []string{
		"-D", fresh, "--username=" + superuser, "--pwfile=" + pwfile, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions",
	}
	if !durable {
		args = append(args, "--no-sync")
	}
	out, err := p.who.command(ctx, p.socketDir, filepath.Join(p.bin.dir, "initdb"), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb as user %s: %w: %s", p.who.name, err, complaint(out))
	}
	// A folder that is not a cluster is in the way only if it is empty.
	if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not a database and not empty: move it away", data)
	}
	if err := os.Rename(fresh, data); err != nil {
		return err
	}
	return syncDir(filepath.Dir(data))
}

// complaint picks the line that says what went wrong out of a program's
// output, or its last line.
func complaint(out []byte) string {
	found := lastLine(out)
	for line := range strings.Lines(string(out)) {
		for _, mark := range []string{"FATAL:", "PANIC:", "error:"} {
			if strings.Contains(line, mark) {
				found = strings.TrimSpace(line)
			}
		}
	}
	return found
}

// makeSocketDir makes the folder of the socket, which is the server's user's
// alone. It is named after the cluster, so that the folder of a server that
// crashed is used again. Someone else's folder of that name, which anyone may
// make in /tmp, is left alone.
func makeSocketDir(p place, who account) (string, error) {
	dir := p.socketDir()
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		fi, err := os.Lstat(dir)
		if err != nil {
			return "", err
		}
		owner := fileOwner(fi).Uid
		if fi.IsDir() && fi.Mode().Perm() == 0o700 && (owner == who.uid || owner == uint32(os.Geteuid())) {
			return dir, errors.Join(emptyDir(dir), who.own(dir))
		}
		if dir, err = os.MkdirTemp("/tmp", p.id()+"-"); err != nil {
			return "", err
		}
		return dir, who.own(dir)
	}
	if err != nil {
		return "", err
	}
	return dir, who.own(dir)
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
