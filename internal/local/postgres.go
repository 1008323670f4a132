package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// PostgresConfig says where a child Postgres lives and how it is found.
type PostgresConfig struct {
	// Dir is the product's data folder; it is made if need be. The cluster is
	// Dir/postgres, or a folder below /var/lib/doctorsflow if root started us
	// and the user who runs the server cannot reach Dir.
	Dir string
	// Bin is the folder of postgres and initdb; empty looks for one.
	Bin string
	// Cache is where a fetched Postgres is kept. The default is doctorsflow in
	// [os.UserCacheDir], and /var/cache/doctorsflow for root.
	Cache string
	// Durable makes commits survive a loss of power. Only tests go without.
	Durable bool
	// FetchOnly ignores what the machine has, as if it had no PostgreSQL.
	FetchOnly bool
	// Settings are server parameters over and above ours.
	Settings map[string]string
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
}

// Postgres is a running child server. It listens on a Unix socket only.
type Postgres struct {
	place         place
	who           account
	bin           binaries
	socketDir     string
	superPassword string
	log           *slog.Logger
	lock          *DirLock

	logStart int64 // where this run's part of the log begins
	cmd      *exec.Cmd
	stopping atomic.Bool
	ended    chan struct{} // closed when the server has ended
	lost     chan error
}

// StartPostgres finds PostgreSQL 15 or newer, makes the cluster the first
// time, starts the server and returns when it accepts connections. A server
// that a dead process left behind on this cluster is stopped first. The error
// says what an operator can do, and wraps [ErrLocked] if a living process has
// the cluster. Crash recovery may take minutes; ctx bounds the start only.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	p := &Postgres{log: cfg.Logger, ended: make(chan struct{}), lost: make(chan error, 1)}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if err := p.start(ctx, cfg); err != nil {
		return nil, fmt.Errorf("local: start postgres: %w", errors.Join(err, p.cleanUp()))
	}
	return p, nil
}

func (p *Postgres) start(ctx context.Context, cfg PostgresConfig) (err error) {
	if p.place, p.who, err = placeFor(cfg.Dir); err != nil {
		return err
	}
	if p.lock, err = lockFile(p.place.data + ".lock"); err != nil {
		return err
	}
	if err := p.place.setAside(p.log); err != nil {
		return err
	}
	if p.place.moved {
		p.log.Info("the database is outside the data folder, because the user who runs it cannot reach that",
			"user", p.who.name, "data", p.place.folder, "database", p.place.data)
	}
	wants, err := dataMajor(p.place.data)
	if err != nil {
		return err
	}
	f := finder{who: p.who, bin: cfg.Bin, debian: debianBins, cache: cfg.Cache, fetchOnly: cfg.FetchOnly, wants: wants, log: p.log}
	if f.cache == "" {
		f.cache = defaultCache()
	}
	if p.bin, err = f.find(ctx); err != nil {
		return err
	}
	if err := stopOrphan(ctx, p.place, p.log); err != nil {
		return err
	}
	if p.socketDir, err = makeSocketDir(p.place, p.who); err != nil {
		return fmt.Errorf("socket folder: %w", err)
	}
	if err := p.initialize(ctx, cfg.Durable); err != nil {
		return err
	}
	if err := p.run(settings(p.place.id(), p.socketDir, cfg.Durable, cfg.Settings)); err != nil {
		return err
	}
	if err := p.waitReady(ctx); err != nil {
		// The caller's ctx may be over, and nothing may be left running.
		return errors.Join(err, p.end(context.WithoutCancel(ctx)))
	}
	return nil
}

// run starts the server. It outlives the context of its start.
func (p *Postgres) run(settings map[string]string) error {
	args := []string{"-D", p.place.data} // serverProcesses looks for these two
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	out, err := openLog(p.place.log())
	if err != nil {
		return err
	}
	defer out.Close()
	if p.logStart, err = out.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	cmd := p.who.command(context.Background(), p.socketDir, filepath.Join(p.bin.dir, "postgres"), args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	go func() {
		defer close(p.ended)
		defer close(p.lost)
		_ = cmd.Wait() // ProcessState says it better
		if !p.stopping.Load() {
			p.lost <- fmt.Errorf("local: postgres (process %d) ended by itself: %s; see %s", p.Pid(), cmd.ProcessState, p.place.log())
		}
	}()
	return nil
}

// waitReady returns when the server accepts connections.
func (p *Postgres) waitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		pid, state, err := readPidFile(p.place)
		if err != nil {
			return err
		}
		if pid == p.Pid() && state == "ready" {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("the server ended while it started: %s; see %s", p.lastWords(), p.place.log())
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready in time: %w", context.Cause(ctx))
		}
	}
}

// Stop ends the server: sessions are cut off, everything is written, and no
// process or socket is left. When ctx ends first the server is ended at once
// and recovers at its next start. Further calls do nothing.
func (p *Postgres) Stop(ctx context.Context) error {
	if err := errors.Join(p.end(ctx), p.cleanUp()); err != nil {
		return fmt.Errorf("local: stop postgres: %w", err)
	}
	return nil
}

func (p *Postgres) end(ctx context.Context) error {
	p.stopping.Store(true)
	select {
	case <-p.ended: // also where it ended by itself
		return nil
	default:
	}
	err := p.cmd.Process.Signal(syscall.SIGINT)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
	}
	p.log.Warn("Postgres did not stop in time and is ended at once; it recovers at its next start")
	err = endProcesses(context.WithoutCancel(ctx), p.place, endNow)
	<-p.ended
	return err
}

// cleanUp gives back what outlives the process.
func (p *Postgres) cleanUp() error {
	var err error
	if p.socketDir != "" {
		err = os.RemoveAll(p.socketDir)
	}
	if p.lock == nil {
		return err
	}
	if !p.place.initialized() { // a start that failed leaves nothing
		err = errors.Join(err, os.Remove(p.place.data+".lock"))
	}
	lock := p.lock
	p.lock, p.socketDir = nil, ""
	return errors.Join(err, lock.Release())
}

// Wait returns a channel that gets one error if the server ends without
// [Postgres.Stop], and is closed when the server has ended.
func (p *Postgres) Wait() <-chan error { return p.lost }

// URL is a connection string for pgx, psql and every libpq program. It
// contains the password.
func (p *Postgres) URL(role, password, database string) string {
	u := url.URL{
		Scheme: "postgresql", User: url.UserPassword(role, password), Path: "/" + database,
		RawQuery: "host=" + p.socketDir + "&port=" + port,
	}
	return u.String()
}

// SuperURL is the bootstrap superuser's connection string. It is for making
// roles and databases; nothing else may connect with it.
func (p *Postgres) SuperURL() string { return p.URL(superuser, p.superPassword, superuser) }

// BinDir is the folder of the server programs in use.
func (p *Postgres) BinDir() string { return p.bin.dir }

// Dir is the folder of the cluster.
func (p *Postgres) Dir() string { return p.place.data }

// Pid is the process of the server.
func (p *Postgres) Pid() int { return p.cmd.Process.Pid }
