package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/segment"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Whoever was behind goes first, so that several go on together.
const selectBatch = `
SELECT b.tenant_id, b.id, b.schedule_id, b.campaign_id, coalesce(c.name, s.name), b.fire_at, b.as_of, b.workflow_id, b.version, b.filter, b.after, b.expected IS NULL,
       w.is_active, t.data_key, t.time_zone, t.send_at, t.calendar
FROM   batches b
JOIN   tenants t ON t.id = b.tenant_id
JOIN   workflows w ON w.tenant_id = b.tenant_id AND w.id = b.workflow_id
LEFT   JOIN campaigns c ON c.tenant_id = b.tenant_id AND c.id = b.campaign_id
LEFT   JOIN schedules s ON s.tenant_id = b.tenant_id AND s.id = b.schedule_id
WHERE  b.state = 'running'
ORDER  BY b.updated_at LIMIT 1
FOR    UPDATE OF b SKIP LOCKED`

const countListed = `
SELECT count(DISTINCT p.id) FROM campaigns c
CROSS  JOIN LATERAL jsonb_array_elements_text(c.target_patients) AS n (id)
JOIN   patients o ON o.tenant_id = c.tenant_id AND o.id = n.id::uuid
JOIN   patients p ON p.tenant_id = o.tenant_id AND p.id = coalesce(o.merged_into, o.id)
WHERE  c.tenant_id = $1 AND c.id = $2 AND p.erased_at IS NULL AND p.phone IS NOT NULL`

const selectListed = `
SELECT DISTINCT ON (p.id) p.id, p.data_key FROM campaigns c
CROSS  JOIN LATERAL jsonb_array_elements_text(c.target_patients) AS n (id)
JOIN   patients o ON o.tenant_id = c.tenant_id AND o.id = n.id::uuid
JOIN   patients p ON p.tenant_id = o.tenant_id AND p.id = coalesce(o.merged_into, o.id)
WHERE  c.tenant_id = $1 AND c.id = $2 AND p.erased_at IS NULL AND p.phone IS NOT NULL AND p.id > $3
ORDER  BY p.id LIMIT $4`

// Nobody is asked twice by two names: of those, the ones for whose other row
// this batch has a trigger already.
const selectReached = `
SELECT m.merged_into FROM patients m
JOIN   triggers t ON t.tenant_id = m.tenant_id AND t.source = $2 AND t.event_id = $3 || m.id::text
WHERE  m.tenant_id = $1 AND m.merged_into = ANY ($4)`

const insertBatchTriggers = `
INSERT INTO triggers (tenant_id, id, kind, source, event_id, event_type, body_hash, state, reason, patient_id, payload, payload_key, only_workflow, received_at, planned_at)
SELECT $1, n.id, $2, $3, $4 || n.patient_id::text, $2, '', 'planned', 'planned', n.patient_id, n.payload, n.payload_key, $5, $6, (SELECT app_now())
FROM   unnest($7::uuid[], $8::uuid[], $9::bytea[], $10::bytea[]) AS n (id, patient_id, payload, payload_key)`

const advanceBatch = `
UPDATE batches
SET    after = $3, started = started + $4, expected = coalesce(expected, $5), state = CASE WHEN $6 THEN 'done' ELSE state END,
       updated_at = clock_timestamp(), finished_at = CASE WHEN $6 THEN (SELECT app_now()) END
WHERE  tenant_id = $1 AND id = $2`

const cancelBatch = `
UPDATE batches SET state = 'cancelled', reason = $3, updated_at = (SELECT app_now()), finished_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2 AND state IN ('running', 'paused')`

// batchSize is how many patients one transaction plans for.
const batchSize = 1000

// planningBatch is a batch as a transaction has it.
type planningBatch struct {
	tenant             tenant.ID
	id, workflow       uuid.UUID
	schedule, campaign *uuid.UUID
	name               string
	fireAt, asOf       time.Time
	version            *int32
	filter             []byte
	after              uuid.UUID
	first, active      bool
	key                []byte
	zone               *time.Location
	sendAt             workflow.Clock
	calendar           *workflow.Calendar
}

