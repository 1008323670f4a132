package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// AppointmentEvent is one event to be kept.
type AppointmentEvent struct {
	appointment.Event
	// To is the patient's number, read; the zero value where none was said.
	To phone.Number
	Hand
}

// AppointmentReceipt is what became of an event.
type AppointmentReceipt struct {
	Status AcceptStatus // accepted, duplicate, conflict or refused
	// Why is the reason of a refusal.
	Why         event.Reason
	Appointment uuid.UUID
	// Trigger is zero for a duplicate that was not kept again: a source that says
	// how things stand, and without an order, said nothing new.
	Trigger uuid.UUID
	// Late says that a newer event was known already: this one is kept, and
	// changed nothing that the newer one had said.
	Late    bool
	Version int32
	// Plans is what changed in the runs that were open.
	Plans Replanned
}

const selectKnownAppointmentEvent = `
SELECT v.appointment_id, v.trigger_id, v.late, ap.version, t.body_hash
FROM   appointment_events v
JOIN   appointments ap ON ap.tenant_id = v.tenant_id AND ap.id = v.appointment_id
JOIN   triggers t ON t.tenant_id = v.tenant_id AND t.id = v.trigger_id
WHERE  v.tenant_id = $1 AND v.event_id = $2`

const selectAppointmentTenant = `SELECT data_key, time_zone, (SELECT app_now()) FROM tenants WHERE id = $1`

const lockAppointment = `
SELECT ` + currentAppointment + ` FROM appointments ap WHERE ap.tenant_id = $1 AND ap.source = $2 AND ap.external_id = $3 FOR UPDATE`

const insertAppointment = `
INSERT INTO appointments (tenant_id, id, patient_id, source, external_id, created_at, updated_at, moved_at)
VALUES ($1, $2, $3, $4, $5, (SELECT app_now()), (SELECT app_now()), (SELECT app_now()))
ON CONFLICT (tenant_id, source, external_id) WHERE external_id IS NOT NULL DO NOTHING`

const selectAppointmentChanges = `
SELECT v.sequence, v.at, v.event_id, v.kind, coalesce(v.stands, ''), coalesce(v.appointment_date::text, ''), v.appointment_time, v.surgery_type
FROM   appointment_events v WHERE v.tenant_id = $1 AND v.appointment_id = $2`

const insertAppointmentTrigger = `
INSERT INTO triggers (tenant_id, id, kind, source, event_id, event_type, body_hash, payload, payload_key, wake_at, received_at)
VALUES ($1, $2, 'appointment', $3, $4, $5, $6, $7, $8, (SELECT app_now()), (SELECT app_now()))`

// It starts nothing, and what it says is with those before it.
const insertQuietTrigger = `
INSERT INTO triggers (tenant_id, id, kind, source, event_id, event_type, body_hash, state, reason, planned_at, received_at)
VALUES ($1, $2, 'appointment', 'appointment', $3, $4, $5, 'ignored', $6, (SELECT app_now()), (SELECT app_now()))`

const insertAppointmentEvent = `
INSERT INTO appointment_events (tenant_id, id, event_id, appointment_id, trigger_id, kind, sequence, at, late, appointment_date, appointment_time, surgery_type, stands, received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, nullif($10::text, '')::date, $11, $12, nullif($13::text, ''), (SELECT app_now()))
ON CONFLICT (tenant_id, event_id) DO NOTHING`

const updateAppointment = `
UPDATE appointments
SET    status = $3, appointment_date = nullif($4::text, '')::date, appointment_time = $5, starts_at = $6, surgery_type = nullif($7::text, ''),
       source_version = $8, version = version + 1, updated_at = (SELECT app_now()), moved_at = CASE WHEN $9 THEN (SELECT app_now()) ELSE moved_at END
WHERE  tenant_id = $1 AND id = $2`

