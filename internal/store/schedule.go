package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/schedule"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Missed is what becomes of fires that nobody was there for.
type Missed string

// The policies.
const (
	MissedSkip Missed = "skip" // they are left out
	MissedOnce Missed = "once" // the last of them is made up for
	MissedAll  Missed = "all"  // each of them is, as of its own day
)

// onTime is how late a fire may be that was not missed.
const onTime = 2 * time.Minute

// Schedule starts a workflow for a segment again and again.
type Schedule struct {
	ID      uuid.UUID
	Name    string
	Pattern string
	// Zone is whose clocks it goes by; "" are the clinic's, which In is then.
	Zone     string
	In       *time.Location
	Workflow uuid.UUID
	Segment  uuid.UUID
	Missed   Missed
	Enabled  bool
	Next     time.Time // zero: never
	Version  int32
	Created  time.Time
	Updated  time.Time
}

// MissingError means that something named is not there.
type MissingError struct{ Field string }

// Error implements error.
func (e *MissingError) Error() string { return "store: no such " + e.Field }

const scheduleColumns = `s.id, s.name, s.pattern, coalesce(s.time_zone, ''), s.workflow_id, s.segment_id, s.missed, s.enabled, s.next_fire_at, s.version, s.created_at, s.updated_at`

const selectSchedules = `
SELECT ` + scheduleColumns + ` FROM schedules s
WHERE  s.tenant_id = $1 AND s.archived_at IS NULL AND ($2::uuid IS NULL OR s.id < $2)
ORDER  BY s.id DESC LIMIT $3`

const selectSchedule = `SELECT ` + scheduleColumns + ` FROM schedules s WHERE s.tenant_id = $1 AND s.id = $2 AND s.archived_at IS NULL`

const insertSchedule = `
INSERT INTO schedules (tenant_id, id, name, pattern, time_zone, workflow_id, segment_id, missed, enabled, next_fire_at, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (SELECT app_now()), (SELECT app_now()))`

const updateSchedule = `
UPDATE schedules
SET    name = $4, pattern = $5, time_zone = $6, workflow_id = $7, segment_id = $8, missed = $9, enabled = $10, next_fire_at = $11,
       version = version + 1, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2 AND archived_at IS NULL AND version = $3`

const archiveSchedule = `
UPDATE schedules SET archived_at = (SELECT app_now()), enabled = false, version = version + 1, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2 AND archived_at IS NULL`

const selectReferences = `
SELECT (SELECT app_now()), EXISTS (SELECT FROM workflows w WHERE w.tenant_id = $1 AND w.id = $2 AND w.archived_at IS NULL),
       EXISTS (SELECT FROM segments g WHERE g.tenant_id = $1 AND g.id = $3 AND g.archived_at IS NULL)`

const scheduleCursor = "cursor.schedules"

// Schedules returns one page of a clinic's schedules, newest first. Errors wrap
// [ErrCursor] or [ErrUnavailable].
func (db *DB) Schedules(ctx context.Context, id tenant.ID, cursor string, size int) (page Page[Schedule], err error) {
	page, err = pageByID(ctx, db, id, scheduleCursor, cursor, size, selectSchedules, scanSchedule, func(s Schedule) uuid.UUID { return s.ID })
	return page, wrapped("store: schedules", err)
}

func scanSchedule(row pgx.CollectableRow, v viewer) (s Schedule, err error) {
	var next *time.Time
	err = row.Scan(&s.ID, &s.Name, &s.Pattern, &s.Zone, &s.Workflow, &s.Segment, &s.Missed, &s.Enabled, &next, &s.Version, &s.Created, &s.Updated)
	s.In = v.zone
	if s.Zone != "" {
		s.In = location(s.Zone)
	}
	if s.Enabled && next != nil {
		s.Next = next.In(s.In)
	}
	s.Created, s.Updated = s.Created.In(v.zone), s.Updated.In(v.zone)
	return s, err
}

// ScheduleByID returns one schedule, or [ErrNotFound].
func (db *DB) ScheduleByID(ctx context.Context, id tenant.ID, sched uuid.UUID) (s Schedule, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) (err error) {
		s, err = oneByID(ctx, db, tx, id, sched, selectSchedule, scanSchedule)
		return err
	})
	return s, wrapped("store: schedule", err)
}

// check says what is wrong with a schedule, and finds its next fire.
func (s *Schedule) check(ctx context.Context, tx pgx.Tx, id tenant.ID, zone *time.Location) error {
	p, err := schedule.Parse(s.Pattern)
	if err != nil {
		return err
	}
	if s.In = zone; s.Zone != "" {
		if s.In, err = schedule.Zone(s.Zone); err != nil {
			return &MissingError{"time_zone"}
		}
	}
	var now time.Time
	var hasWorkflow, hasSegment bool
	if err := tx.QueryRow(ctx, selectReferences, id, s.Workflow, s.Segment).Scan(&now, &hasWorkflow, &hasSegment); err != nil {
		return err
	}
	switch {
	case !hasWorkflow:
		return &MissingError{"workflow_id"}
	case !hasSegment:
		return &MissingError{"segment_id"}
	}
	s.Next = p.Next(now, s.In)
	return nil
}

