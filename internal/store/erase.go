package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// ErasedPatient is what the erasure of a patient did.
type ErasedPatient struct {
	Patient uuid.UUID
	// Merged are the rows that had been merged into it, and went with it.
	Merged []uuid.UUID
	// Again: the patient had been erased before, and nothing was left to do.
	Again bool
	// Cancelled counts planned steps that will not be sent.
	Cancelled int
	// InFlight are steps whose request had been written already.
	InFlight []uuid.UUID
	// Strays counts bodies of refused calls, and payloads of events of nobody
	// we know, that told of the patient: their keys were destroyed too.
	Strays int
}

// Whoever was merged is erased with the row that goes on, and by any of them.
const selectPatientToErase = `
SELECT o.id, o.erased_at IS NOT NULL
FROM   patients p JOIN patients o ON o.tenant_id = p.tenant_id AND o.id = coalesce(p.merged_into, p.id)
WHERE  p.tenant_id = $1 AND (p.id = $2 OR p.external_id = $3)`

// The runs first, as whoever changes a plan does; then their steps; then the
// patient's row. A claim holds both rows, so that after this one it is either
// committed, and in flight, or finds neither the step planned nor the key.
const lockRunsOfPatient = `
SELECT id, trigger_id FROM workflow_executions
WHERE  tenant_id = $1 AND patient_id = ANY ($2)
ORDER  BY id FOR UPDATE`

const cancelStepsOfRuns = `
UPDATE steps s
SET    state = 'cancelled', reason = $3, wake_at = NULL, published = false, updated_at = (SELECT app_now())
WHERE  s.tenant_id = $1 AND s.execution_id = ANY ($2) AND s.state = 'planned'`

// Asked once the patient's row is held: a run that came meanwhile counts too.
const selectInFlight = `
SELECT s.id FROM workflow_executions e JOIN steps s ON s.tenant_id = e.tenant_id AND s.execution_id = e.id
WHERE  e.tenant_id = $1 AND e.patient_id = ANY ($2) AND s.state IN ('claimed', 'unknown')
ORDER  BY s.id`

// A number that the clinic knows the patient by is taken too: who comes again
// with it is another patient to us.
const erasePatient = `
UPDATE patients
SET    data_key = NULL, name = NULL, phone = NULL, phone_index = NULL, phone_last4_index = NULL, email = NULL, birth_date = NULL, birthday = NULL,
       external_id = NULL, gender = NULL, last_visit_date = NULL, last_surgery_date = NULL,
       erased_at = coalesce(erased_at, (SELECT app_now())), updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = ANY ($2)`

const erasePayloads = `UPDATE triggers SET payload = NULL, payload_key = NULL WHERE tenant_id = $1 AND id = ANY ($2) AND payload_key IS NOT NULL`

const eraseContents = `
UPDATE attempts a SET content = NULL
FROM   steps s
WHERE  s.tenant_id = $1 AND s.execution_id = ANY ($2) AND a.tenant_id = s.tenant_id AND a.step_id = s.id AND a.content IS NOT NULL`

// ErasePatient makes a patient unreadable for good, in one transaction: the
// key is destroyed, and with it what it sealed and wrapped, as are those of the
// rows that were merged with it; columns, indexes,
// texts and payloads are emptied; what is planned is cancelled. The patient is
// named by id, or by the clinic's own number. Ids, times, states and opt-outs
// stay. Errors are [ErrNote] or wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) ErasePatient(ctx context.Context, id tenant.ID, patient uuid.UUID, external string, by Hand) (out ErasedPatient, err error) {
	if err := by.check(false); err != nil {
		return out, err
	}
	for range 5 {
		out, err = db.erasePatient(ctx, id, patient, external, by)
		if !errors.Is(err, errOnceMore) {
			return out, err
		}
	}
	return out, fmt.Errorf("%w: the patient was merged again and again", ErrUnavailable)
}