const visitPatient = `
UPDATE patients
SET    last_visit_date = greatest(last_visit_date, $3::date), updated_at = (SELECT app_now()),
       last_surgery_date = CASE WHEN $4 THEN greatest(last_surgery_date, $3::date) ELSE last_surgery_date END
WHERE  tenant_id = $1 AND id = (SELECT coalesce(merged_into, id) FROM patients WHERE tenant_id = $1 AND id = $2) AND erased_at IS NULL`

// errOnceMore means that another transaction was faster: what it wrote is seen
// at the second look.
var errOnceMore = errors.New("store: once more")

// AcceptAppointmentEvent keeps an event, once, and in the same transaction makes
// the appointment what its events add up to and the plans of its open runs what
// again says; see [DB.Replan]. When it returns, nothing of a superseded plan is
// sent but what the receipt names in flight. Which workflows the event starts
// is left to the planner. Errors wrap [ErrUnavailable] where the outcome is not
// known: the same event again is then a duplicate, or accepted.
func (db *DB) AcceptAppointmentEvent(ctx context.Context, id tenant.ID, e AppointmentEvent, again func(*Replanning) NewPlan) (out AppointmentReceipt, err error) {
	if err := e.check(false); err != nil {
		return out, err
	}
	for range 5 {
		err = db.asWorker(ctx, func(tx pgx.Tx) (err error) {
			k := keeping{db: db, tx: tx, id: id, e: &e, kind: e.Kind}
			if err := k.keep(ctx, again); err != nil {
				return err
			}
			out = k.out
			return nil
		})
		if !errors.Is(err, errOnceMore) {
			break
		}
	}
	if err == nil {
		return out, nil
	}
	if errors.Is(err, errOnceMore) {
		err = fmt.Errorf("%w: others were faster", ErrUnavailable)
	}
	if r, ok := errors.AsType[*refusedEvent](err); ok {
		return AppointmentReceipt{Status: Refused, Why: r.why}, nil
	}
	return AppointmentReceipt{}, fmt.Errorf("store: accept an appointment's event: %w", err)
}

// refusedEvent takes everything back that was done for an event.
type refusedEvent struct{ why event.Reason }

func (e *refusedEvent) Error() string { return "store: refused: " + string(e.why) }

// keeping is one event on its way through its transaction.
type keeping struct {
	db   *DB
	tx   pgx.Tx
	id   tenant.ID
	e    *AppointmentEvent
	keys *seal.TenantKeys
	zone *time.Location
	now  time.Time
	was  *Appointment
	// kind is the event's, or what was made of where it stands.
	kind appointment.Kind
	// quiet says that it is kept for its place in the order alone.
	quiet bool
	out   AppointmentReceipt
}

func (k *keeping) keep(ctx context.Context, again func(*Replanning) NewPlan) error {
	var wrapped []byte
	var zone string
	if err := k.tx.QueryRow(ctx, selectAppointmentTenant, k.id).Scan(&wrapped, &zone, &k.now); err != nil {
		return notFound(err)
	}
	var err error
	if k.keys, err = k.db.unwrap(k.id, wrapped); err != nil {
		return err
	}
	k.zone = location(zone)
	if w := k.e.Wall; !w.IsZero() {
		k.e.At = time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), k.zone)
	}
	if known, err := k.known(ctx); known || err != nil {
		return err
	}
	if err := k.find(ctx); err != nil {
		return err
	}
	changes, before, err := k.changes(ctx)
	if err != nil {
		return err
	}
	mine := k.change()
	k.out.Late = len(changes) > 0 && mine.Compare(before.Last) < 0
	if mine.Stands != "" {
		// What has an order of its own is kept even where it says nothing new:
		// it may be newer than what comes late.
		if len(changes) > 0 && k.e.Sequence == 0 && k.e.At.IsZero() && !mine.Says(before) {
			k.out.Status, k.out.Version = Duplicate, k.was.Version
			return nil
		}
		known := appointment.Before(changes, mine.Rank)
		mine.Kind = appointment.Became(known, mine.Stands, mine.When)
		k.kind, k.quiet = mine.Kind, known != nil && !mine.Says(*known)
	}
	if err := k.write(ctx, mine); err != nil {
		return err
	}
	after := appointment.Fold(append(changes, mine))
	if err := k.apply(ctx, before, after, len(changes) == 0, again); err != nil {
		return err
	}
	return audit(ctx, k.tx, k.id, AuditEntry{
		Hand: k.e.Hand, Action: k.kind.Type(), Subject: "appointment", SubjectID: k.out.Appointment, Patients: []uuid.UUID{k.was.Patient},
		Detail: map[string]any{"trigger": k.out.Trigger, "late": k.out.Late, "runs": k.out.Plans.Runs, "in_flight": len(k.out.Plans.InFlight)},
	})
}

