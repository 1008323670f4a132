package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// FHIRSource is a FHIR server that notifies us.
type FHIRSource struct {
	ID      uuid.UUID
	Name    string
	BaseURL string
	// Token is sent to it as a bearer's; "" is none. It is opened only for
	// whoever asks the server.
	Token string
	// Source is what its numbers of appointments are unique in, and Identifier
	// the system of the clinic's own number of a patient.
	Source, Identifier string
	Created            time.Time
	Removed            time.Time
}

// FHIRHeard is how far one subscription was heard, and what is pending of its
// source.
type FHIRHeard struct {
	Source              string
	Subscription        string
	LastEvent, Highest  int64
	Heard               time.Time
	Error               string
	Pending, PendingErr int
}

const insertFHIRSource = `
INSERT INTO fhir_sources (tenant_id, id, name, base_url, token, source, identifier, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, (SELECT app_now()))`

const fhirSourceColumns = `f.id, f.name, f.base_url, f.source, f.identifier, f.created_at, f.removed_at`

const selectFHIRSource = `SELECT ` + fhirSourceColumns + ` FROM fhir_sources f WHERE f.tenant_id = $1 AND f.id = $2 AND f.removed_at IS NULL`

const selectFHIRSources = `SELECT ` + fhirSourceColumns + ` FROM fhir_sources f WHERE f.tenant_id = $1 ORDER BY f.created_at, f.id`

const removeFHIRSource = `UPDATE fhir_sources SET removed_at = (SELECT app_now()), token = NULL WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL`

const endFHIRWork = `
WITH s AS (UPDATE fhir_subscriptions SET wake_at = NULL WHERE tenant_id = $1 AND source_id = $2 AND wake_at IS NOT NULL)
UPDATE fhir_pending SET wake_at = NULL WHERE tenant_id = $1 AND source_id = $2 AND wake_at IS NOT NULL`

// CreateFHIRSource lets a FHIR server notify the clinic. Errors are [ErrTaken]
// or wrap [ErrUnavailable].
func (db *DB) CreateFHIRSource(ctx context.Context, id tenant.ID, s FHIRSource) (FHIRSource, error) {
	s.ID = uuid.Must(uuid.NewV7())
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		keys, err := db.tenantKey(ctx, tx, id)
		if err != nil {
			return err
		}
		var token []byte
		if s.Token != "" {
			token = keys.Seal([]byte(s.Token), column(id, "fhir_sources", "token", s.ID))
		}
		if _, err := tx.Exec(ctx, insertFHIRSource, id, s.ID, s.Name, s.BaseURL, token, s.Source, s.Identifier); err != nil {
			return taken(err)
		}
		return audit(ctx, tx, id, AuditEntry{Action: "fhir_source.create", Subject: "fhir_source", SubjectID: s.ID, Detail: map[string]any{"source": s.Source}})
	})
	return s, wrapped("store: create a FHIR source", err)
}

// FHIRSources lists a clinic's FHIR servers, removed ones included, without
// their tokens.
func (db *DB) FHIRSources(ctx context.Context, id tenant.ID) (list []FHIRSource, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectFHIRSources, id)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scanFHIRSource)
		return err
	})
	return list, wrapped("store: FHIR sources", err)
}

func scanFHIRSource(row pgx.CollectableRow) (s FHIRSource, err error) {
	var removed *time.Time
	err = row.Scan(&s.ID, &s.Name, &s.BaseURL, &s.Source, &s.Identifier, &s.Created, &removed)
	if removed != nil {
		s.Removed = *removed
	}
	return s, err
}

// FHIRSourceByID returns one in use, without its token, or [ErrNotFound].
func (db *DB) FHIRSourceByID(ctx context.Context, id tenant.ID, source uuid.UUID) (s FHIRSource, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectFHIRSource, id, source)
		if err != nil {
			return err
		}
		s, err = pgx.CollectExactlyOneRow(rows, scanFHIRSource)
		return notFound(err)
	})
	return s, wrapped("store: FHIR source", err)
}

