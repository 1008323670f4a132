package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// MessageLog is one message as it was sent or tried, opened for its tenant.
// Times are in the tenant's zone, and zero for what has not happened.
type MessageLog struct {
	ID      uuid.UUID // of the step
	Patient uuid.UUID
	// PatientName and Content are "", and PatientPhone is none, where there
	// never was one or the patient was erased.
	PatientName  string
	PatientPhone phone.Number
	Content      string
	Channel      event.Channel
	Status       string // pending, sent, failed, delivered
	Error        event.Reason
	Workflow     uuid.UUID
	Execution    uuid.UUID
	Campaign     uuid.UUID // zero: of none
	Root         uuid.UUID // the step that this one is the fallback of; itself otherwise
	Sent         time.Time
	Delivered    time.Time
	Created      time.Time
}

// LogQuery says which logs; zero values leave open.
type LogQuery struct {
	Status    string
	Channel   event.Channel
	Patient   uuid.UUID // with the rows that were merged with its own
	Workflow  uuid.UUID
	Execution uuid.UUID
	// From (inclusive) and To (exclusive) bound when a log was created.
	From, To time.Time
	// Cursor is the Next of the page before.
	Cursor string
	// Limit is the page's size; 0 means [DefaultPage], at most [MaxPage].
	Limit int
}

// The patient stands in two places that are always the same, so that the run's
// index finds the logs of one patient.
const selectMessageLogs = `
SELECT m.id, m.patient_id, m.channel, m.status, m.content, coalesce(m.error_message, ''),
       e.workflow_id, e.id, e.campaign_id, s.root_id, m.sent_at, m.delivered_at, m.created_at,
       p.data_key, p.name, p.phone
FROM   message_logs m
JOIN   steps s ON s.tenant_id = m.tenant_id AND s.id = m.id
JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
JOIN   patients p ON p.tenant_id = m.tenant_id AND p.id = m.patient_id
WHERE  m.tenant_id = $1
AND    ($2::text IS NULL OR m.status = $2)
AND    ($3::text IS NULL OR m.channel = $3)
AND    ($4::uuid[] IS NULL OR m.patient_id = ANY ($4) AND e.patient_id = ANY ($4))
AND    ($5::uuid IS NULL OR e.workflow_id = $5)
AND    ($6::uuid IS NULL OR e.id = $6)
AND    ($7::timestamptz IS NULL OR m.created_at >= $7)
AND    ($8::timestamptz IS NULL OR m.created_at < $8)
AND    ($9::timestamptz IS NULL OR (m.created_at, m.id) < ($9, $10::uuid))
ORDER  BY m.created_at DESC, m.id DESC
LIMIT  $11`

const logCursor = "cursor.message_logs"

// MessageLogs returns one page of a tenant's logs, newest first. Errors wrap
// [ErrCursor], [ErrErased] or [ErrUnavailable] where that is what happened.
func (db *DB) MessageLogs(ctx context.Context, id tenant.ID, q LogQuery) (page Page[MessageLog], err error) {
	limit := pageSize(q.Limit)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(logCursor, q.Cursor)
		if err != nil {
			return err
		}
		patients, err := wanted(ctx, tx, id, q.Patient)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectMessageLogs, id, nullText(q.Status), nullText(q.Channel),
			patients, nullID(q.Workflow), nullID(q.Execution), nullTime(q.From), nullTime(q.To),
			nullTime(after.at), after.id, limit+1)
		if err != nil {
			return err
		}
		logs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (MessageLog, error) { return scanLog(row, id, v) })
		page = cut(logs, limit, func(m MessageLog) string { return v.cursor(logCursor, position{m.Created, m.ID}) })
		return err
	})
	if err != nil {
		return Page[MessageLog]{}, fmt.Errorf("store: message logs: %w", err)
	}
	return page, nil
}

func scanLog(row pgx.CollectableRow, id tenant.ID, v viewer) (m MessageLog, err error) {
	var campaign *uuid.UUID
	var sent, delivered *time.Time
	var content, wrapped, name, number []byte
	if err := row.Scan(&m.ID, &m.Patient, &m.Channel, &m.Status, &content, &m.Error,
		&m.Workflow, &m.Execution, &campaign, &m.Root, &sent, &delivered, &m.Created,
		&wrapped, &name, &number); err != nil {
		return m, err
	}
	if campaign != nil {
		m.Campaign = *campaign
	}
	m.Sent, m.Delivered, m.Created = v.local(sent), v.local(delivered), m.Created.In(v.zone)

	// What does not open is not shown, be it erased or moved from another
	// row: one such row must not hide the others.
	key, err := v.keys.Unwrap(wrapped, patientKeyAAD(id, m.Patient))
	if err != nil {
		return m, nil
	}
	m.Content, _ = openText(key, content, column(id, "message_logs", "content", m.ID))
	m.PatientName, _ = openText(key, name, column(id, "patients", "name", m.Patient))
	if e164, err := openText(key, number, column(id, "patients", "phone", m.Patient)); err == nil && e164 != "" {
		m.PatientPhone, _ = phone.FromE164(e164)
	}
	return m, nil
}

func nullID(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