// known answers an event that was kept before.
func (k *keeping) known(ctx context.Context) (bool, error) {
	var hash []byte
	err := k.tx.QueryRow(ctx, selectKnownAppointmentEvent, k.id, k.e.ID).Scan(&k.out.Appointment, &k.out.Trigger, &k.out.Late, &k.out.Version, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	k.out.Status = Duplicate
	if !bodyHash(blinds(k.keys, indexBody, string(k.e.Raw))).is(hash) {
		k.out.Status = Conflict
	}
	return true, err
}

// find locks the appointment, or makes it.
func (k *keeping) find(ctx context.Context) error {
	err := k.tx.QueryRow(ctx, lockAppointment, k.id, k.e.Source, k.e.Appointment).Scan(&k.was)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if k.was != nil && k.e.Patient.ExternalID == "" {
		k.out.Appointment = k.was.ID
		return nil // whose it is was said before
	}
	patient, err := k.patient(ctx)
	if err != nil {
		return err
	}
	if k.was != nil {
		k.out.Appointment = k.was.ID
		if patient == k.was.Patient {
			return nil
		}
		family, err := familyOf(ctx, k.tx, k.id, k.was.Patient)
		if err == nil && !slices.Contains(family, patient) {
			err = &refusedEvent{event.AmbiguousPatient}
		}
		return err
	}
	k.was = &Appointment{ID: uuid.Must(uuid.NewV7()), Patient: patient}
	k.out.Appointment = k.was.ID
	tag, err := k.tx.Exec(ctx, insertAppointment, k.id, k.was.ID, patient, k.e.Source, k.e.Appointment)
	if err == nil && tag.RowsAffected() == 0 {
		return errOnceMore
	}
	return err
}

// patient finds whom the event names, or makes the patient where it may.
func (k *keeping) patient(ctx context.Context) (uuid.UUID, error) {
	ref := PatientRef{ExternalID: k.e.Patient.ExternalID, Name: k.e.Patient.Name, Phone: k.e.To}
	t := &planned{PendingTrigger: PendingTrigger{Tenant: k.id, CreatePatients: k.e.Patient.Create}, tenantKey: k.keys, reading: Reading{Patient: ref}}
	if ref.ExternalID == "" && ref.Phone.IsZero() {
		return uuid.Nil, &refusedEvent{event.InvalidPatient}
	}
	if err := k.db.resolvePatients(ctx, k.tx, []*planned{t}); err != nil {
		return uuid.Nil, err
	}
	if t.patient == nil {
		return uuid.Nil, &refusedEvent{t.reading.Ignored}
	}
	return t.patient.id, nil
}

// changes reads what the appointment's events said before this one.
func (k *keeping) changes(ctx context.Context) (list []appointment.Change, s appointment.State, err error) {
	rows, err := k.tx.Query(ctx, selectAppointmentChanges, k.id, k.was.ID)
	if err != nil {
		return nil, s, err
	}
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c appointment.Change, err error) {
		var date string
		var at pgtype.Time
		if err := row.Scan(&c.Sequence, &c.At, &c.ID, &c.Kind, &c.Stands, &date, &at, &c.Surgery); err != nil || date == "" {
			return c, err
		}
		c.When = &appointment.When{Date: date}
		if at.Valid {
			clock := clock(at)
			c.When.Time = &clock
		}
		return c, nil
	})
	return list, appointment.Fold(list), err
}