// RemoveFHIRSource ends one: its notifications are refused, and what is pending
// of it is not read any more. Errors wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) RemoveFHIRSource(ctx context.Context, id tenant.ID, source uuid.UUID) error {
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, removeFHIRSource, id, source)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, endFHIRWork, id, source); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "fhir_source.remove", Subject: "fhir_source", SubjectID: source})
	})
	return wrapped("store: remove a FHIR source", err)
}

const selectFHIRHeard = `
SELECT f.name, s.subscription, s.last_event, s.highest, s.heard_at, coalesce(s.error, ''),
       (SELECT count(*) FROM fhir_pending p WHERE p.tenant_id = f.tenant_id AND p.source_id = f.id AND p.wake_at IS NOT NULL),
       (SELECT count(*) FROM fhir_pending p WHERE p.tenant_id = f.tenant_id AND p.source_id = f.id AND p.error IS NOT NULL)
FROM   fhir_sources f JOIN fhir_subscriptions s ON s.tenant_id = f.tenant_id AND s.source_id = f.id
WHERE  f.tenant_id = $1 AND f.removed_at IS NULL
ORDER  BY f.name, s.subscription`

// FHIRSubscriptions lists how far each subscription of a clinic was heard.
func (db *DB) FHIRSubscriptions(ctx context.Context, id tenant.ID) (list []FHIRHeard, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectFHIRHeard, id)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h FHIRHeard, err error) {
			err = row.Scan(&h.Source, &h.Subscription, &h.LastEvent, &h.Highest, &h.Heard, &h.Error, &h.Pending, &h.PendingErr)
			h.Heard = h.Heard.In(v.zone)
			return h, err
		})
		return err
	})
	return list, wrapped("store: FHIR subscriptions", err)
}

// FHIRNews is what a notification leaves to be kept once its content is.
type FHIRNews struct {
	Subscription string
	// First and Last are the events that were told of; 0: none. Unbroken says
	// that none between them is missing.
	First, Last int64
	Unbroken    bool
	// Events is how many there were, -1 where that was not said; Begins says that
	// the subscription begins with this.
	Events int64
	Begins bool
	// Fetch are resources that have to be read.
	Fetch []string
}

const lockFHIRSubscription = `
INSERT INTO fhir_subscriptions AS s (tenant_id, source_id, subscription, heard_at) VALUES ($1, $2, $3, (SELECT app_now()))
ON CONFLICT (tenant_id, source_id, subscription) DO UPDATE SET heard_at = EXCLUDED.heard_at
RETURNING s.last_event, s.highest`

const moveFHIRSubscription = `
UPDATE fhir_subscriptions
SET    last_event = $4::bigint, highest = $5::bigint, wake_at = CASE WHEN $5::bigint > $4::bigint THEN coalesce(wake_at, (SELECT app_now())) END,
       tries = CASE WHEN $5::bigint > $4::bigint THEN tries ELSE 0 END,
       error = CASE WHEN $5::bigint > $4::bigint THEN error END
WHERE  tenant_id = $1 AND source_id = $2 AND subscription = $3`

const insertFHIRPending = `
INSERT INTO fhir_pending AS p (tenant_id, source_id, reference, wake_at, updated_at)
SELECT $1, $2, n.reference, (SELECT app_now()), (SELECT app_now()) FROM (SELECT DISTINCT unnest($3::text[])) AS n (reference)
ON CONFLICT (tenant_id, source_id, reference) DO UPDATE SET asked = p.asked + 1, tries = 0, error = NULL, wake_at = EXCLUDED.wake_at, updated_at = EXCLUDED.updated_at`

