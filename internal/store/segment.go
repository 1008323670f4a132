package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/doctorsflow/doctorsflow/internal/segment"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Segment is a saved question about patients.
type Segment struct {
	ID      uuid.UUID
	Name    string
	Filter  segment.Filter
	Version int32
	Created time.Time
	Updated time.Time
}

// Errors of what a clinic saves under a name.
var (
	// ErrTaken means that another one of the tenant has the name.
	ErrTaken = errors.New("store: another one has this name")
	// ErrInUse means that something in use refers to it.
	ErrInUse = errors.New("store: it is in use")
	// ErrChanged means that somebody changed it since the caller read it.
	ErrChanged = errors.New("store: it was changed since")
)

const segmentColumns = `s.id, s.name, s.filter, s.version, s.created_at, s.updated_at`

const selectSegments = `
SELECT ` + segmentColumns + ` FROM segments s
WHERE  s.tenant_id = $1 AND s.archived_at IS NULL AND ($2::uuid IS NULL OR s.id < $2)
ORDER  BY s.id DESC LIMIT $3`

const selectSegment = `SELECT ` + segmentColumns + ` FROM segments s WHERE s.tenant_id = $1 AND s.id = $2 AND s.archived_at IS NULL`

const insertSegment = `INSERT INTO segments (tenant_id, id, name, filter, created_at, updated_at) VALUES ($1, $2, $3, $4, (SELECT app_now()), (SELECT app_now()))`

const updateSegment = `
UPDATE segments SET name = coalesce($4, name), filter = coalesce($5::jsonb, filter), version = version + 1, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2 AND archived_at IS NULL AND ($3 = 0 OR version = $3)`

const archiveSegment = `
UPDATE segments s SET archived_at = (SELECT app_now()), version = version + 1, updated_at = (SELECT app_now())
WHERE  s.tenant_id = $1 AND s.id = $2 AND s.archived_at IS NULL
AND    NOT EXISTS (SELECT FROM schedules x WHERE x.tenant_id = s.tenant_id AND x.segment_id = s.id AND x.archived_at IS NULL)
AND    NOT EXISTS (SELECT FROM campaigns x WHERE x.tenant_id = s.tenant_id AND x.segment_id = s.id AND x.status IN ('draft', 'scheduled'))`

const segmentCursor = "cursor.segments"

// Segments returns one page of a clinic's segments, newest first. Errors wrap
// [ErrCursor] or [ErrUnavailable].
func (db *DB) Segments(ctx context.Context, id tenant.ID, cursor string, size int) (page Page[Segment], err error) {
	page, err = pageByID(ctx, db, id, segmentCursor, cursor, size, selectSegments, scanSegment, func(s Segment) uuid.UUID { return s.ID })
	return page, wrapped("store: segments", err)
}

func scanSegment(row pgx.CollectableRow, v viewer) (s Segment, err error) {
	err = row.Scan(&s.ID, &s.Name, &s.Filter, &s.Version, &s.Created, &s.Updated)
	s.Created, s.Updated = s.Created.In(v.zone), s.Updated.In(v.zone)
	return s, err
}

// SegmentByID returns one segment, or [ErrNotFound].
func (db *DB) SegmentByID(ctx context.Context, id tenant.ID, seg uuid.UUID) (s Segment, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) (err error) {
		s, err = db.segment(ctx, tx, id, seg)
		return err
	})
	return s, wrapped("store: segment", err)
}

func (db *DB) segment(ctx context.Context, tx pgx.Tx, id tenant.ID, seg uuid.UUID) (s Segment, err error) {
	return oneByID(ctx, db, tx, id, seg, selectSegment, scanSegment)
}

// CreateSegment saves a segment. Errors are [ErrTaken] or wrap
// [ErrUnavailable].
func (db *DB) CreateSegment(ctx context.Context, id tenant.ID, s Segment) (out Segment, err error) {
	s.ID = uuid.Must(uuid.NewV7())
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSegment, id, s.ID, s.Name, s.Filter); err != nil {
			return taken(err)
		}
		return db.tellSegment(ctx, tx, id, s.ID, "segment.create", &out)
	})
	return out, wrapped("store: create a segment", err)
}

// ChangeSegment changes what is given of one; seen is the version that the
// change was made from, 0 whichever there is. Errors are [ErrTaken],
// [ErrChanged] or wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) ChangeSegment(ctx context.Context, id tenant.ID, seg uuid.UUID, seen int32, name *string, filter *segment.Filter) (out Segment, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, updateSegment, id, seg, seen, name, filter)
		if err != nil {
			return taken(err)
		}
		if tag.RowsAffected() == 0 {
			if _, err := db.segment(ctx, tx, id, seg); err != nil {
				return err
			}
			return ErrChanged
		}
		return db.tellSegment(ctx, tx, id, seg, "segment.change", &out)
	})
	return out, wrapped("store: change a segment", err)
}

// ArchiveSegment takes one out of use. Errors are [ErrInUse] or wrap
// [ErrNotFound] or [ErrUnavailable].
func (db *DB) ArchiveSegment(ctx context.Context, id tenant.ID, seg uuid.UUID) (out Segment, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if err := db.tellSegment(ctx, tx, id, seg, "segment.delete", &out); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, archiveSegment, id, seg)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrInUse
		}
		return err
	})
	return out, wrapped("store: delete a segment", err)
}

