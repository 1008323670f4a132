package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// FileOf says which content of a workflow a file has.
type FileOf struct {
	// Draft takes the draft, with the templates' texts as they are.
	Draft bool
	// Version takes this published version; 0: the last one.
	Version int32
}

const selectOneVersion = `SELECT v.definition FROM workflow_versions v WHERE v.tenant_id = $1 AND v.workflow_id = $2 AND v.version = $3`

// WorkflowFile is a workflow as a file has it: what is published, with the texts
// that it pinned. A workflow that nothing is published of has only its draft.
// Errors wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) WorkflowFile(ctx context.Context, id tenant.ID, wf uuid.UUID, from FileOf) (out clinic.WorkflowFile, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		f, err := oneFlow(ctx, tx, selectPublished, id, wf)
		if err != nil {
			return err
		}
		if from.Version != 0 && from.Version != f.version {
			if err := tx.QueryRow(ctx, selectOneVersion, id, wf, from.Version).Scan(&f.definition); err != nil {
				return notFound(err)
			}
		}
		if from.Version != 0 || f.version > 0 && !from.Draft {
			out.Workflow, out.Templates, err = f.published()
			return err
		}
		if out.Workflow, err = f.content(); err != nil {
			return err
		}
		templates, err := templatesOf(ctx, tx, id)
		if err != nil {
			return err
		}
		for _, name := range out.Workflow.Uses() {
			if t, known := templates[name]; known {
				out.Templates = append(out.Templates, t)
			}
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("store: export: %w", err)
	}
	return out, nil
}

// ImportOptions says how a file becomes a workflow.
type ImportOptions struct {
	// Publish publishes it; else it is a draft.
	Publish  bool
	InFlight InFlight
	// DryRun finds the difference and changes nothing.
	DryRun bool
	Hand
}

// Imported is what an import did, or would do.
type Imported struct {
	Published
	Changes []Change
	// Problems are what keeps a draft from being published.
	Problems []workflow.Problem
}

// ImportWorkflow makes the tenant's workflow of that name, and the templates of
// the file, be what the file says. The same file again changes nothing. Errors
// are those of [DB.PublishWorkflow] and [DB.CreateWorkflow].
func (db *DB) ImportWorkflow(ctx context.Context, id tenant.ID, file clinic.WorkflowFile, o ImportOptions, again func(*Replanning) NewPlan) (out Imported, err error) {
	if err := o.check(false); err != nil {
		return out, err
	}
	p := Publish{InFlight: o.InFlight, DryRun: o.DryRun, Hand: o.Hand}
	var next publication
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		a := &applying{db: db, tx: tx, f: &clinic.File{Templates: file.Templates}, id: id}
		if err := a.templates(ctx); err != nil {
			return err
		}
		if err := a.importWorkflow(ctx, file.Workflow, o, p, &next, &out); err != nil {
			return err
		}
		if out.Changes = a.out.Changes; o.DryRun {
			return errDryRun
		}
		return nil
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	if err == nil && o.Publish {
		out.Published, err = db.inFlight(ctx, id, &next, p, again)
	}
	if err != nil {
		return Imported{}, fmt.Errorf("store: import: %w", err)
	}
	return out, nil
}

func (a *applying) importWorkflow(ctx context.Context, w clinic.Workflow, o ImportOptions, p Publish, next *publication, out *Imported) error {
	w.PublicURL = a.db.publicURL
	templates, err := templatesOf(ctx, a.tx, a.id)
	if err != nil {
		return err
	}
	list, err := flowsOf(ctx, a.tx, lockPublished, a.id, uuid.Nil, w.Name)
	if err != nil {
		return err
	}
	var f *flow
	if len(list) == 1 {
		f = &list[0]
	}
	if o.Publish {
		if *next, err = publishing(f, w, templates); err != nil {
			return err
		}
		changed := a.compare("workflow", w.Name, f.fields(), next.fields)
		if o.DryRun || !changed && (f == nil || f.draft == "") {
			return nil
		}
		return publishDraft(ctx, a.tx, a.id, next, p)
	}
	if _, out.Problems = w.Build(templates); out.Problems == nil {
		out.Problems = []workflow.Problem{}
	}
	return a.importDraft(ctx, f, w, o, out)
}

func (a *applying) importDraft(ctx context.Context, f *flow, w clinic.Workflow, o ImportOptions, out *Imported) error {
	want, err := draftFields(w)
	if err != nil {
		return err
	}
	var have map[string]string
	if f != nil {
		if f.archived {
			return ErrArchived
		}
		out.Workflow, out.Version = f.id, f.version
		old, err := f.content()
		if err != nil {
			return err
		}
		if have, err = draftFields(old); err != nil {
			return err
		}
	}
	if !a.compare("draft", w.Name, have, want) || o.DryRun {
		return nil
	}
	if f == nil {
		if out.Workflow, err = createDraft(ctx, a.tx, a.id, w); err != nil {
			return err
		}
	} else if err := saveDraft(ctx, a.tx, a.id, f.id, w); err != nil {
		return err
	}
	return audit(ctx, a.tx, a.id, AuditEntry{Hand: o.Hand, Action: "workflow.draft", Subject: "workflow", SubjectID: out.Workflow, Detail: map[string]any{"problems": len(out.Problems), "imported": true}})
}

// draftFields are what differs between two drafts.
func draftFields(w clinic.Workflow) (map[string]string, error) {
	w.VisualData, _ = workflow.Compact(w.VisualData)
	text, err := draftOf(w)
	return map[string]string{"definition": text}, err
}