// KeepFHIRNews keeps how far a subscription was heard and what has to be read,
// and reports whether something is to be done: events were missed, or resources
// are pending.
func (db *DB) KeepFHIRNews(ctx context.Context, id tenant.ID, source uuid.UUID, n FHIRNews) (todo bool, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		var last, highest int64
		if err := tx.QueryRow(ctx, lockFHIRSubscription, id, source, n.Subscription).Scan(&last, &highest); err != nil {
			return err
		}
		last, highest = n.settle(last, highest)
		if _, err := tx.Exec(ctx, moveFHIRSubscription, id, source, n.Subscription, last, highest); err != nil {
			return err
		}
		todo = highest > last || len(n.Fetch) > 0
		if len(n.Fetch) == 0 {
			return nil
		}
		_, err := tx.Exec(ctx, insertFHIRPending, id, source, n.Fetch)
		return err
	})
	return todo, wrapped("store: keep FHIR news", err)
}

// settle moves the two marks: what follows on what is in is in, what does not
// leaves a gap. It is pure.
func (n FHIRNews) settle(last, highest int64) (int64, int64) {
	if n.Begins && n.Events >= 0 && n.Events < last {
		last, highest = n.Events, n.Events // it was made anew under the same name
	}
	if n.Last > 0 {
		highest = max(highest, n.Last)
		if n.Unbroken && n.First <= last+1 {
			last = max(last, n.Last)
		}
	}
	return last, max(highest, n.Events, last)
}

// FHIRGap is a subscription of which events were missed.
type FHIRGap struct {
	Tenant       tenant.ID
	Source       FHIRSource
	Subscription string
	Since, Until int64 // both included
	Heard        time.Time
	Tries        int
}

const leaseFHIRGaps = `
WITH due AS (
  SELECT s.tenant_id, s.source_id, s.subscription FROM fhir_subscriptions s
  WHERE  s.wake_at <= (SELECT app_now()) ORDER BY s.wake_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE fhir_subscriptions s SET wake_at = (SELECT app_now()) + interval '45 seconds', tries = s.tries + 1
FROM   due d, fhir_sources f, tenants t
WHERE  s.tenant_id = d.tenant_id AND s.source_id = d.source_id AND s.subscription = d.subscription
AND    f.tenant_id = d.tenant_id AND f.id = d.source_id AND t.id = d.tenant_id AND t.data_key IS NOT NULL
RETURNING s.tenant_id, f.id, f.base_url, f.token, f.source, f.identifier, t.data_key, s.subscription, s.last_event + 1, s.highest, coalesce(s.searched_at, s.heard_at), s.tries`

// LeaseFHIRGaps returns subscriptions of which events were missed; until it is
// told what came of them, or for 45 seconds, they are the caller's.
func (db *DB) LeaseFHIRGaps(ctx context.Context, limit int) (list []FHIRGap, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, leaseFHIRGaps, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g FHIRGap, err error) {
			var token, key []byte
			if err := row.Scan(&g.Tenant, &g.Source.ID, &g.Source.BaseURL, &token, &g.Source.Source, &g.Source.Identifier, &key, &g.Subscription, &g.Since, &g.Until, &g.Heard, &g.Tries); err != nil {
				return g, err
			}
			return g, db.openFHIRToken(g.Tenant, &g.Source, token, key)
		})
		return err
	})
	return list, wrapped("store: lease FHIR gaps", err)
}

func (db *DB) openFHIRToken(id tenant.ID, s *FHIRSource, token, key []byte) error {
	if token == nil {
		return nil
	}
	keys, err := db.unwrap(id, key)
	if err != nil {
		return err
	}
	plain, err := keys.Open(token, column(id, "fhir_sources", "token", s.ID))
	s.Token = string(plain)
	return err
}

const closeFHIRGap = `
UPDATE fhir_subscriptions
SET    last_event = greatest(last_event, $4), tries = 0, error = NULL, searched_at = CASE WHEN $5 THEN (SELECT app_now()) ELSE searched_at END,
       wake_at = CASE WHEN highest > greatest(last_event, $4) THEN (SELECT app_now()) END
WHERE  tenant_id = $1 AND source_id = $2 AND subscription = $3`

