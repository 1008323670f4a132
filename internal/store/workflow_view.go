package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// WorkflowView is one workflow as its authors see it.
type WorkflowView struct {
	ID       uuid.UUID
	Name     string
	Active   bool
	Archived time.Time // zero: in use
	Version  int32     // the published one; 0: none yet
	// DraftVersion is raised by every change of the draft and every publication.
	DraftVersion int32
	// Drafted says that there is a draft, which is not published.
	Drafted bool
	Drawn   bool
	// TriggerType and TargetSurgeryType are the published ones, or the draft's
	// where nothing is.
	TriggerType, TargetSurgeryType string
	Created, Updated               time.Time

	// Content is the draft, or what is published where there is none. Lists
	// leave it out, and Problems.
	Content clinic.Workflow
	// Problems are what keeps Content from being published now.
	Problems []workflow.Problem
}

// WorkflowQuery says which workflows.
type WorkflowQuery struct {
	// Archived lists those that were deleted instead of the others.
	Archived bool
	// Cursor is the Next of the page before.
	Cursor string
	// Limit is the page's size; 0 means [DefaultPage], at most [MaxPage].
	Limit int
}

const workflowColumns = `w.id, w.name, w.is_active, w.archived_at, w.version, w.draft_version, w.draft IS NOT NULL,
       CASE WHEN w.draft IS NULL THEN w.visual_data IS NOT NULL ELSE coalesce(w.draft ->> 'visual_data', '') <> '' END,
       w.trigger_type, coalesce(w.target_surgery_type, ''), w.created_at, w.updated_at`

const selectWorkflowViews = `
SELECT ` + workflowColumns + `
FROM   workflows w
WHERE  w.tenant_id = $1 AND (w.archived_at IS NOT NULL) = $2 AND ($3::uuid IS NULL OR w.id < $3)
ORDER  BY w.id DESC
LIMIT  $4`

const workflowCursor = "cursor.workflows"

// WorkflowPage returns one page of a tenant's workflows, newest first, without
// their content. Errors wrap [ErrCursor] or [ErrUnavailable].
func (db *DB) WorkflowPage(ctx context.Context, id tenant.ID, q WorkflowQuery) (page Page[WorkflowView], err error) {
	limit := pageSize(q.Limit)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(workflowCursor, q.Cursor)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectWorkflowViews, id, q.Archived, nullID(after.id), limit+1)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, v.scanWorkflow)
		page = cut(list, limit, func(w WorkflowView) string { return v.cursor(workflowCursor, position{id: w.ID}) })
		return err
	})
	if err != nil {
		return Page[WorkflowView]{}, fmt.Errorf("store: workflows: %w", err)
	}
	return page, nil
}

func (v viewer) scanWorkflow(row pgx.CollectableRow) (w WorkflowView, err error) {
	var archived *time.Time
	err = row.Scan(&w.ID, &w.Name, &w.Active, &archived, &w.Version, &w.DraftVersion, &w.Drafted, &w.Drawn, &w.TriggerType, &w.TargetSurgeryType, &w.Created, &w.Updated)
	w.Archived, w.Created, w.Updated = v.local(archived), v.local(&w.Created), v.local(&w.Updated)
	return w, err
}

const selectWorkflowView = `SELECT ` + workflowColumns + ` FROM workflows w WHERE w.tenant_id = $1 AND w.id = $2`

// Workflow returns one workflow with its draft and that draft's problems.
// Errors wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) Workflow(ctx context.Context, id tenant.ID, wf uuid.UUID) (w WorkflowView, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		w, err = db.viewWorkflow(ctx, tx, id, wf)
		return err
	})
	if err != nil {
		return WorkflowView{}, fmt.Errorf("store: workflow: %w", err)
	}
	return w, nil
}

