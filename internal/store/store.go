package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// The roles that the pools act as.
const (
	roleAPI    = "app_api"
	roleWorker = "app_worker"
)

// Config says how to reach Postgres. Every URL may be the same login if it is
// a member of both roles.
type Config struct {
	// APIURL is for one tenant at a time; empty where no role needs it.
	APIURL string
	// WorkerURL is for the pipeline; empty where no role needs it.
	WorkerURL string
	// APIConns and WorkerConns bound the pools; 0 means 8.
	APIConns, WorkerConns int
	// Master unwraps the tenants' keys.
	Master seal.Key
	// Masters, if set, is asked in its place, and again when a tenant's key
	// does not open: the first wraps, every one opens.
	Masters func() ([]seal.Key, error)
	// Timing is the send protocol's; zero values take the defaults.
	Timing Timing
	// PublicURL is the address by which patients reach this server; "" if there
	// is none. Workflows that ask whether a link was clicked need it when they
	// are published.
	PublicURL string
}

// DB is the ledger. It is safe for concurrent use.
type DB struct {
	api, worker *pgxpool.Pool
	ring        *seal.Ring
	timing      Timing
	definitions definitionCache
	holidays    holidayCache
	handled     volume
	publicURL   string
}

// Open connects, checks that neither login is more than it should be, that
// the schema fits this binary, and that it keeps the tenants apart. Errors are
// sentences for an operator; see [UnsafeLoginError] and [UnsafeSchemaError].
func Open(ctx context.Context, c Config) (*DB, error) {
	db := &DB{timing: c.Timing.withDefaults(), publicURL: c.PublicURL}
	var err error
	if db.ring, err = newRing(c); err != nil {
		return nil, err
	}
	if c.APIURL != "" {
		if db.api, err = openPool(ctx, c.APIURL, roleAPI, c.APIConns); err != nil {
			return nil, err
		}
	}
	if c.WorkerURL != "" {
		if db.worker, err = openPool(ctx, c.WorkerURL, roleWorker, c.WorkerConns); err != nil {
			db.Close()
			return nil, err
		}
	}
	for _, check := range []func(context.Context) error{db.checkSchema, db.checkIsolation, db.checkMaster} {
		if err := check(ctx); err != nil {
			db.Close()
			return nil, err
		}
	}
	return db, nil
}

// Close waits for running statements and closes the pools.
func (db *DB) Close() {
	db.handled.working.Wait()
	if db.api != nil {
		db.api.Close()
	}
	if db.worker != nil {
		db.worker.Close()
	}
}

// Ping reports whether Postgres answers.
func (db *DB) Ping(ctx context.Context) error {
	for _, p := range []*pgxpool.Pool{db.api, db.worker} {
		if p == nil {
			continue
		}
		if err := p.Ping(ctx); err != nil {
			return unavailable(err)
		}
	}
	return nil
}

// asWritten makes Postgres run the pipeline's statements as they are written:
// join by join in their order, each row by its index; and plan them once, not
// for every batch. See docs/performance.md.
var asWritten = map[string]string{
	"plan_cache_mode":     "force_generic_plan",
	"join_collapse_limit": "1",
	"from_collapse_limit": "1",
	"enable_hashjoin":     "off",
	"enable_mergejoin":    "off",
	"enable_seqscan":      "off",
	"enable_bitmapscan":   "off",
	"enable_material":     "off",
	"enable_memoize":      "off",
	"seq_page_cost":       "0.01",
	"random_page_cost":    "0.01",
}

// freely is what Postgres starts with: the settings of [asWritten] for reading
// whole tables and for questions with many optional filters.
const freely = `set_config('plan_cache_mode', 'force_custom_plan', true), set_config('join_collapse_limit', '8', true),
       set_config('from_collapse_limit', '8', true), set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true),
       set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true), set_config('enable_material', 'on', true),
       set_config('enable_memoize', 'on', true), set_config('seq_page_cost', '1', true), set_config('random_page_cost', '4', true)`

