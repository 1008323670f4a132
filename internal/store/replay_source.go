package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// SourceReplay asks for everything that a source said since a time to be
// looked at again.
type SourceReplay struct {
	// Source is webhook:<id>, or appointment; "" is every source.
	Source string
	Since  time.Time
	Hand   // with a note
}

// ReplayJob is such a replay on its way.
type ReplayJob struct {
	ID            uuid.UUID
	Source        string
	Since, Until  time.Time
	Reason, Actor string
	State         string // running, done, cancelled
	// Seen triggers were looked at, Reopened are planned again, Gone cannot be
	// read any more.
	Seen, Reopened, Gone int
	Created, Updated     time.Time
}

const replayJobColumns = `r.id, r.source, r.since, r.until, r.reason, r.actor, r.state, r.seen, r.reopened, r.gone, r.created_at, r.updated_at`

const insertReplay = `
INSERT INTO replays (tenant_id, id, source, since, until, reason, actor, after, created_at, updated_at)
VALUES ($1, $2, $3, $4, (SELECT app_now()), $5, $6, '00000000-0000-0000-0000-000000000000', (SELECT app_now()), (SELECT app_now()))`

const countReplay = `
SELECT count(*), count(*) FILTER (WHERE t.payload_key IS NULL) FROM triggers t
WHERE  t.tenant_id = $1 AND ($2 = '' OR t.source = $2) AND t.received_at >= $3 AND t.replay_of IS NULL`

const selectReplays = `
SELECT ` + replayJobColumns + ` FROM replays r
WHERE  r.tenant_id = $1 AND ($2::uuid IS NULL OR r.id < $2)
ORDER  BY r.id DESC
LIMIT  $3`

const selectReplay = `SELECT ` + replayJobColumns + ` FROM replays r WHERE r.tenant_id = $1 AND r.id = $2`

const cancelReplay = `UPDATE replays SET state = 'cancelled', updated_at = (SELECT app_now()) WHERE tenant_id = $1 AND id = $2 AND state = 'running'`

const replayCursor = "cursor.replays"

// CountSource counts what a replay would look at, and how much of it is gone.
func (db *DB) CountSource(ctx context.Context, id tenant.ID, r SourceReplay) (seen, gone int, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, countReplay, id, r.Source, r.Since).Scan(&seen, &gone)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("store: count replay: %w", err)
	}
	return seen, gone, nil
}

// ReplaySource begins the replay; [DB.ContinueReplay] goes on with it. Errors
// are [ErrNote] or wrap [ErrUnavailable].
func (db *DB) ReplaySource(ctx context.Context, id tenant.ID, r SourceReplay) (ReplayJob, error) {
	if err := r.check(true); err != nil {
		return ReplayJob{}, err
	}
	job := uuid.Must(uuid.NewV7())
	err := db.asWorker(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertReplay, id, job, r.Source, r.Since, r.Note, r.Actor); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Hand: r.Hand, Action: "replay.source", Subject: "replay", SubjectID: job, Detail: map[string]any{"source": r.Source, "since": r.Since}})
	})
	if err != nil {
		return ReplayJob{}, fmt.Errorf("store: replay a source: %w", err)
	}
	return db.ReplayByID(ctx, id, job)
}

// CancelReplay stops a replay: what was opened until then is planned. Errors
// are [ErrNotFound] or wrap [ErrUnavailable].
func (db *DB) CancelReplay(ctx context.Context, id tenant.ID, job uuid.UUID, by Hand) (ReplayJob, error) {
	if err := by.check(false); err != nil {
		return ReplayJob{}, err
	}
	err := db.asWorker(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, cancelReplay, id, job)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Hand: by, Action: "replay.cancel", Subject: "replay", SubjectID: job})
	})
	if err != nil {
		return ReplayJob{}, fmt.Errorf("store: cancel a replay: %w", err)
	}
	return db.ReplayByID(ctx, id, job)
}

// ReplayByID returns one replay, or [ErrNotFound].
func (db *DB) ReplayByID(ctx context.Context, id tenant.ID, job uuid.UUID) (out ReplayJob, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		out, err = v.replay(tx.QueryRow(ctx, selectReplay, id, job))
		return notFound(err)
	})
	if err != nil {
		return ReplayJob{}, fmt.Errorf("store: replay: %w", err)
	}
	return out, nil
}