// CreateSchedule saves a schedule; its first fire is the next one from now.
// Errors are those of [schedule.Parse], [MissingError], [ErrTaken] or wrap
// [ErrUnavailable].
func (db *DB) CreateSchedule(ctx context.Context, id tenant.ID, s Schedule) (out Schedule, err error) {
	s.ID = uuid.Must(uuid.NewV7())
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := s.check(ctx, tx, id, v.zone); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertSchedule, id, s.ID, s.Name, s.Pattern, nullText(s.Zone), s.Workflow, s.Segment, string(s.Missed), s.Enabled, nullTime(s.Next)); err != nil {
			return taken(err)
		}
		return db.tellSchedule(ctx, tx, id, s.ID, "schedule.create", &out)
	})
	return out, wrapped("store: create a schedule", err)
}

// ChangeSchedule changes one; seen is the version that the change was made from,
// 0 whichever there is. What was due and did not fire yet is left out: its next
// fire is the next one from now. Errors are those of [DB.CreateSchedule],
// [ErrChanged] or wrap [ErrNotFound].
func (db *DB) ChangeSchedule(ctx context.Context, id tenant.ID, sched uuid.UUID, seen int32, change func(*Schedule)) (out Schedule, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		s, err := oneByID(ctx, db, tx, id, sched, selectSchedule+" FOR UPDATE", scanSchedule)
		switch {
		case err != nil:
			return err
		case seen != 0 && seen != s.Version:
			return ErrChanged
		}
		change(&s)
		if err := s.check(ctx, tx, id, v.zone); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, updateSchedule, id, sched, s.Version, s.Name, s.Pattern, nullText(s.Zone), s.Workflow, s.Segment, string(s.Missed), s.Enabled, nullTime(s.Next))
		if err != nil {
			return taken(err)
		}
		return db.tellSchedule(ctx, tx, id, sched, "schedule.change", &out)
	})
	return out, wrapped("store: change a schedule", err)
}

// ArchiveSchedule ends one: it fires no more, and what it has started goes on.
// Errors wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) ArchiveSchedule(ctx context.Context, id tenant.ID, sched uuid.UUID) (out Schedule, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if err := db.tellSchedule(ctx, tx, id, sched, "schedule.delete", &out); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, archiveSchedule, id, sched)
		return err
	})
	out.Enabled, out.Next = false, time.Time{}
	return out, wrapped("store: delete a schedule", err)
}

func (db *DB) tellSchedule(ctx context.Context, tx pgx.Tx, id tenant.ID, sched uuid.UUID, action string, out *Schedule) (err error) {
	if *out, err = oneByID(ctx, db, tx, id, sched, selectSchedule, scanSchedule); err != nil {
		return err
	}
	return audit(ctx, tx, id, AuditEntry{Action: action, Subject: "schedule", SubjectID: sched, Detail: map[string]any{
		"version": out.Version, "pattern": out.Pattern, "workflow": out.Workflow, "segment": out.Segment, "enabled": out.Enabled,
	}})
}

// Fire is one fire of a schedule, or a campaign, on its way.
type Fire struct {
	ID       uuid.UUID
	At       time.Time
	AsOf     time.Time // a day
	State    string    // running, paused, done, cancelled, skipped
	Reason   string
	Expected int // -1: not counted yet
	Started  int
	Finished time.Time // zero: not yet
}

const fireColumns = `b.id, b.fire_at, b.as_of, b.state, coalesce(b.reason, ''), coalesce(b.expected, -1), b.started, b.finished_at`

const selectFires = `
SELECT ` + fireColumns + ` FROM batches b
WHERE  b.tenant_id = $1 AND b.schedule_id = $2
ORDER  BY b.fire_at DESC LIMIT $3`

// Fires returns the last fires of a schedule, newest first.
func (db *DB) Fires(ctx context.Context, id tenant.ID, sched uuid.UUID, n int) (list []Fire, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectFires, id, sched, n)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Fire, error) { return scanFire(row, v) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: fires: %w", err)
	}
	return list, nil
}

func scanFire(row pgx.CollectableRow, v viewer) (f Fire, err error) {
	var finished *time.Time
	err = row.Scan(&f.ID, &f.At, &f.AsOf, &f.State, &f.Reason, &f.Expected, &f.Started, &finished)
	f.At, f.Finished = f.At.In(v.zone), v.local(finished)
	return f, err
}