// tellSegment reads one and writes the audit log.
func (db *DB) tellSegment(ctx context.Context, tx pgx.Tx, id tenant.ID, seg uuid.UUID, action string, out *Segment) (err error) {
	if *out, err = db.segment(ctx, tx, id, seg); err != nil {
		return err
	}
	return audit(ctx, tx, id, AuditEntry{Action: action, Subject: "segment", SubjectID: seg, Detail: map[string]any{"version": out.Version}})
}

// CountSegment counts whom a filter means on a day; the zero time is today, by
// the clinic's clocks.
func (db *DB) CountSegment(ctx context.Context, id tenant.ID, f segment.Filter, asOf time.Time) (n int, day time.Time, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		if day = asOf; day.IsZero() {
			if err := tx.QueryRow(ctx, selectNow).Scan(&day); err != nil {
				return err
			}
			day = day.In(v.zone)
		}
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, countAudience, audience(id, f, day, uuid.Nil)...).Scan(&n)
	})
	return n, day, wrapped("store: count a segment", err)
}

// Whoever is meant, and can be written to: a patient who was merged is another
// name of the other row.
const audienceWhere = `
WHERE  p.tenant_id = $1 AND p.erased_at IS NULL AND p.merged_into IS NULL AND p.phone IS NOT NULL AND p.id > $2
AND    ($3::date IS NULL OR p.last_visit_date >= $3) AND ($4::date IS NULL OR p.last_visit_date <= $4)
AND    ($5::date IS NULL OR p.last_surgery_date >= $5) AND ($6::date IS NULL OR p.last_surgery_date <= $6)
AND    ($7::smallint[] IS NULL OR p.birthday = ANY ($7))
AND    ($8::text IS NULL OR p.gender = $8)
AND    ($9::text[] IS NULL OR EXISTS (
         SELECT FROM appointments a WHERE a.tenant_id = p.tenant_id AND a.patient_id = p.id AND a.status = 'completed' AND a.surgery_type = ANY ($9)))
AND    ($10::bool IS NULL OR $10 = EXISTS (
         SELECT FROM appointments a WHERE a.tenant_id = p.tenant_id AND a.patient_id = p.id AND a.status IN ('requested', 'scheduled') AND a.appointment_date >= $11::date))
AND    ($12::text IS NULL OR coalesce((
         SELECT c.granted FROM consents c WHERE c.tenant_id = p.tenant_id AND c.patient_id = p.id AND c.purpose = 'marketing' AND c.channel = $12
         ORDER BY c.at DESC LIMIT 1), false))
AND    NOT $13`

const countAudience = `SELECT count(*) FROM patients p` + audienceWhere

const selectAudience = `SELECT p.id, p.data_key FROM patients p` + audienceWhere + `
ORDER  BY p.id LIMIT $14`

// audience are the arguments of a filter as of a day, behind a patient.
func audience(id tenant.ID, f segment.Filter, day time.Time, after uuid.UUID) []any {
	visit, surgery := f.LastVisit.Days(day), f.LastSurgery.Days(day)
	date := func(t time.Time) *string {
		if t.IsZero() {
			return nil
		}
		return new(t.Format(time.DateOnly))
	}
	return []any{
		id, after, date(visit.From), date(visit.Until), date(surgery.From), date(surgery.Until), f.Birthday.On(day), nullText(f.Gender), f.SurgeryTypes,
		f.UpcomingAppointment, day.Format(time.DateOnly), nullText(f.MarketingConsent), visit.None || surgery.None,
	}
}

// taken is [ErrTaken] where a name is.
func taken(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "23505" {
		return ErrTaken
	}
	return err
}

// pageByID reads one page of a list in the order of ids, newest first. sql takes
// the tenant, the id before, and a limit.
func pageByID[T any](ctx context.Context, db *DB, id tenant.ID, list, cursor string, size int, sql string, scan func(pgx.CollectableRow, viewer) (T, error), key func(T) uuid.UUID) (page Page[T], err error) {
	limit := pageSize(size)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(list, cursor)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, id, nullID(after.id), limit+1)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) { return scan(row, v) })
		page = cut(all, limit, func(t T) string { return v.cursor(list, position{id: key(t)}) })
		return err
	})
	return page, err
}

// oneByID reads one row, or returns [ErrNotFound].
func oneByID[T any](ctx context.Context, db *DB, tx pgx.Tx, id tenant.ID, key uuid.UUID, sql string, scan func(pgx.CollectableRow, viewer) (T, error)) (out T, err error) {
	v, err := db.viewer(ctx, tx, id)
	if err != nil {
		return out, err
	}
	rows, err := tx.Query(ctx, sql, id, key)
	if err != nil {
		return out, err
	}
	out, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (T, error) { return scan(row, v) })
	return out, notFound(err)
}

// ClinicTime is the time by the clinic's clocks. Errors wrap [ErrNotFound] or
// [ErrUnavailable].
func (db *DB) ClinicTime(ctx context.Context, id tenant.ID) (now time.Time, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, selectNow).Scan(&now)
		now = now.In(v.zone)
		return err
	})
	return now, wrapped("store: clinic's time", err)
}
