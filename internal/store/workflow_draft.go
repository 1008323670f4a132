package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// MaxWorkflows bounds how many workflows a tenant has, deleted ones included.
const MaxWorkflows = 1000

var (
	// ErrNameTaken means that another workflow of the tenant has the name; it
	// may be a deleted one.
	ErrNameTaken = errors.New("store: another workflow has this name")
	// ErrTooMany means that the tenant has [MaxWorkflows].
	ErrTooMany = fmt.Errorf("store: a clinic has at most %d workflows", MaxWorkflows)
	// ErrDraftMoved means that somebody changed or published the draft since the
	// caller read it.
	ErrDraftMoved = errors.New("store: the draft was changed since")
	// ErrArchived means that the workflow is deleted; activating brings it back.
	ErrArchived = errors.New("store: the workflow is deleted")
)

const insertDraft = `
INSERT INTO workflows (tenant_id, id, name, trigger_type, target_surgery_type, is_active, draft, draft_version)
SELECT $1, $2, $3, $4, $5, $6, $7, 1
WHERE  (SELECT count(*) FROM workflows WHERE tenant_id = $1) < $8
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING id`

// draftOf is what of a workflow is its draft: its name and whether it is active
// hold at once.
func draftOf(w clinic.Workflow) (string, error) {
	w.Name, w.IsActive = "", nil
	b, err := json.Marshal(w)
	return string(b), err
}

// CreateWorkflow saves a workflow that nothing is published of. It may have
// problems, which the answer lists. Errors are [ErrNameTaken], [ErrTooMany] or
// wrap [ErrUnavailable].
func (db *DB) CreateWorkflow(ctx context.Context, id tenant.ID, w clinic.Workflow) (out WorkflowView, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		wf, err := createDraft(ctx, tx, id, w)
		if err != nil {
			return err
		}
		if out, err = db.viewWorkflow(ctx, tx, id, wf); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "workflow.create", Subject: "workflow", SubjectID: wf, Detail: map[string]any{"problems": len(out.Problems)}})
	})
	if err != nil {
		return WorkflowView{}, fmt.Errorf("store: create a workflow: %w", err)
	}
	return out, nil
}

const countWorkflows = `SELECT count(*) FROM workflows WHERE tenant_id = $1`

func createDraft(ctx context.Context, tx pgx.Tx, id tenant.ID, w clinic.Workflow) (wf uuid.UUID, err error) {
	active := w.IsActive == nil || *w.IsActive
	draft, err := draftOf(w)
	if err != nil {
		return wf, err
	}
	wf = uuid.Must(uuid.NewV7())
	err = tx.QueryRow(ctx, insertDraft, id, wf, w.Name, w.TriggerType, nullText(w.TargetSurgeryType), active, draft, MaxWorkflows).Scan(&wf)
	if !errors.Is(err, pgx.ErrNoRows) {
		return wf, err
	}
	var n int
	if err := tx.QueryRow(ctx, countWorkflows, id).Scan(&n); err != nil {
		return wf, err
	}
	if n >= MaxWorkflows {
		return wf, ErrTooMany
	}
	return wf, ErrNameTaken
}

const updateDraft = `
UPDATE workflows
SET    name = $3, draft = $4, draft_version = draft_version + 1, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2
AND    NOT EXISTS (SELECT FROM workflows o WHERE o.tenant_id = $1 AND o.name = $3 AND o.id <> $2)`