// source and prefix name a patient's trigger of the batch.
func (b *planningBatch) source() (kind event.Kind, source, prefix string) {
	if b.campaign != nil {
		return event.Campaign, "campaign:" + b.campaign.String(), ""
	}
	return event.Cron, "cron:" + b.schedule.String(), b.fireAt.UTC().Format(time.RFC3339) + "/"
}

// PlanBatch plans the next patients of one batch, in one transaction: triggers,
// runs, steps, and how far it came. It reports false where no batch is left, or
// other copies are at all of them. What is due goes out by release, in its lane
// and within its bounds.
func (db *DB) PlanBatch(ctx context.Context, expand func(PendingTrigger, *workflow.Definition) Expansion) (planned int, more bool, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		planned, more = 0, false
		b, err := db.batch(ctx, tx)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if more = err == nil; err != nil {
			return err
		}
		if b.key == nil || !b.active || b.version == nil {
			_, err := tx.Exec(ctx, cancelBatch, b.tenant, b.id, string(event.WorkflowInactive))
			return err
		}
		planned, err = db.planBatch(ctx, tx, b, expand)
		return err
	})
	if planned > 0 {
		db.handle(planned)
	}
	return planned, more, wrapped("store: plan a batch", err)
}

func (db *DB) batch(ctx context.Context, tx pgx.Tx) (*planningBatch, error) {
	public, err := db.publicHolidays(ctx, tx)
	if err != nil {
		return nil, err
	}
	b := new(planningBatch)
	var zone string
	var sendAt pgtype.Time
	var calendar []byte
	err = tx.QueryRow(ctx, selectBatch).Scan(&b.tenant, &b.id, &b.schedule, &b.campaign, &b.name, &b.fireAt, &b.asOf, &b.workflow, &b.version, &b.filter, &b.after, &b.first,
		&b.active, &b.key, &zone, &sendAt, &calendar)
	if err != nil {
		return nil, err
	}
	b.zone, b.sendAt = location(zone), clock(sendAt)
	b.calendar, err = public.calendar(calendar)
	return b, err
}

func (db *DB) planBatch(ctx context.Context, tx pgx.Tx, b *planningBatch, expand func(PendingTrigger, *workflow.Definition) Expansion) (int, error) {
	keys, err := db.unwrap(b.tenant, b.key)
	if err != nil {
		return 0, err
	}
	d, err := db.definition(ctx, tx, b.tenant, b.workflow, *b.version)
	if err != nil {
		return 0, err
	}
	patients, last, expected, err := b.next(ctx, tx, keys)
	if err != nil {
		return 0, err
	}
	failpoint.Hit(failpoint.BatchPlanning)
	kind, source, prefix := b.source()
	var rows batchRows
	for _, p := range patients {
		t := &planned{PendingTrigger: PendingTrigger{
			Tenant: b.tenant, ID: uuid.Must(uuid.NewV7()), Kind: kind, EventType: string(kind), ReceivedAt: b.fireAt, Zone: b.zone, SendAt: b.sendAt, Calendar: b.calendar, Patient: p.id,
		}, patient: &p}
		if t.Payload, err = b.payload(p.id); err != nil {
			return 0, err
		}
		rows.add(t, b, expand(t.PendingTrigger, d))
	}
	var batch pgx.Batch
	if len(patients) > 0 {
		batch.Queue(insertBatchTriggers, b.tenant, string(kind), source, prefix, b.workflow, b.fireAt, rows.triggers, rows.patients, rows.payloads, rows.keys)
		batch.Queue(insertExecutions, rows.runs.args()...)
	}
	if len(rows.steps.ids) > 0 {
		batch.Queue(insertSteps, rows.steps.args()...)
	}
	if len(rows.rests.ids) > 0 {
		batch.Queue(insertRests, rows.rests.args()...)
	}
	batch.Queue(advanceBatch, b.tenant, b.id, last, len(patients), expected, last == b.after)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return 0, err
	}
	failpoint.Hit(failpoint.BatchPlanned)
	return len(patients), nil
}

