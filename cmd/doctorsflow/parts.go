package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// database is the name of the embedded database.
const database = "doctorsflow"

// teardown undoes what was started, last first, whether the start failed half
// way or the process stops.
type teardown struct{ steps []func(context.Context) error }

func (t *teardown) add(f func(context.Context) error) { t.steps = append(t.steps, f) }

func (t *teardown) run(ctx context.Context) error {
	var errs []error
	for _, f := range slices.Backward(t.steps) {
		errs = append(errs, f(ctx))
	}
	t.steps = nil
	return errors.Join(errs...)
}

// running is what a serving process leaves in its data folder, so that the
// other commands, and a person with psql or nats, find its parts. The file is
// gone when the process stops in order.
type running struct {
	PID         int    `json:"pid"`
	HTTP        string `json:"http"`
	NATS        string `json:"nats,omitempty"`
	OpsNATS     string `json:"ops_nats,omitempty"`
	Simulator   string `json:"simulator,omitempty"`
	APIURL      string `json:"database_api_url"`
	WorkerURL   string `json:"database_worker_url"`
	PostgresBin string `json:"postgres_bin,omitempty"`
}

func runningFile(data string) string { return filepath.Join(data, "running.json") }

func (r running) write(data string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // its URLs are copied from here
	if err := e.Encode(r); err != nil {
		return err
	}
	tmp := runningFile(data) + ".new"
	if err := os.WriteFile(tmp, b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, runningFile(data))
}

func readRunning(data string) (r running, err error) {
	b, err := os.ReadFile(runningFile(data))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

// postgres starts the embedded Postgres, migrated, and returns how to reach it.
func postgres(ctx context.Context, f dataFlags, down *teardown, log *slog.Logger) (pg *local.Postgres, api, worker string, err error) {
	pg, err = local.StartPostgres(ctx, local.PostgresConfig{Dir: f.Data, Bin: f.PostgresBin, Durable: true, Logger: log})
	if err != nil {
		return nil, "", "", err
	}
	down.add(pg.Stop)
	passwords := map[string]string{"owner": rand.Text(), "app_api": rand.Text(), "app_worker": rand.Text()}
	if err := pg.Bootstrap(ctx, database, passwords); err != nil {
		return nil, "", "", err
	}
	if err := store.Migrate(ctx, pg.URL("owner", passwords["owner"], database)); err != nil {
		return nil, "", "", err
	}
	url := func(role string) string { return pg.URL(role, passwords[role], database) }
	return pg, url("app_api"), url("app_worker"), nil
}

// lockData takes the data folder and its master key's place.
func lockData(f dataFlags, down *teardown) error {
	lock, err := local.Lock(f.Data)
	if err != nil {
		return err
	}
	down.add(func(context.Context) error { return lock.Release() })
	return nil
}

// openLedger is how every command but serve reaches the ledger: an external
// Postgres, the Postgres of the process that serves the data folder, or, when
// none does, the folder's own Postgres for as long as the command takes. Only
// with create is a folder made that is not there.
func openLedger(ctx context.Context, f dataFlags, create bool, log *slog.Logger) (db *store.DB, where running, done func(), err error) {
	down := &teardown{}
	undo := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := down.run(ctx); err != nil {
			log.Warn("not everything stopped in order", "err", err)
		}
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	switch r, rerr := readRunning(f.Data); {
	case !f.embedded():
		if err := postgresPrivate(&serveFlags{dataFlags: f}); err != nil {
			return nil, where, nil, err
		}
		where = running{APIURL: f.DatabaseURL, WorkerURL: orElse(f.DatabaseWorkerURL, f.DatabaseURL)}
	case rerr == nil && alive(r.PID):
		where = r
	default:
		if _, serr := os.Stat(filepath.Join(f.Data, "master.key")); serr != nil {
			if !create {
				return nil, where, nil, fmt.Errorf("there is nothing in %s yet; run `doctorsflow serve` or `doctorsflow apply` first, or name another folder with --data", f.Data)
			}
		}
		if err := lockData(f, down); err != nil {
			return nil, where, nil, err
		}
		_, where.APIURL, where.WorkerURL, err = postgres(ctx, f, down, log)
		if err != nil {
			return nil, where, nil, err
		}
	}
	db, err = store.Open(ctx, store.Config{APIURL: where.APIURL, WorkerURL: where.WorkerURL, Masters: f.masters, PublicURL: f.PublicURL, APIConns: 2, WorkerConns: 2})
	if err != nil {
		return nil, where, nil, err
	}
	down.add(func(context.Context) error { db.Close(); return nil })
	return db, where, undo, nil
}

// closeLedger closes the pools, but does not wait beyond ctx for a Postgres
// that answers nothing any more.
func closeLedger(ctx context.Context, db *store.DB) error {
	closed := make(chan struct{})
	go func() {
		db.Close()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return errors.New("connections to Postgres were given up: it holds them and does not answer")
	}
}

// alive reports whether a process of this id exists.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}