const failFHIRGap = `
UPDATE fhir_subscriptions SET error = $4, wake_at = (SELECT app_now()) + $5::interval
WHERE  tenant_id = $1 AND source_id = $2 AND subscription = $3 AND wake_at IS NOT NULL`

// CloseFHIRGap keeps what a gap was found to hold; searched says that the server
// could not tell, and was searched.
func (db *DB) CloseFHIRGap(ctx context.Context, g FHIRGap, refs []string, searched bool) error {
	return wrapped("store: close a FHIR gap", db.asWorker(ctx, func(tx pgx.Tx) error {
		if len(refs) > 0 {
			if _, err := tx.Exec(ctx, insertFHIRPending, g.Tenant, g.Source.ID, refs); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, closeFHIRGap, g.Tenant, g.Source.ID, g.Subscription, g.Until, searched)
		return err
	}))
}

// FailFHIRGap keeps why a gap is open still, and when it is looked at again.
func (db *DB) FailFHIRGap(ctx context.Context, g FHIRGap, why string, after time.Duration) error {
	return wrapped("store: FHIR gap", db.asWorker(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, failFHIRGap, g.Tenant, g.Source.ID, g.Subscription, why, after)
		return err
	}))
}

// FHIRFetch is a resource that has to be read.
type FHIRFetch struct {
	Tenant    tenant.ID
	Source    FHIRSource
	Reference string
	Asked     int32
	Tries     int
}

const leaseFHIRPending = `
WITH due AS (
  SELECT p.tenant_id, p.source_id, p.reference FROM fhir_pending p
  WHERE  p.wake_at <= (SELECT app_now()) ORDER BY p.wake_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE fhir_pending p SET wake_at = (SELECT app_now()) + interval '45 seconds', tries = p.tries + 1
FROM   due d, fhir_sources f, tenants t
WHERE  p.tenant_id = d.tenant_id AND p.source_id = d.source_id AND p.reference = d.reference
AND    f.tenant_id = d.tenant_id AND f.id = d.source_id AND t.id = d.tenant_id AND t.data_key IS NOT NULL
RETURNING p.tenant_id, f.id, f.base_url, f.token, f.source, f.identifier, t.data_key, p.reference, p.asked, p.tries`

// LeaseFHIRPending returns resources that have to be read; as
// [DB.LeaseFHIRGaps].
func (db *DB) LeaseFHIRPending(ctx context.Context, limit int) (list []FHIRFetch, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, leaseFHIRPending, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f FHIRFetch, err error) {
			var token, key []byte
			if err := row.Scan(&f.Tenant, &f.Source.ID, &f.Source.BaseURL, &token, &f.Source.Source, &f.Source.Identifier, &key, &f.Reference, &f.Asked, &f.Tries); err != nil {
				return f, err
			}
			return f, db.openFHIRToken(f.Tenant, &f.Source, token, key)
		})
		return err
	})
	return list, wrapped("store: lease FHIR resources", err)
}

const settleFHIRPending = `
UPDATE fhir_pending SET error = $5, wake_at = CASE WHEN asked = $4 THEN (SELECT app_now()) + $6::interval ELSE (SELECT app_now()) END, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND source_id = $2 AND reference = $3 AND wake_at IS NOT NULL`

// SettleFHIRPending keeps what became of one: it was read, or why not; again is
// when to try again, nil never. One that was named again meanwhile is read
// again.
func (db *DB) SettleFHIRPending(ctx context.Context, f FHIRFetch, why string, again *time.Duration) error {
	return wrapped("store: FHIR resource", db.asWorker(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, settleFHIRPending, f.Tenant, f.Source.ID, f.Reference, f.Asked, nullText(why), again)
		return err
	}))
}