// Replays returns one page of a clinic's replays, newest first. Errors wrap
// [ErrCursor] or [ErrUnavailable].
func (db *DB) Replays(ctx context.Context, id tenant.ID, cursor string, size int) (page Page[ReplayJob], err error) {
	limit := pageSize(size)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(replayCursor, cursor)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectReplays, id, nullID(after.id), limit+1)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ReplayJob, error) { return v.replay(row) })
		page = cut(list, limit, func(j ReplayJob) string { return v.cursor(replayCursor, position{id: j.ID}) })
		return err
	})
	if err != nil {
		return Page[ReplayJob]{}, fmt.Errorf("store: replays: %w", err)
	}
	return page, nil
}

func (v viewer) replay(row pgx.Row) (j ReplayJob, err error) {
	err = row.Scan(&j.ID, &j.Source, &j.Since, &j.Until, &j.Reason, &j.Actor, &j.State, &j.Seen, &j.Reopened, &j.Gone, &j.Created, &j.Updated)
	for _, t := range []*time.Time{&j.Since, &j.Until, &j.Created, &j.Updated} {
		*t = t.In(v.zone)
	}
	return j, err
}

const lockReplay = `
SELECT r.tenant_id, r.id, r.source, r.since, r.until, r.after FROM replays r
WHERE  r.state = 'running'
ORDER  BY r.updated_at
LIMIT  1
FOR    UPDATE SKIP LOCKED`

// What waits for the planner comes first: a replay adds no more to it while it
// is this much.
const selectCrowd = `SELECT count(*) FROM (SELECT FROM triggers t WHERE t.wake_at IS NOT NULL LIMIT $1) AS waiting`

// The next rows of the clinic, whatever they are, and of them those that are
// meant: a look costs the same however few these are.
const selectReplayBatch = `
SELECT n.id, n.meant, n.gone FROM (
  SELECT t.id, ($3 = '' OR t.source = $3) AND t.received_at >= $4 AND t.received_at < $5 AND t.replay_of IS NULL AS meant, t.payload_key IS NULL AS gone
  FROM   triggers t WHERE t.tenant_id = $1 AND t.id > $2
  ORDER  BY t.id LIMIT $6) AS n
ORDER  BY n.id`

const advanceReplay = `
UPDATE replays SET after = $3, seen = seen + $4, reopened = reopened + $5, gone = gone + $6, state = $7, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2`

// Bounds of one step of a replay.
const (
	replayBatch = 1000 // rows that are looked at
	replayCrowd = 500  // triggers that wait, beyond which it waits too
)

// ContinueReplay takes one step of one replay that is running: its place and
// what it opened are one transaction. It reports false where there is nothing
// to do now. Any number of copies may call it.
func (db *DB) ContinueReplay(ctx context.Context) (more bool, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		more = false
		var id tenant.ID
		var job, after uuid.UUID
		var source string
		var since, until time.Time
		err := tx.QueryRow(ctx, lockReplay).Scan(&id, &job, &source, &since, &until, &after)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		var crowd int
		if err := tx.QueryRow(ctx, selectCrowd, replayCrowd).Scan(&crowd); err != nil || crowd >= replayCrowd {
			return err
		}
		more = true
		rows, err := tx.Query(ctx, selectReplayBatch, id, after, source, since, until, replayBatch)
		if err != nil {
			return err
		}
		looked, seen, gone := 0, 0, 0
		var trigger uuid.UUID
		var meant, unreadable bool
		var list []uuid.UUID
		if _, err := pgx.ForEachRow(rows, []any{&trigger, &meant, &unreadable}, func() error {
			if looked, after = looked+1, trigger; !meant {
				return nil
			}
			if seen++; unreadable {
				gone++
			} else {
				list = append(list, trigger)
			}
			return nil
		}); err != nil {
			return err
		}
		opened, err := collectIDs(tx.Query(ctx, reopenTriggers, id, list))
		if err != nil {
			return err
		}
		state := "running"
		if looked < replayBatch {
			state = "done"
		}
		_, err = tx.Exec(ctx, advanceReplay, id, job, after, seen, len(opened), gone, state)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("store: continue a replay: %w", err)
	}
	return more, nil
}