func (db *DB) erasePatient(ctx context.Context, id tenant.ID, patient uuid.UUID, external string, by Hand) (out ErasedPatient, err error) {
	whole := out
	stray, err := db.strays(ctx, id, patient, external)
	if err == nil {
		whole.Strays, err = stray.destroy(ctx)
	}
	if err != nil {
		return out, fmt.Errorf("store: erase patient: %w", err)
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		out = whole
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, lockFamilies, id); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, selectPatientToErase, id, nullID(patient), nullText(external)).Scan(&out.Patient, &out.Again); err != nil {
			return notFound(err)
		}
		family, err := familyOf(ctx, tx, id, out.Patient)
		if err != nil {
			return err
		}
		// Merged since it was looked through: what is known of it is gone in a
		// moment, so that it is looked through first.
		if !out.Again && !slices.Equal(family, stray.family) {
			return errOnceMore
		}
		out.Merged = family[1:]
		var runs, triggers []uuid.UUID
		rows, err := tx.Query(ctx, lockRunsOfPatient, id, family)
		if err != nil {
			return err
		}
		var run, trigger uuid.UUID
		if _, err := pgx.ForEachRow(rows, []any{&run, &trigger}, func() error {
			runs, triggers = append(runs, run), append(triggers, trigger)
			return nil
		}); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, cancelStepsOfRuns, id, runs, string(event.PatientErased))
		if err != nil {
			return err
		}
		out.Cancelled = int(tag.RowsAffected())
		tenants := make([]tenant.ID, len(runs))
		for i := range tenants {
			tenants[i] = id
		}
		var batch pgx.Batch
		batch.Queue(erasePatient, id, family)
		batch.Queue(selectInFlight, id, family).Query(func(rows pgx.Rows) (err error) {
			out.InFlight, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		})
		batch.Queue(settleRuns, tenants, runs)
		batch.Queue(eraseContents, id, runs)
		batch.Queue(erasePayloads, id, triggers)
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil || out.Again {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Hand: by, Action: "patient.erase", Subject: "patient", SubjectID: out.Patient, Patients: family})
	})
	if err == nil {
		// What came meanwhile.
		var more int
		more, err = stray.destroy(ctx)
		out.Strays += more
	}
	if err != nil {
		return ErasedPatient{}, fmt.Errorf("store: erase patient: %w", err)
	}
	return out, nil
}

// ErasedTenant is what the erasure of a tenant did.
type ErasedTenant struct {
	// Cancelled counts planned steps that will not be sent, InFlight those
	// whose outcome was not known: nobody can ask for it any more.
	Cancelled, InFlight int
}

// The key first: from this commit on nothing of the tenant opens, whatever
// becomes of the rest.
const (
	destroyTenantKey = `
UPDATE tenants SET data_key = NULL, phone = NULL, updated_at = (SELECT app_now())
WHERE  id = $1`
	revokeTenantKeys = `UPDATE api_keys SET revoked_at = coalesce(revoked_at, (SELECT app_now())) WHERE tenant_id = $1`
	eraseWebhooks    = `
UPDATE webhooks SET enabled = false, secret = '', previous_secret = NULL, previous_expires_at = NULL, updated_at = (SELECT app_now())
WHERE  tenant_id = $1`
	eraseAccounts = `
UPDATE provider_accounts SET enabled = false, credentials = '', report_token = NULL, updated_at = '-infinity'
WHERE  tenant_id = $1`
)

const eraseFHIRSources = `
WITH f AS (UPDATE fhir_sources SET token = NULL, removed_at = coalesce(removed_at, (SELECT app_now())) WHERE tenant_id = $1),
     s AS (UPDATE fhir_subscriptions SET wake_at = NULL WHERE tenant_id = $1)
UPDATE fhir_pending SET wake_at = NULL WHERE tenant_id = $1`

const selectOpenRuns = `
SELECT DISTINCT s.execution_id FROM steps s
WHERE  s.tenant_id = $1 AND s.state = 'planned' AND s.wake_at IS NOT NULL AND s.execution_id IS NOT NULL LIMIT $2`

const lockRunsOfTenant = `SELECT id FROM workflow_executions WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY id FOR UPDATE`

