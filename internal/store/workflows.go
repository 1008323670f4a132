package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// WorkflowRow is one workflow with what is under way of it.
type WorkflowRow struct {
	ID      uuid.UUID
	Name    string
	Version int32 // the published one
	Active  bool
	Drawn   bool
	// Open counts runs that have not ended, Behind those of them that began with
	// an earlier version, Planned the messages that they have yet to send.
	Open, Behind, Planned int
}

const selectWorkflowRows = `
SELECT w.id, w.name, w.version, w.is_active, w.visual_data IS NOT NULL, count(e.id), count(e.id) FILTER (WHERE e.version <> w.version),
       coalesce(sum((SELECT count(*) FROM steps s WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id AND s.state = 'planned')), 0)::bigint
FROM   workflows w
LEFT   JOIN workflow_executions e ON e.tenant_id = w.tenant_id AND e.workflow_id = w.id AND e.status IN ('pending', 'running')
WHERE  w.tenant_id = $1
GROUP  BY w.tenant_id, w.id
ORDER  BY w.name`

// Workflows lists a tenant's workflows by name.
func (db *DB) Workflows(ctx context.Context, id tenant.ID) (list []WorkflowRow, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectWorkflowRows, id)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[WorkflowRow])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: workflows: %w", err)
	}
	return list, nil
}