// change is what this event says, by the clinic's clocks.
func (k *keeping) change() appointment.Change {
	c := appointment.Change{Rank: appointment.Rank{Sequence: k.e.Sequence, At: k.e.At, ID: k.e.ID}, Kind: k.e.Kind, Stands: k.e.Stands, When: k.e.When, Surgery: k.e.Surgery}
	if c.At.IsZero() {
		c.At = k.now
	}
	if !k.e.StartsAt.IsZero() {
		c.When = appointment.At(k.e.StartsAt, k.zone)
	}
	return c
}

// write keeps the event and its trigger.
func (k *keeping) write(ctx context.Context, c appointment.Change) error {
	k.out.Status, k.out.Trigger = Accepted, uuid.Must(uuid.NewV7())
	own := seal.NewKey()
	hash := bodyHash(blinds(k.keys, indexBody, string(k.e.Raw))).written()
	// The id is unique among all sources here; the trigger's source is one.
	var err error
	if k.quiet {
		_, err = k.tx.Exec(ctx, insertQuietTrigger, k.id, k.out.Trigger, k.e.ID, k.kind.Type(), hash, string(event.NothingNew))
	} else {
		_, err = k.tx.Exec(ctx, insertAppointmentTrigger, k.id, k.out.Trigger, "appointment", k.e.ID, k.kind.Type(), hash,
			own.Seal(k.e.Raw, column(k.id, "triggers", "payload", k.out.Trigger)), k.keys.Wrap(own, payloadKeyAAD(k.id, "triggers", k.out.Trigger)))
	}
	if unique(err) {
		return errOnceMore
	}
	if err != nil {
		return err
	}
	date, at := split(c.When)
	tag, err := k.tx.Exec(ctx, insertAppointmentEvent, k.id, uuid.Must(uuid.NewV7()), k.e.ID, k.was.ID, k.out.Trigger, string(c.Kind), c.Sequence, c.At, k.out.Late, date, at, c.Surgery, string(c.Stands))
	if err == nil && tag.RowsAffected() == 0 {
		return errOnceMore
	}
	return err
}

// apply makes the appointment, and what is planned for it, what the events say.
func (k *keeping) apply(ctx context.Context, before, after appointment.State, first bool, again func(*Replanning) NewPlan) error {
	k.out.Version = k.was.Version
	moved := !before.When.Same(after.When)
	if !first && !moved && before.Status == after.Status && before.Surgery == after.Surgery {
		return nil
	}
	date, at := split(after.When)
	starts := nullTime(after.When.Starts(k.zone))
	if _, err := k.tx.Exec(ctx, updateAppointment, k.id, k.was.ID, string(after.Status), date, at, starts, after.Surgery, after.Last.Sequence, moved); err != nil {
		return err
	}
	k.out.Version++
	if !first {
		r := Replan{Appointment: k.was.ID, Hand: k.e.Hand, Action: "appointment.replan"}
		for last, more := uuid.Nil, true; more; {
			var part Replanned
			var err error
			if part, last, more, err = k.db.replanSome(ctx, k.tx, k.id, r, last, again); err != nil {
				return err
			}
			k.out.Plans.add(part)
		}
	}
	if after.Status == appointment.HasCompleted && date != "" {
		_, err := k.tx.Exec(ctx, visitPatient, k.id, k.was.Patient, date, after.Surgery != "")
		return err
	}
	return nil
}

// unique reports a row that another transaction wrote first.
func unique(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23505"
}

// split is a date and a time as columns have them.
func split(w *appointment.When) (date string, at pgtype.Time) {
	if w == nil {
		return "", at
	}
	if w.Time != nil {
		at = pgtype.Time{Microseconds: int64(w.Time.Hour*3600+w.Time.Minute*60) * 1_000_000, Valid: true}
	}
	return w.Date, at
}