const erasePatientsAfter = `
UPDATE patients p
SET    data_key = NULL, name = NULL, phone = NULL, phone_index = NULL, phone_last4_index = NULL, email = NULL, birth_date = NULL, birthday = NULL,
       external_id = NULL, gender = NULL, last_visit_date = NULL, last_surgery_date = NULL,
       erased_at = coalesce(p.erased_at, (SELECT app_now())), updated_at = (SELECT app_now())
FROM  (SELECT id FROM patients WHERE tenant_id = $1 AND erased_at IS NULL ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) n
WHERE  p.tenant_id = $1 AND p.id = n.id`

const countInFlight = `SELECT count(*) FROM steps WHERE tenant_id = $1 AND state IN ('claimed', 'unknown')`

const countUnerased = `SELECT count(*) FROM patients WHERE tenant_id = $1 AND erased_at IS NULL`

// eraseBatch is how many runs or patients one transaction takes.
const eraseBatch = 2000

// EraseTenant makes a whole tenant unreadable for good: its key is destroyed
// first, with its API keys, webhooks and gateway accounts, in one transaction;
// then its patients' columns are emptied and what is planned is cancelled,
// batch by batch. It may be broken off: another call finishes it. Ids, counts
// and states stay. Errors are [ErrNote] or wrap [ErrNotFound] or
// [ErrUnavailable].
func (db *DB) EraseTenant(ctx context.Context, id tenant.ID, by Hand) (out ErasedTenant, err error) {
	if err := by.check(false); err != nil {
		return out, err
	}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		var wrapped []byte
		if err := tx.QueryRow(ctx, selectTenantKey, id).Scan(&wrapped); err != nil {
			return notFound(err)
		}
		for _, sql := range []string{destroyTenantKey, revokeTenantKeys, eraseWebhooks, eraseAccounts, eraseFHIRSources} {
			if _, err := tx.Exec(ctx, sql, id); err != nil {
				return err
			}
		}
		if wrapped == nil {
			return nil
		}
		return audit(ctx, tx, id, AuditEntry{Hand: by, Action: "tenant.erase", Subject: "tenant", SubjectID: uuid.UUID(id)})
	})
	if err != nil {
		return out, fmt.Errorf("store: erase tenant: %w", err)
	}
	db.ring.Forget(id)
	// Whoever read the key before may still be writing; what is written after
	// is not sealed under it.
	if err := db.awaitReaders(ctx); err != nil {
		return out, fmt.Errorf("store: erase tenant: %w", err)
	}
	for {
		n, more, err := db.cancelTenantSteps(ctx, id)
		out.Cancelled += n
		if err != nil {
			return out, fmt.Errorf("store: erase tenant: %w", err)
		}
		if !more {
			break
		}
	}
	for left := 1; left > 0; {
		err := db.asWorker(ctx, func(tx pgx.Tx) error {
			if err := planFreely(ctx, tx); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, erasePatientsAfter, id, eraseBatch)
			if left = int(tag.RowsAffected()); err != nil || left > 0 {
				return err
			}
			return tx.QueryRow(ctx, countUnerased, id).Scan(&left)
		})
		if err == nil && left > 0 {
			err = pause(ctx, time.Millisecond)
		}
		if err != nil {
			return out, fmt.Errorf("store: erase tenant: %w", err)
		}
	}
	if err := db.worker.QueryRow(ctx, countInFlight, id).Scan(&out.InFlight); err != nil {
		return out, fmt.Errorf("store: erase tenant: %w", unavailable(err))
	}
	return out, nil
}

func (db *DB) cancelTenantSteps(ctx context.Context, id tenant.ID) (n int, more bool, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectOpenRuns, id, eraseBatch)
		if err != nil {
			return err
		}
		runs, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if more = len(runs) > 0; err != nil || !more {
			return err
		}
		if _, err := tx.Exec(ctx, lockRunsOfTenant, id, runs); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, cancelStepsOfRuns, id, runs, string(event.PatientErased))
		if err != nil {
			return err
		}
		n = int(tag.RowsAffected())
		tenants := make([]tenant.ID, len(runs))
		for i := range tenants {
			tenants[i] = id
		}
		_, err = tx.Exec(ctx, settleRuns, tenants, runs)
		return err
	})
	return n, more, err
}