// payload is what a run of the batch knows of its beginning. It begins with
// whom it is about, as every trigger's does.
func (b *planningBatch) payload(patient uuid.UUID) ([]byte, error) {
	type about struct {
		ID   *uuid.UUID `json:"id"`
		Name string     `json:"name"`
	}
	said := struct {
		ID       uuid.UUID `json:"id"`
		Campaign *about    `json:"campaign,omitempty"`
		Schedule *about    `json:"schedule,omitempty"`
		FireAt   time.Time `json:"fire_at"`
	}{ID: patient, FireAt: b.fireAt.In(b.zone)}
	if b.campaign != nil {
		said.Campaign = &about{b.campaign, b.name}
	} else {
		said.Schedule = &about{b.schedule, b.name}
	}
	return json.Marshal(said)
}

// next are the next patients, and the last one that was looked at: after itself
// where nobody is left. expected is counted once.
func (b *planningBatch) next(ctx context.Context, tx pgx.Tx, keys *seal.TenantKeys) (list []patientKey, last uuid.UUID, expected *int, err error) {
	if err := planFreely(ctx, tx); err != nil {
		return nil, last, nil, err
	}
	count, sql, args := countListed, selectListed, []any{b.tenant, b.campaign}
	every := append(args, b.after, batchSize)
	if b.filter != nil {
		var f segment.Filter
		if err := json.Unmarshal(b.filter, &f); err != nil {
			return nil, last, nil, err
		}
		count, sql, args = countAudience, selectAudience, audience(b.tenant, f, b.asOf, uuid.Nil)
		every = append(audience(b.tenant, f, b.asOf, b.after), batchSize)
	}
	if b.first {
		expected = new(int)
		if err := tx.QueryRow(ctx, count, args...).Scan(expected); err != nil {
			return nil, last, nil, err
		}
	}
	rows, err := tx.Query(ctx, sql, every...)
	if err != nil {
		return nil, last, nil, err
	}
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p patientKey, err error) {
		var sealed []byte
		if err := row.Scan(&p.id, &sealed); err != nil {
			return p, err
		}
		p.key, err = keys.Unwrap(sealed, patientKeyAAD(b.tenant, p.id))
		return p, err
	})
	last = b.after
	if err != nil || len(list) == 0 {
		return nil, last, expected, err
	}
	last = list[len(list)-1].id
	_, source, prefix := b.source()
	ids := make([]uuid.UUID, len(list))
	for i, p := range list {
		ids[i] = p.id
	}
	reached, err := collectIDs(tx.Query(ctx, selectReached, b.tenant, source, prefix, ids))
	if err != nil || len(reached) == 0 {
		return list, last, expected, err
	}
	fresh := list[:0]
	for _, p := range list {
		if !reached[p.id] {
			fresh = append(fresh, p)
		}
	}
	return fresh, last, expected, nil
}

// batchRows are what a batch writes.
type batchRows struct {
	triggers, patients []uuid.UUID
	payloads, keys     [][]byte
	runs               runRows
	steps              stepRows
	rests              restRows
}

func (r *batchRows) add(t *planned, b *planningBatch, plan Expansion) {
	own := seal.NewKey()
	r.triggers, r.patients = append(r.triggers, t.ID), append(r.patients, t.patient.id)
	r.payloads = append(r.payloads, own.Seal(t.Payload, column(b.tenant, "triggers", "payload", t.ID)))
	r.keys = append(r.keys, seal.Wrap(t.patient.key, own, payloadKeyAAD(b.tenant, "triggers", t.ID)))
	run := r.runs.add(t, b.workflow, *b.version, plan)
	if b.campaign != nil {
		r.runs.campaigns[len(r.runs.campaigns)-1] = *b.campaign
	}
	for _, s := range plan.Steps {
		// Before all time nothing is due: what is goes out by release, within the
		// bounds of the lane.
		r.steps.add(b.tenant, run, 0, s, time.Time{}, 0)
	}
	for _, n := range plan.Rests {
		r.rests.add(b.tenant, run, 0, n)
	}
}