func (db *DB) viewWorkflow(ctx context.Context, tx pgx.Tx, id tenant.ID, wf uuid.UUID) (w WorkflowView, err error) {
	v, err := db.viewer(ctx, tx, id)
	if err != nil {
		return w, err
	}
	rows, err := tx.Query(ctx, selectWorkflowView, id, wf)
	if err != nil {
		return w, err
	}
	if w, err = pgx.CollectExactlyOneRow(rows, v.scanWorkflow); err != nil {
		return w, notFound(err)
	}
	f, err := oneFlow(ctx, tx, selectPublished, id, wf)
	if err != nil {
		return w, err
	}
	if w.Content, err = f.content(); err != nil {
		return w, err
	}
	templates, err := templatesOf(ctx, tx, id)
	if err != nil {
		return w, err
	}
	w.Content.PublicURL = db.publicURL
	_, w.Problems = w.Content.Build(templates)
	return w, nil
}

// oneFlow reads one workflow as [flowsOf] does, or returns [ErrNotFound].
func oneFlow(ctx context.Context, tx querier, sql string, id tenant.ID, wf uuid.UUID) (*flow, error) {
	list, err := flowsOf(ctx, tx, sql, id, wf, "")
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, ErrNotFound
	}
	return &list[0], nil
}

// content is the draft, or what is published.
func (f *flow) content() (w clinic.Workflow, err error) {
	switch {
	case f.draft != "":
		err = json.Unmarshal([]byte(f.draft), &w)
	case f.version > 0:
		w, _, err = f.published()
	}
	w.Name, w.IsActive = f.name, new(f.active && !f.archived)
	if f.draft == "" {
		w.TriggerType, w.TargetSurgeryType = f.kind, f.target
	}
	return w, err
}

// published is the version that runs begin with, and the texts that it pinned.
func (f *flow) published() (w clinic.Workflow, templates []clinic.Template, err error) {
	d, err := workflow.Decode(f.definition)
	if err != nil {
		return w, nil, err
	}
	w, templates = clinic.FromDefinition(d)
	w.Name, w.TriggerType, w.TargetSurgeryType, w.IsActive = f.name, f.kind, f.target, new(f.active && !f.archived)
	return w, templates, nil
}

// WorkflowVersion is one published version.
type WorkflowVersion struct {
	Version   int32
	Drawn     bool
	Published time.Time
}

const selectVersions = `
SELECT v.version, v.definition ? 'drawing', v.created_at FROM workflow_versions v
WHERE  v.tenant_id = $1 AND v.workflow_id = $2 AND ($3::int = 0 OR v.version < $3)
ORDER  BY v.version DESC
LIMIT  $4`

const versionCursor = "cursor.workflow_versions"

// WorkflowVersions returns one page of a workflow's published versions, newest
// first. Errors wrap [ErrNotFound], [ErrCursor] or [ErrUnavailable].
func (db *DB) WorkflowVersions(ctx context.Context, id tenant.ID, wf uuid.UUID, q WorkflowQuery) (page Page[WorkflowVersion], err error) {
	limit := pageSize(q.Limit)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(versionCursor, q.Cursor)
		if err != nil {
			return err
		}
		before := int64(0)
		if q.Cursor != "" {
			before = after.at.UnixMicro() // this list's position is a number
		}
		if rows, err := tx.Query(ctx, selectWorkflowView, id, wf); err != nil {
			return err
		} else if _, err := pgx.CollectExactlyOneRow(rows, v.scanWorkflow); err != nil {
			return notFound(err)
		}
		rows, err := tx.Query(ctx, selectVersions, id, wf, before, limit+1)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r WorkflowVersion, err error) {
			err = row.Scan(&r.Version, &r.Drawn, &r.Published)
			r.Published = v.local(&r.Published)
			return r, err
		})
		page = cut(list, limit, func(r WorkflowVersion) string {
			return v.cursor(versionCursor, position{at: time.UnixMicro(int64(r.Version))})
		})
		return err
	})
	if err != nil {
		return Page[WorkflowVersion]{}, fmt.Errorf("store: workflow versions: %w", err)
	}
	return page, nil
}
