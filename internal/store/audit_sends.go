package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Sends come into the chain from behind the hot path, see
// docs/decisions/0018: a row lists a stretch of a tenant's attempts, in the
// order of their claims, so that one that is changed, removed or invented
// later is missed by name.

// sentPosition is a place in the order of a tenant's claims.
type sentPosition struct {
	At      time.Time `json:"at"`
	Step    uuid.UUID `json:"step"`
	Attempt int32     `json:"attempt"`
}

// sentAttempt is one attempt as the chain keeps it; number 0 ended untried.
// Content is the digest of the sealed text, which tells nothing of it.
type sentAttempt struct {
	Step    uuid.UUID `json:"step"`
	Attempt int32     `json:"attempt"`
	Patient uuid.UUID `json:"patient"`
	Channel string    `json:"channel"`
	At      time.Time `json:"at"`
	Content string    `json:"content"`
}

// sends is the detail of a row of action send: every attempt after From, up to
// and with To.
type sends struct {
	From  sentPosition  `json:"from"`
	To    sentPosition  `json:"to"`
	Sends []sentAttempt `json:"sends"`
}

// maxSends bounds the attempts of one row.
const maxSends = 500

// Nobody but the owner may see others' transactions, but everybody may see
// their locks: who writes attempts holds the table so until it commits.
const selectWriters = `
SELECT (SELECT app_now()) - $1::interval, ARRAY(
  SELECT l.virtualtransaction FROM pg_locks l
  WHERE  l.locktype = 'relation' AND l.relation = 'attempts'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
  AND    l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))`

const countWriters = `
SELECT count(*) FROM pg_locks l
WHERE  l.locktype = 'relation' AND l.relation = 'attempts'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
AND    l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.virtualtransaction = ANY ($1)`

// writersGone is how long, in a round, those who may be writing what was
// claimed before are waited for.
const writersGone = 2 * time.Second

// settledUntil returns a time before which every claim is committed or never
// will be: all who wrote when it was noted have ended since. ok is false where
// they have not.
func (db *DB) settledUntil(ctx context.Context, lag time.Duration) (until time.Time, ok bool, err error) {
	var writers []string
	if err := db.worker.QueryRow(ctx, selectWriters, lag).Scan(&until, &writers); err != nil {
		return until, false, unavailable(err)
	}
	for deadline := time.Now().Add(writersGone); ; {
		if len(writers) == 0 {
			return until, true, nil
		}
		var left int
		if err := db.worker.QueryRow(ctx, countWriters, writers).Scan(&left); err != nil {
			return until, false, unavailable(err)
		}
		if left == 0 {
			return until, true, nil
		}
		if time.Now().After(deadline) {
			return until, false, nil
		}
		select {
		case <-ctx.Done():
			return until, false, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

const insertSeals = `INSERT INTO audit_seals (tenant_id) SELECT id FROM tenants ON CONFLICT DO NOTHING`

// Both branches go through an index in its order and stop at the first row.
const lockUnsealed = `
SELECT s.tenant_id, s.claimed_at, s.step_id, s.attempt
FROM   audit_seals s
WHERE  EXISTS (SELECT FROM attempts a WHERE a.tenant_id = s.tenant_id AND a.logged AND a.claimed_at >= s.claimed_at
               AND (a.claimed_at, a.step_id, a.attempt) > (s.claimed_at, s.step_id, s.attempt) AND a.claimed_at <= $1)
OR     EXISTS (SELECT FROM attempts a WHERE a.tenant_id = s.tenant_id AND NOT a.logged AND a.claimed_at >= s.claimed_at
               AND (a.claimed_at, a.step_id, a.attempt) > (s.claimed_at, s.step_id, s.attempt) AND a.claimed_at <= $1)
LIMIT  1
FOR    UPDATE OF s SKIP LOCKED`

const selectUnsealed = `
SELECT a.step_id, a.attempt, coalesce(e.patient_id, '00000000-0000-0000-0000-000000000000'), a.channel, a.claimed_at, sha256(coalesce(a.content, ''))
FROM (
  (SELECT a.step_id, a.attempt, a.channel, a.claimed_at, a.content FROM attempts a
   WHERE  a.tenant_id = $1 AND a.logged AND a.claimed_at >= $2 AND a.claimed_at <= $5
   AND    (a.claimed_at, a.step_id, a.attempt) > ($2, $3, $4)
   ORDER  BY a.claimed_at, a.step_id LIMIT $6)
  UNION ALL
  (SELECT a.step_id, a.attempt, a.channel, a.claimed_at, a.content FROM attempts a
   WHERE  a.tenant_id = $1 AND NOT a.logged AND a.claimed_at >= $2 AND a.claimed_at <= $5
   AND    (a.claimed_at, a.step_id, a.attempt) > ($2, $3, $4)
   ORDER  BY a.claimed_at, a.step_id, a.attempt LIMIT $6)
  ORDER BY claimed_at, step_id, attempt LIMIT $6
) a
LEFT JOIN steps s ON s.tenant_id = $1 AND s.id = a.step_id
LEFT JOIN workflow_executions e ON e.tenant_id = $1 AND e.id = s.execution_id
ORDER BY a.claimed_at, a.step_id, a.attempt`

const moveSeal = `UPDATE audit_seals SET claimed_at = $2, step_id = $3, attempt = $4 WHERE tenant_id = $1`

// SealSends brings what was claimed longer than lag ago into the chains, and
// returns how many attempts. Any number of processes may do so at once. It
// does nothing while a transaction is under way that may still write an older
// claim.
func (db *DB) SealSends(ctx context.Context, lag time.Duration) (sealed int, err error) {
	until, ok, err := db.settledUntil(ctx, lag)
	if err == nil && ok {
		_, err = db.worker.Exec(ctx, insertSeals)
		err = unavailable(err)
	}
	for more := ok; err == nil && more; {
		var n int
		n, more, err = db.sealOne(ctx, until)
		sealed += n
	}
	if err != nil {
		return sealed, fmt.Errorf("store: seal sends: %w", err)
	}
	return sealed, nil
}

// sealOne appends one row to the chain of one tenant that has attempts to be
// sealed.
func (db *DB) sealOne(ctx context.Context, until time.Time) (n int, more bool, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		n, more = 0, false
		var id tenant.ID
		var from sentPosition
		err := tx.QueryRow(ctx, lockUnsealed, until).Scan(&id, &from.At, &from.Step, &from.Attempt)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectUnsealed, id, from.At, from.Step, from.Attempt, until, maxSends)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, scanSent)
		if more = true; err != nil || len(list) == 0 {
			return err // another copy was faster
		}
		to := sentPosition{until.UTC(), uuid.Max, math.MaxInt32}
		if n = len(list); n == maxSends {
			last := list[n-1]
			to = sentPosition{last.At, last.Step, last.Attempt}
		}
		from.At = from.At.UTC()
		var patients []uuid.UUID
		for _, s := range list {
			if s.Attempt > 0 {
				patients = append(patients, s.Patient)
			}
		}
		if _, err := tx.Exec(ctx, moveSeal, id, to.At, to.Step, to.Attempt); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{
			Hand: Hand{Actor: "system:sealer"}, Action: "send", Subject: "attempts", Patients: patients,
			Detail: map[string]any{"from": from, "to": to, "sends": list},
		})
	})
	return n, more, err
}

func scanSent(row pgx.CollectableRow) (s sentAttempt, err error) {
	var digest []byte
	err = row.Scan(&s.Step, &s.Attempt, &s.Patient, &s.Channel, &s.At, &digest)
	s.At, s.Content = s.At.UTC(), hex.EncodeToString(digest)
	return s, err
}
