package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// oldestMajor is the first PostgreSQL that the schema works with.
const oldestMajor = 15

// debianBins is where Debian and Ubuntu keep the programs of each major version.
const debianBins = "/usr/lib/postgresql/*/bin"

// binaries is a folder with postgres and initdb of one version.
type binaries struct {
	dir   string
	major int
}

// finder looks for server programs.
type finder struct {
	who       account
	bin       string // --postgres-bin; nothing else is considered if set
	debian    string // a pattern, in all but tests debianBins
	cache     string
	fetchOnly bool // leave out what the machine has
	wants     int  // the major version that wrote existing data, or 0
	log       *slog.Logger
}

// find returns the programs to use: --postgres-bin, PATH, Debian's folders
// (newest first), the cache, and at last what can be fetched into it.
func (f finder) find(ctx context.Context) (binaries, error) {
	if f.bin != "" {
		b, err := f.probe(ctx, f.bin)
		if err != nil {
			return b, fmt.Errorf("--postgres-bin=%s: %w", f.bin, err)
		}
		if err := f.fits(b); err != nil {
			return b, fmt.Errorf("--postgres-bin=%s: %w", f.bin, err)
		}
		return b, nil
	}
	for _, dir := range f.installed() {
		b, err := f.probe(ctx, dir)
		if err == nil {
			err = f.fits(b)
		}
		if err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			return b, ctx.Err()
		}
		f.log.Debug("not using a PostgreSQL", "dir", dir, "because", err)
	}
	if f.wants != 0 && f.wants != pinnedMajor {
		return binaries{}, fmt.Errorf("the database was written by PostgreSQL %d, which is not on this machine: run `apt-get install postgresql-%d`, or name its bin folder with --postgres-bin", f.wants, f.wants)
	}
	return f.fromCache(ctx)
}

// installed lists the folders worth a look, best first.
func (f finder) installed() []string {
	if f.fetchOnly {
		return nil
	}
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
		// A link, such as /usr/local/bin/postgres, may stand without its siblings.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append([]string{filepath.Dir(path)}, dirs...)
		}
	}
	found, _ := filepath.Glob(f.debian) // the pattern is well-formed
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(majorOf(b), majorOf(a)) })
	return append(dirs, found...)
}

func majorOf(debianDir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(debianDir))) // 0 sorts last
	return n
}

var versionLine = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)`)

// probe asks the programs in dir what they are, as the user who will run them:
// permissions, missing libraries and a foreign architecture show here.
func (f finder) probe(ctx context.Context, dir string) (binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return binaries{}, err
	}
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return binaries{}, fmt.Errorf("no %s in that folder; it must hold postgres and initdb of PostgreSQL %d or newer", name, oldestMajor)
		}
	}
	program := filepath.Join(dir, "postgres")
	out, err := f.who.command(ctx, "/", program, "--version").CombinedOutput()
	if err != nil {
		return binaries{}, fmt.Errorf("user %s cannot run %s: %w %s", f.who.name, program, err, lastLine(out))
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("%s --version says %q, which is not PostgreSQL", program, lastLine(out))
	}
	major, err := strconv.Atoi(string(m[1]))
	return binaries{dir, major}, err
}

// fits reports why b may not serve the data.
func (f finder) fits(b binaries) error {
	switch {
	case b.major < oldestMajor:
		return fmt.Errorf("it is PostgreSQL %d, and %d or newer is needed", b.major, oldestMajor)
	case f.wants != 0 && b.major != f.wants:
		return fmt.Errorf("it is PostgreSQL %d, and the database was written by PostgreSQL %d: use that one, or move the data with pg_dump", b.major, f.wants)
	}
	return nil
}

// fromCache returns the fetched programs, and fetches them the first time.
func (f finder) fromCache(ctx context.Context) (binaries, error) {
	dir, err := f.cached(ctx)
	if err == nil {
		var b binaries
		if b, err = f.probe(ctx, dir); err == nil {
			return b, nil
		}
	}
	if ctx.Err() != nil {
		return binaries{}, ctx.Err()
	}
	return binaries{}, &notFoundError{err}
}

// notFoundError is the one sentence for a machine without PostgreSQL.
type notFoundError struct{ fetch error }

func (e *notFoundError) Error() string {
	return fmt.Sprintf("there is no PostgreSQL %d or newer on this machine and none could be fetched (%v): run `apt-get install postgresql`, name its bin folder with --postgres-bin, or set --database-url", oldestMajor, e.fetch)
}

func (e *notFoundError) Unwrap() error { return e.fetch }

// defaultCache is where fetched programs live. Root's must be open to the user
// who runs them, which a home folder is not.
func defaultCache() string {
	if os.Geteuid() == 0 {
		return "/var/cache/doctorsflow"
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "doctorsflow")
	}
	return filepath.Join(os.TempDir(), "doctorsflow-cache-"+strconv.Itoa(os.Geteuid()))
}

// dataMajor is the version that wrote the cluster at data, or 0 if there is none.
func dataMajor(data string) (int, error) {
	b, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(lastLine(b))
}
