package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Subject is a patient, opened for their clinic, with everything that decides
// what they are sent, and the event that begins a run.
type Subject struct {
	Patient    uuid.UUID
	ExternalID string
	Name       string
	To         phone.Number
	// Facts are the patient's part of the world, as expressions see it.
	Facts map[string]any
	// OptedOut are the classes that the patient wants nothing of, by channel;
	// "*" is every one. Consented is to marketing.
	OptedOut  map[event.Channel][]string
	Consented map[event.Channel]bool
	// Recent is what the patient was sent before the event, as far as a cap
	// remembers.
	Recent []workflow.Sending
	Erased bool

	Kind    event.Kind // of the event
	Event   string     // its name
	At      time.Time  // when it happened
	Payload []byte     // what was said of it, one JSON document; nil if it cannot be opened
	// Appointment is what it is about, as that stands; nil if it is about none.
	Appointment *Appointment
}

// MaxCohort bounds the subjects of one question.
const MaxCohort = 20_000

// CohortQuery chooses subjects: patients, or the runs of a workflow as they
// began.
type CohortQuery struct {
	// Workflow, if set, takes its runs that began since Since, each with its
	// own event; otherwise patients are taken, without an event.
	Workflow uuid.UUID
	Since    time.Time
	// Patients and ExternalIDs name patients; if both are empty, all are taken.
	Patients    []uuid.UUID
	ExternalIDs []string
	// Limit is how many at most; 0 means [MaxCohort], which is the most.
	Limit int
}

// Setting is what of a clinic a plan and its messages depend on.
type Setting struct {
	Clinic
	SendAt   workflow.Clock
	Calendar *workflow.Calendar
	// Channels are those for which the clinic has a gateway account.
	Channels []event.Channel
}

const selectSetting = `
SELECT t.name, coalesce(t.phone, ''), t.time_zone, t.send_at, t.quiet_from, t.quiet_until, t.send_windows, t.frequency_caps, t.calendar,
       ARRAY(SELECT a.channel FROM provider_accounts a WHERE a.tenant_id = t.id AND a.enabled ORDER BY a.channel)
FROM   tenants t WHERE t.id = $1`

// What is said of a patient, as claims and resting runs read it.
const cohortColumns = `
       p.id, coalesce(p.external_id, ''), p.data_key, p.name, p.phone,
       jsonb_strip_nulls(jsonb_build_object('gender', p.gender, 'external_id', p.external_id,
         'last_visit_date', p.last_visit_date, 'last_surgery_date', p.last_surgery_date)),
       ARRAY(SELECT coalesce(x.channel, '*') || ' ' || coalesce(x.class, '*') FROM suppressions x
             WHERE x.tenant_id = p.tenant_id AND x.phone_index = p.phone_index AND x.lifted_at IS NULL),
       ARRAY(SELECT c.channel FROM (
               SELECT DISTINCT ON (channel) channel, granted FROM consents
               WHERE tenant_id = p.tenant_id AND patient_id = p.id AND purpose = 'marketing' ORDER BY channel, at DESC) c
             WHERE c.granted),
       coalesce((SELECT x.recent FROM patient_sendings x WHERE x.tenant_id = p.tenant_id AND x.patient_id = p.id), '[]')`

const selectCohortOfPatients = `
SELECT` + cohortColumns + `, '', '', NULL::timestamptz, NULL::uuid, NULL::bytea, NULL::bytea, NULL::jsonb, p.id, p.data_key
FROM   patients p
WHERE  p.tenant_id = $1 AND p.erased_at IS NULL AND p.merged_into IS NULL
AND    (cardinality($2::uuid[]) + cardinality($3::text[]) = 0 OR p.id = ANY ($2) OR p.external_id = ANY ($3) OR p.id IN (
         SELECT m.merged_into FROM patients m WHERE m.tenant_id = $1 AND m.merged_into IS NOT NULL AND (m.id = ANY ($2) OR m.external_id = ANY ($3))))
ORDER  BY p.id LIMIT $4`

const selectCohortOfRuns = `
SELECT` + cohortColumns + `, g.kind, g.event_type, g.received_at, g.id, g.payload, g.payload_key, ` + currentAppointment + `, r.id, r.data_key
FROM   workflow_executions e
JOIN   patients r ON r.tenant_id = e.tenant_id AND r.id = e.patient_id
JOIN   patients p ON p.tenant_id = r.tenant_id AND p.id = coalesce(r.merged_into, r.id)
JOIN   triggers g ON g.tenant_id = e.tenant_id AND g.id = e.trigger_id
LEFT   JOIN appointments ap ON ap.tenant_id = e.tenant_id AND ap.id = e.appointment_id
WHERE  e.tenant_id = $1 AND e.workflow_id = $5 AND e.created_at >= $6
AND    (cardinality($2::uuid[]) + cardinality($3::text[]) = 0 OR p.id = ANY ($2) OR p.external_id = ANY ($3))
ORDER  BY e.id LIMIT $4`