const freePlans = `SELECT ` + freely

// planFreely takes [asWritten] back for the rest of a transaction that reads
// whole tables.
func planFreely(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, freePlans)
	return err
}

func openPool(ctx context.Context, url, role string, conns int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("store: %s url: %w", role, redactURL(err))
	}
	if conns == 0 {
		conns = 8
	}
	cfg.MaxConns = int32(conns)
	cfg.ConnConfig.ConnectTimeout = 2 * time.Second
	params := cfg.ConnConfig.RuntimeParams
	params["application_name"] = "doctorsflow " + role
	params["timezone"] = "UTC"
	params["idle_in_transaction_session_timeout"] = "15s"
	params["statement_timeout"] = "30s"
	params["lock_timeout"] = "10s"
	maps.Copy(params, asWritten)
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		registerIDs(c.TypeMap())
		return assume(ctx, c, role)
	}
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("store: %s pool: %w", role, err)
	}
	conn, err := p.Acquire(ctx)
	if err != nil {
		p.Close()
		if refused, ok := errors.AsType[*UnsafeLoginError](err); ok {
			return nil, refused
		}
		return nil, fmt.Errorf("store: connect as %s: %w", role, unavailable(err))
	}
	conn.Release()
	return p, nil
}

const schemaVersion = `SELECT to_regclass('goose_db_version') IS NOT NULL`

func (db *DB) checkSchema(ctx context.Context) error {
	pool := db.any()
	var migrated bool
	if err := pool.QueryRow(ctx, schemaVersion).Scan(&migrated); err != nil {
		return fmt.Errorf("store: schema version: %w", unavailable(err))
	}
	if !migrated {
		return ErrSchemaOlder
	}
	var have int64
	if err := pool.QueryRow(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&have); err != nil {
		return fmt.Errorf("store: schema version: %w", unavailable(err))
	}
	switch want := SchemaVersion(); {
	case have > want:
		return ErrSchemaNewer
	case have < want:
		return ErrSchemaOlder
	}
	return nil
}

func (db *DB) any() *pgxpool.Pool {
	if db.worker != nil {
		return db.worker
	}
	return db.api
}

const enterTenant = `SELECT set_config('app.tenant', $1, true)`

const enterTenantFreely = enterTenant + `, ` + freely

// inTenant runs f in a transaction that sees only tenant id's rows.
func (db *DB) inTenant(ctx context.Context, id tenant.ID, f func(pgx.Tx) error) error {
	return unavailable(pgx.BeginFunc(ctx, db.api, func(tx pgx.Tx) error {
		// set_config(…, true) lasts for this transaction, so it cannot leak
		// to the connection's next user.
		if _, err := tx.Exec(ctx, enterTenantFreely, id.String()); err != nil {
			return err
		}
		return f(tx)
	}))
}

// asWorker runs f in a transaction over all tenants. f must have no effect
// outside its transaction, because it may run again.
func (db *DB) asWorker(ctx context.Context, f func(pgx.Tx) error) error {
	return unavailable(db.again(func() error { return pgx.BeginFunc(ctx, db.worker, f) }))
}

// again runs a transaction once more when Postgres ended it to break a
// deadlock or a serialization cycle.
func (db *DB) again(run func() error) error {
	for try := 1; ; try++ {
		err := run()
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || try == 5 || e.Code != "40P01" && e.Code != "40001" {
			return err
		}
	}
}

// unavailable marks errors that say nothing about the statement but that the
// server was away, too busy, or ended the session.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case e.Code[:2] == "08", e.Code[:2] == "53", e.Code[:2] == "57", e.Code == "25P03", e.Code == "55P03":
			return fmt.Errorf("%w: %s", ErrUnavailable, e.Code)
		}
		return err
	}
	_, connect := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	// A server that dies in mid-statement just closes the connection.
	cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
	if cut || connect || network || errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// Timing returns the send protocol's numbers in force.
func (db *DB) Timing() Timing { return db.timing }