// ChangeDraft changes what a workflow's next version will be; its name holds at
// once. seen is the draft version that the change was made from; 0: whatever
// there is. Errors are [ErrDraftMoved], [ErrNameTaken], [ErrArchived] or wrap
// [ErrNotFound] or [ErrUnavailable].
func (db *DB) ChangeDraft(ctx context.Context, id tenant.ID, wf uuid.UUID, seen int32, change func(*clinic.Workflow)) (out WorkflowView, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		f, err := oneFlow(ctx, tx, lockPublished, id, wf)
		if err != nil {
			return err
		}
		switch {
		case seen != 0 && f.draftNumber != seen:
			return ErrDraftMoved
		case f.archived:
			return ErrArchived
		}
		w, err := f.content()
		if err != nil {
			return err
		}
		change(&w)
		if err := saveDraft(ctx, tx, id, wf, w); err != nil {
			return err
		}
		if out, err = db.viewWorkflow(ctx, tx, id, wf); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "workflow.draft", Subject: "workflow", SubjectID: wf, Detail: map[string]any{"draft_version": out.DraftVersion, "problems": len(out.Problems)}})
	})
	if err != nil {
		return WorkflowView{}, fmt.Errorf("store: change a draft: %w", err)
	}
	return out, nil
}

func saveDraft(ctx context.Context, tx pgx.Tx, id tenant.ID, wf uuid.UUID, w clinic.Workflow) error {
	draft, err := draftOf(w)
	if err != nil {
		return err
	}
	done, err := tx.Exec(ctx, updateDraft, id, wf, w.Name, draft)
	if err == nil && done.RowsAffected() == 0 {
		return ErrNameTaken
	}
	return err
}

// CheckWorkflow returns what would keep a file's workflow from being published,
// or nothing. The file's templates come before the tenant's of the same name.
// Errors wrap [ErrUnavailable].
func (db *DB) CheckWorkflow(ctx context.Context, id tenant.ID, f clinic.WorkflowFile) (problems []workflow.Problem, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		templates, err := templatesOf(ctx, tx, id)
		if err != nil {
			return err
		}
		maps.Copy(templates, f.ByName())
		f.Workflow.PublicURL = db.publicURL
		_, problems = f.Workflow.Build(templates)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store: check a workflow: %w", err)
	}
	return problems, nil
}

// Switch is what [DB.SwitchWorkflow] does.
type Switch string

// The switches.
const (
	Activate   Switch = "activate"   // events begin runs of it; a deleted one is brought back
	Deactivate Switch = "deactivate" // they do not, and what is planned is stopped
	Archive    Switch = "delete"     // the same, and it is not in the list any more
)

const switchWorkflow = `
UPDATE workflows
SET    is_active = $3, archived_at = CASE WHEN $4 THEN coalesce(archived_at, (SELECT app_now())) WHEN $3 THEN NULL ELSE archived_at END, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2
RETURNING version`

// SwitchWorkflow lets events begin runs of a workflow, or not. Switched off or
// deleted, what is planned is stopped: when it returns, nothing of it is sent
// but what [Replanned.InFlight] names. Its history stays. Done again, it changes
// nothing. With dry it says what would be stopped, and changes nothing. Errors
// wrap [ErrNote], [ErrNotFound] or [ErrUnavailable].
func (db *DB) SwitchWorkflow(ctx context.Context, id tenant.ID, wf uuid.UUID, to Switch, dry bool, by Hand) (out Replanned, err error) {
	if err := by.check(false); err != nil {
		return out, err
	}
	on := to == Activate
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		var version int32
		if err := tx.QueryRow(ctx, switchWorkflow, id, wf, on, to == Archive).Scan(&version); err != nil {
			return notFound(err)
		}
		if dry {
			return errDryRun
		}
		return audit(ctx, tx, id, AuditEntry{Hand: by, Action: "workflow." + string(to), Subject: "workflow", SubjectID: wf, Detail: map[string]any{"version": version}})
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	if err == nil && !on && !dry {
		err = db.settleEarlier(ctx)
	}
	if err != nil {
		return out, fmt.Errorf("store: %s a workflow: %w", to, err)
	}
	if on {
		return out, nil
	}
	return db.Replan(ctx, id, Replan{Workflow: wf, Hand: by, Action: "workflow.stop", DryRun: dry}, Stop(event.WorkflowStopped))
}

// ValidWorkflowName tells whether a workflow may be called so: 1 to 100 bytes on
// one line.
func ValidWorkflowName(name string) bool {
	return strings.TrimSpace(name) != "" && len(name) <= 100 && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}