// Cohort reads subjects with the clinic's settings, and whether there are more
// than the limit. Whoever calls it writes the audit log. Errors wrap
// [ErrNotFound], [ErrErased] or [ErrUnavailable] where that is what happened.
func (db *DB) Cohort(ctx context.Context, id tenant.ID, q CohortQuery) (s Setting, list []Subject, more bool, err error) {
	limit := q.Limit
	if limit <= 0 || limit > MaxCohort {
		limit = MaxCohort
	}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		if s, err = db.setting(ctx, tx, id); err != nil {
			return err
		}
		sql, args := selectCohortOfPatients, []any{id, orNone(q.Patients), orNone(q.ExternalIDs), limit + 1}
		if q.Workflow != uuid.Nil {
			sql, args = selectCohortOfRuns, append(args, q.Workflow, q.Since)
		}
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Subject, error) { return subject(row, id, v) })
		if more = len(list) > limit; more {
			list = list[:limit]
		}
		return err
	})
	if err != nil {
		return Setting{}, nil, false, fmt.Errorf("store: cohort: %w", err)
	}
	return s, list, more, nil
}

// orNone keeps an empty list from being NULL.
func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (db *DB) setting(ctx context.Context, tx querier, id tenant.ID) (s Setting, err error) {
	public, err := db.publicHolidays(ctx, tx)
	if err != nil {
		return s, err
	}
	var zone string
	var sendAt, from, until pgtype.Time
	var windows, caps, calendar []byte
	err = tx.QueryRow(ctx, selectSetting, id).Scan(&s.Name, &s.Phone, &zone, &sendAt, &from, &until, &windows, &caps, &calendar, &s.Channels)
	if err != nil {
		return s, notFound(err)
	}
	s.Zone, s.SendAt = location(zone), clock(sendAt)
	s.Quiet, s.QuietFrom, s.QuietUntil = from.Valid, clock(from), clock(until)
	if err := s.rules(windows, caps); err != nil {
		return s, err
	}
	s.Calendar, err = public.calendar(calendar)
	return s, err
}

func subject(row pgx.CollectableRow, id tenant.ID, v viewer) (s Subject, err error) {
	var wrapped, name, number, facts, recent, payload, payloadKey []byte
	var optedOut []string
	var consented []event.Channel
	var at *time.Time
	var trigger *uuid.UUID
	var own uuid.UUID // the row that the event was, whose key has its payload
	var ownKey []byte
	if err := row.Scan(&s.Patient, &s.ExternalID, &wrapped, &name, &number, &facts, &optedOut, &consented, &recent, &s.Kind, &s.Event, &at, &trigger, &payload, &payloadKey, &s.Appointment, &own, &ownKey); err != nil {
		return s, err
	}
	if err := json.Unmarshal(facts, &s.Facts); err != nil {
		return s, err
	}
	if err := s.remember(recent, at); err != nil {
		return s, err
	}
	s.OptedOut, s.Consented = map[event.Channel][]string{}, map[event.Channel]bool{}
	for _, c := range []event.Channel{event.Kakao, event.SMS} {
		for _, o := range optedOut {
			if channel, class, _ := strings.Cut(o, " "); channel == "*" || channel == string(c) {
				s.OptedOut[c] = append(s.OptedOut[c], class)
			}
		}
	}
	for _, c := range consented {
		s.Consented[c] = true
	}
	if at != nil {
		s.At = *at
	}
	if s.Erased = wrapped == nil; s.Erased {
		return s, nil
	}
	key, err := v.keys.Unwrap(wrapped, patientKeyAAD(id, s.Patient))
	if err != nil {
		return s, err
	}
	if s.Name, err = openText(key, name, column(id, "patients", "name", s.Patient)); err != nil {
		return s, err
	}
	e164, err := openText(key, number, column(id, "patients", "phone", s.Patient))
	if err != nil {
		return s, err
	}
	if e164 != "" {
		if s.To, err = phone.FromE164(e164); err != nil {
			return s, err
		}
	}
	if trigger == nil || payloadKey == nil || ownKey == nil {
		return s, nil
	}
	if key, err = v.keys.Unwrap(ownKey, patientKeyAAD(id, own)); err != nil {
		return s, err
	}
	// As in openPayload: what can no longer be opened is missing.
	if k, err := seal.Unwrap(key, payloadKey, payloadKeyAAD(id, "triggers", *trigger)); err == nil {
		s.Payload, _ = k.Open(payload, column(id, "triggers", "payload", *trigger))
		s.Payload = s.Appointment.over(s.Payload, v.zone)
	}
	return s, nil
}

// Definition reads a published version of a workflow; version 0 is the one in
// force. Errors wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) Definition(ctx context.Context, id tenant.ID, wf uuid.UUID, version int32) (d *workflow.Definition, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if version == 0 {
			if err := tx.QueryRow(ctx, selectVersion, id, wf).Scan(&version); err != nil {
				return notFound(err)
			}
		}
		d, err = db.definition(ctx, tx, id, wf, version)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: definition: %w", err)
	}
	return d, nil
}

const selectVersion = `SELECT version FROM workflows WHERE tenant_id = $1 AND id = $2 AND version > 0`

// remember reads what the patient was sent before the event; what came after
// the event of a run that is replayed may be the run's own.
func (s *Subject) remember(recent []byte, began *time.Time) error {
	var list []sending
	if err := json.Unmarshal(recent, &list); err != nil {
		return fmt.Errorf("patient_sendings: %w", err)
	}
	for _, x := range list {
		if began == nil || x.At.Before(*began) {
			s.Recent = append(s.Recent, x.Sending)
		}
	}
	return nil
}
