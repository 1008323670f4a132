package api

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Again makes the plan of a run anew; see the planner's.
type Again = func(*store.Replanning) store.NewPlan

// Underway is what became, or would become, of what was under way.
type Underway struct {
	DryRun    bool        `json:"dry_run" doc:"Whether nothing was changed."`
	Runs      int         `json:"runs" doc:"Runs that are changed; with keep, those that go on by the version that they began with."`
	Kept      int         `json:"kept" doc:"Planned messages that stay as they are."`
	Moved     int         `json:"moved" doc:"Planned messages with a new time."`
	Added     int         `json:"added" doc:"Planned messages that are new."`
	Cancelled int         `json:"cancelled" doc:"Planned messages that are not sent any more."`
	InFlight  []uuid.UUID `json:"in_flight" nullable:"false" doc:"Messages whose request may be with the gateway already: they cannot be taken back."`
}

func underway(r store.Replanned, dry bool) Underway {
	return Underway{DryRun: dry, Runs: r.Runs, Kept: r.Kept, Moved: r.Moved, Added: r.Added, Cancelled: r.Cancelled, InFlight: append([]uuid.UUID{}, r.InFlight...)}
}

// published is what publishing did, or would do.
type published struct {
	Body struct {
		ID      uuid.UUID `json:"id" format:"uuid"`
		Version int32     `json:"version"`
		Fresh   bool      `json:"fresh" doc:"Whether it is a new version: what is published already is not published again."`
		Underway
	}
}

func showPublished(p store.Published, dry bool) *published {
	out := new(published)
	out.Body.ID, out.Body.Version, out.Body.Fresh, out.Body.Underway = p.Workflow, p.Version, p.Fresh, underway(p.Replanned, dry)
	return out
}

type publishWorkflowInput struct {
	ID queryID `path:"id"`
	Seen
	Body struct {
		InFlight string `json:"in_flight,omitempty" enum:"keep,migrate,stop" default:"keep" doc:"What becomes of runs under way. keep: they go on by the version that they began with. migrate: their plans are made anew by the new version, but those of drawings go on. stop: what is planned of them is cancelled."`
		DryRun   bool   `json:"dry_run,omitempty" doc:"Say what would happen, and change nothing."`
		Reason   string `json:"reason,omitempty" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
	}
}

// publishWorkflow makes a draft the version that events begin runs of.
func publishWorkflow(db Workflows, again Again) (op operation[publishWorkflowInput, published]) {
	op.Operation = workflowChange("publish-workflow", http.MethodPost, "/api/workflows/{id}/publish", "Publish a workflow",
		"Makes the draft an immutable version, the templates' texts included, which events begin runs of from now on. One with problems is refused, with all of them. Broken off, the same call goes on.")
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidWorkflow, problem.PreconditionFailed}
	op.told = changes[published]()
	op.do = func(ctx context.Context, by auth.Principal, in *publishWorkflowInput) (*published, error) {
		draft, err := draftOf(in.IfMatch)
		if err != nil {
			return nil, err
		}
		p, err := db.PublishWorkflow(ctx, by.Tenant, store.Publish{
			Workflow: uuid.UUID(in.ID), Seen: draft, InFlight: store.InFlight(in.Body.InFlight), DryRun: in.Body.DryRun, Hand: hand(by, in.Body.Reason),
		}, again)
		if err != nil {
			return nil, err
		}
		return showPublished(p, in.Body.DryRun), nil
	}
	return op
}

// switched is what switching did, or would do.
type switched struct {
	Body struct {
		ID       uuid.UUID `json:"id" format:"uuid"`
		IsActive bool      `json:"is_active" doc:"As it is after this, or would be."`
		Underway
	}
}

type switchWorkflowInput struct {
	ID   queryID `path:"id"`
	Body struct {
		DryRun bool   `json:"dry_run,omitempty" doc:"Say what would be stopped, and change nothing."`
		Reason string `json:"reason,omitempty" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
	}
}

func activateWorkflow(db Workflows) operation[switchWorkflowInput, switched] {
	return switchWorkflow(db, store.Activate, "Activate a workflow",
		"From now on events begin runs of what is published. A deleted workflow is brought back. What was stopped stays stopped.")
}

func deactivateWorkflow(db Workflows) operation[switchWorkflowInput, switched] {
	return switchWorkflow(db, store.Deactivate, "Deactivate a workflow",
		"Events begin no more runs of it, and what is planned is cancelled, with reason workflow_stopped. Once this is answered nothing of it is sent but what in_flight names.")
}

func switchWorkflow(db Workflows, to store.Switch, summary, description string) (op operation[switchWorkflowInput, switched]) {
	op.Operation = workflowChange(string(to)+"-workflow", http.MethodPost, "/api/workflows/{id}/"+string(to), summary, description)
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[switched]()
	op.do = func(ctx context.Context, by auth.Principal, in *switchWorkflowInput) (*switched, error) {
		r, err := db.SwitchWorkflow(ctx, by.Tenant, uuid.UUID(in.ID), to, in.Body.DryRun, hand(by, in.Body.Reason))
		if err != nil {
			return nil, err
		}
		out := new(switched)
		out.Body.ID, out.Body.IsActive, out.Body.Underway = uuid.UUID(in.ID), to == store.Activate, underway(r, in.Body.DryRun)
		return out, nil
	}
	return op
}

// deleteWorkflow takes a workflow out of use.
func deleteWorkflow(db Workflows) (op operation[workflowInput, switched]) {
	op.Operation = workflowChange("delete-workflow", http.MethodDelete, "/api/workflows/{id}", "Delete a workflow",
		"Takes it out of use and out of the list, and cancels what is planned, as deactivate does. Its runs and versions stay to be read; activate brings it back.")
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[switched]()
	op.do = func(ctx context.Context, by auth.Principal, in *workflowInput) (*switched, error) {
		r, err := db.SwitchWorkflow(ctx, by.Tenant, uuid.UUID(in.ID), store.Archive, false, hand(by, in.Purpose))
		if err != nil {
			return nil, err
		}
		out := new(switched)
		out.Body.ID, out.Body.Underway = uuid.UUID(in.ID), underway(r, false)
		return out, nil
	}
	return op
}
