package store

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// A trigger that is opened again is planned again, with the payload that it
// came with: workflows that have no run for it may get one, and what has run is
// left alone. One whose payload cannot be read any more stays as it is.
const reopenTriggers = `
UPDATE triggers t
SET    state = 'pending', reason = NULL, wake_at = (SELECT app_now())
FROM   unnest($2::uuid[]) AS n (id)
WHERE  t.tenant_id = $1 AND t.id = n.id AND t.state <> 'pending' AND t.payload_key IS NOT NULL
RETURNING t.id`

// Of triggers that were planned before, and of completed visits, the runs that
// are there. A visit has one run of a workflow, whichever of its events told
// of its end.
const selectRunsThere = `
SELECT n.id, e.workflow_id, e.trigger_id = n.id
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS n (tenant_id, id, appointment_id)
JOIN   LATERAL (
         SELECT e.workflow_id, e.trigger_id FROM workflow_executions e WHERE e.tenant_id = n.tenant_id AND e.trigger_id = n.id
         UNION ALL
         SELECT e.workflow_id, e.trigger_id FROM workflow_executions e
         JOIN   triggers o ON o.tenant_id = e.tenant_id AND o.id = e.trigger_id AND o.event_type = 'appointment.completed'
         WHERE  e.tenant_id = n.tenant_id AND e.appointment_id = n.appointment_id AND e.trigger_id <> n.id) e ON true`

// runsThere leaves out of every reading the workflows that have run for it.
func runsThere(ctx context.Context, tx querier, triggers []*planned) error {
	byID := map[uuid.UUID]*planned{}
	var tenants []tenant.ID
	var ids []uuid.UUID
	var appointments []*uuid.UUID
	for _, t := range triggers {
		visit := t.Appointment != nil && t.EventType == appointment.Completed.Type() && t.Only == uuid.Nil
		if !t.again && !visit {
			continue
		}
		byID[t.ID] = t
		tenants, ids = append(tenants, t.Tenant), append(ids, t.ID)
		var about *uuid.UUID
		if visit {
			about = &t.Appointment.ID
		}
		appointments = append(appointments, about)
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, selectRunsThere, tenants, ids, appointments)
	if err != nil {
		return err
	}
	var id, workflowID uuid.UUID
	var own bool
	_, err = pgx.ForEachRow(rows, []any{&id, &workflowID, &own}, func() error {
		t := byID[id]
		t.reading.Workflows = slices.DeleteFunc(slices.Clone(t.reading.Workflows), func(w uuid.UUID) bool { return w == workflowID })
		t.ran = t.ran || own
		t.hadRun = true
		return nil
	})
	return err
}

// underPatient opens the key of a trigger's payload that went with its patient.
func (db *DB) underPatient(keys *seal.TenantKeys, id tenant.ID, patient uuid.UUID, patientKey, wrapped []byte, trigger uuid.UUID) (k seal.Key, err error) {
	p, err := keys.Unwrap(patientKey, patientKeyAAD(id, patient))
	if err != nil {
		return k, err
	}
	return seal.Unwrap(p, wrapped, payloadKeyAAD(id, "triggers", trigger))
}
