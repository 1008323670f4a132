package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Workflows is the part of the ledger that has the workflows themselves.
type Workflows interface {
	WorkflowPage(ctx context.Context, id tenant.ID, q store.WorkflowQuery) (store.Page[store.WorkflowView], error)
	Workflow(ctx context.Context, id tenant.ID, wf uuid.UUID) (store.WorkflowView, error)
	CreateWorkflow(ctx context.Context, id tenant.ID, w clinic.Workflow) (store.WorkflowView, error)
	ChangeDraft(ctx context.Context, id tenant.ID, wf uuid.UUID, seen int32, change func(*clinic.Workflow)) (store.WorkflowView, error)
	PublishWorkflow(ctx context.Context, id tenant.ID, p store.Publish, again func(*store.Replanning) store.NewPlan) (store.Published, error)
	SwitchWorkflow(ctx context.Context, id tenant.ID, wf uuid.UUID, to store.Switch, dry bool, by store.Hand) (store.Replanned, error)
	WorkflowVersions(ctx context.Context, id tenant.ID, wf uuid.UUID, q store.WorkflowQuery) (store.Page[store.WorkflowVersion], error)
	WorkflowFile(ctx context.Context, id tenant.ID, wf uuid.UUID, from store.FileOf) (clinic.WorkflowFile, error)
	ImportWorkflow(ctx context.Context, id tenant.ID, file clinic.WorkflowFile, o store.ImportOptions, again func(*store.Replanning) store.NewPlan) (store.Imported, error)
}

func (a *API) registerWorkflows() {
	db, again := a.config.DB, a.config.Again
	register(a, listWorkflows(db))
	register(a, createWorkflow(db))
	register(a, getWorkflow(db))
	register(a, updateWorkflow(db))
	register(a, deleteWorkflow(db))
	register(a, publishWorkflow(db, again))
	register(a, activateWorkflow(db))
	register(a, deactivateWorkflow(db))
	register(a, listVersions(db))
	register(a, exportWorkflow(db))
	register(a, importWorkflow(db, again))
}

type listWorkflowsInput struct {
	Paging
	State string `query:"state" enum:"used,deleted" default:"used" doc:"deleted: those that were deleted, in place of the others."`
}

// listWorkflows lists workflows without what is in them.
func listWorkflows(db Workflows) (op operation[listWorkflowsInput, page[WorkflowRow]]) {
	op.Operation = get("list-workflows", "/api/workflows", "List workflows",
		"The clinic's workflows, newest first, without what is in them.", "Workflows")
	op.told = shows(func(WorkflowRow) uuid.UUID { return uuid.Nil })
	op.do = func(ctx context.Context, by auth.Principal, in *listWorkflowsInput) (*page[WorkflowRow], error) {
		p, err := db.WorkflowPage(ctx, by.Tenant, store.WorkflowQuery{Archived: in.State == "deleted", Cursor: in.Cursor, Limit: in.Limit})
		if err != nil {
			return nil, err
		}
		return newPage(p.Rows, p.Next, showWorkflowRow), nil
	}
	return op
}

type workflowInput struct {
	ID queryID `path:"id"`
	// Purpose is why the caller looks.
	Purpose string `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

// getWorkflow shows one workflow as its authors see it.
func getWorkflow(db Workflows) (op operation[workflowInput, written]) {
	op.Operation = get("get-workflow", "/api/workflows/{id}", "Read a workflow",
		"One workflow with its draft, or with what is published where there is no draft, and with every problem that keeps it from being published. visual_data is byte for byte what was saved. ETag names the draft; send it back in If-Match.", "Workflows")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[written]{how: toldRead, shown: func(*written) (int, []uuid.UUID) { return 1, nil }}
	op.answer = answers[workflowDetail]
	op.do = func(ctx context.Context, by auth.Principal, in *workflowInput) (*written, error) {
		return showWorkflow(db.Workflow(ctx, by.Tenant, uuid.UUID(in.ID)))
	}
	return op
}

type createWorkflowInput struct {
	Body struct {
		Name     string `json:"name" minLength:"1" maxLength:"100" doc:"At most 100 bytes, one line, the clinic's only one of this name."`
		IsActive *bool  `json:"is_active,omitempty" doc:"Whether events begin runs of it once it is published; true by default."`
		WorkflowContent
	}
}

// createWorkflow saves a new draft.
func createWorkflow(db Workflows) (op operation[createWorkflowInput, written]) {
	op.Operation = workflowChange("create-workflow", http.MethodPost, "/api/workflows", "Create a workflow",
		"Saves a draft, with its problems where it has some: nothing begins before it is published. Give steps, a list of days, or visual_data, what React Flow's toObject() gives.")
	op.MaxBodyBytes = maxWorkflow
	op.more = []problem.Slug{problem.Conflict, problem.InvalidPayload}
	op.told = changes[written]()
	op.answer = answers[workflowDetail]
	op.do = func(ctx context.Context, by auth.Principal, in *createWorkflowInput) (*written, error) {
		w := clinic.Workflow{Name: in.Body.Name, TriggerType: "webhook", IsActive: in.Body.IsActive}
		if err := in.Body.check(ctx, &in.Body.Name); err != nil {
			return nil, err
		}
		in.Body.put(&w)
		return showWorkflow(db.CreateWorkflow(ctx, by.Tenant, w))
	}
	return op
}

// Seen says which draft a change was made from.
type Seen struct {
	IfMatch string `header:"If-Match" maxLength:"100" doc:"The ETag of the draft that is meant, or * for whichever there is."`
}

type updateWorkflowInput struct {
	ID queryID `path:"id"`
	Seen
	Body struct {
		Name *string `json:"name,omitempty" minLength:"1" maxLength:"100" doc:"Holds at once; at most 100 bytes, one line, the clinic's only one of this name."`
		WorkflowContent
	}
}

// updateWorkflow changes a draft.
func updateWorkflow(db Workflows) (op operation[updateWorkflowInput, written]) {
	op.Operation = workflowChange("update-workflow", http.MethodPatch, "/api/workflows/{id}", "Change a workflow's draft",
		"What is given replaces what is there. Runs go on by what is published, until the draft is published in turn. If-Match is required. A draft may have problems, which the answer lists.")
	op.MaxBodyBytes = maxWorkflow
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload, problem.PreconditionFailed, problem.PreconditionRequired}
	op.told = changes[written]()
	op.answer = answers[workflowDetail]
	op.do = func(ctx context.Context, by auth.Principal, in *updateWorkflowInput) (*written, error) {
		if in.IfMatch == "" {
			return nil, newFailure(ctx, problem.New(problem.PreconditionRequired))
		}
		draft, err := draftOf(in.IfMatch)
		if err != nil {
			return nil, err
		}
		if err := in.Body.check(ctx, in.Body.Name); err != nil {
			return nil, err
		}
		return showWorkflow(db.ChangeDraft(ctx, by.Tenant, uuid.UUID(in.ID), draft, func(w *clinic.Workflow) {
			if in.Body.Name != nil {
				w.Name = *in.Body.Name
			}
			in.Body.put(w)
		}))
	}
	return op
}

// workflowChange is an operation that changes a workflow.
func workflowChange(id, method, path, summary, description string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{"Workflows"}, MaxBodyBytes: maxDecision}
}
