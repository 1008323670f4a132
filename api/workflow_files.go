package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// workflowVersion is one published version in a list.
type workflowVersion struct {
	Version     int32     `json:"version"`
	Notation    string    `json:"notation" enum:"steps,visual"`
	PublishedAt time.Time `json:"published_at"`
}

type listVersionsInput struct {
	ID queryID `path:"id"`
	Paging
}

// listVersions lists what was published of a workflow.
func listVersions(db Workflows) (op operation[listVersionsInput, page[workflowVersion]]) {
	op.Operation = get("list-workflow-versions", "/api/workflows/{id}/versions", "List a workflow's versions",
		"Everything that was published of it, newest first. A version never changes; export shows what is in it.", "Workflows")
	op.more = []problem.Slug{problem.NotFound}
	op.told = shows(func(workflowVersion) uuid.UUID { return uuid.Nil })
	op.do = func(ctx context.Context, by auth.Principal, in *listVersionsInput) (*page[workflowVersion], error) {
		p, err := db.WorkflowVersions(ctx, by.Tenant, uuid.UUID(in.ID), store.WorkflowQuery{Cursor: in.Cursor, Limit: in.Limit})
		if err != nil {
			return nil, err
		}
		return newPage(p.Rows, p.Next, func(v store.WorkflowVersion) workflowVersion {
			out := workflowVersion{Version: v.Version, Notation: "steps", PublishedAt: v.Published}
			if v.Drawn {
				out.Notation = "visual"
			}
			return out
		}), nil
	}
	return op
}

type exportWorkflowInput struct {
	ID      queryID `path:"id"`
	Format  string  `query:"format" enum:"yaml,json" default:"yaml"`
	Version int32   `query:"version" minimum:"1" doc:"A published version; by default the last one, or the draft where nothing is published."`
	Draft   bool    `query:"draft" doc:"The draft, in place of what is published."`
	// Purpose is why the caller looks.
	Purpose string `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

// exportWorkflow gives a workflow as a file.
func exportWorkflow(db Workflows) (op operation[exportWorkflowInput, written]) {
	op.Operation = get("export-workflow", "/api/workflows/{id}/export", "Export a workflow as a file",
		"The workflow and the texts of its templates as one file, for git and for import: the same workflow is the same bytes. A drawing keeps every field, number and text as it was written; only white space between them is laid out anew.", "Workflows")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[written]{how: toldRead, shown: func(*written) (int, []uuid.UUID) { return 1, nil }}
	op.answer = fileAnswer
	op.do = func(ctx context.Context, by auth.Principal, in *exportWorkflowInput) (*written, error) {
		if in.Draft && in.Version != 0 {
			return nil, newFailure(ctx, problem.New(problem.InvalidParameter).WithErrors(problem.Field{Pointer: "/query/draft", Code: "not-with-version"}))
		}
		f, err := db.WorkflowFile(ctx, by.Tenant, uuid.UUID(in.ID), store.FileOf{Draft: in.Draft, Version: in.Version})
		if err != nil {
			return nil, err
		}
		out := &written{ContentType: "application/yaml; charset=utf-8"}
		write := f.YAML
		if in.Format == "json" {
			out.ContentType, write = "application/json", f.JSON
		}
		out.Disposition = "attachment; filename=workflow." + in.Format + "; filename*=UTF-8''" + url.PathEscape(f.Workflow.Name) + "." + in.Format
		out.Body, err = write()
		return out, err
	}
	return op
}

// importChange is one difference between a file and the ledger.
type importChange struct {
	Kind   string   `json:"kind" enum:"template,workflow,draft"`
	Name   string   `json:"name"`
	Action string   `json:"action" enum:"create,update,unchanged"`
	Fields []string `json:"fields" nullable:"false" doc:"What differs; names, no values."`
}

// imported is what an import did, or would do.
type imported struct {
	Body struct {
		ID       *uuid.UUID     `json:"id" format:"uuid" doc:"null where it would be new."`
		Version  *int32         `json:"version" doc:"The published version; null: none yet."`
		Fresh    bool           `json:"fresh" doc:"Whether a new version was published."`
		Changes  []importChange `json:"changes" nullable:"false"`
		Problems []drawnProblem `json:"problems" nullable:"false" doc:"What keeps the draft from being published."`
		Underway
	}
}

type importWorkflowInput struct {
	Body struct {
		File     string `json:"file" minLength:"1" maxLength:"2097152" doc:"The whole file as text, YAML or JSON, as export gives it."`
		Publish  bool   `json:"publish,omitempty" doc:"Publish it too; else it is a draft."`
		InFlight string `json:"in_flight,omitempty" enum:"keep,migrate,stop" default:"keep" doc:"With publish: what becomes of runs under way."`
		DryRun   bool   `json:"dry_run,omitempty" doc:"Say what would happen, and change nothing."`
		Reason   string `json:"reason,omitempty" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
	}
}

// importWorkflow makes a workflow be what a file says.
func importWorkflow(db Workflows, again Again) (op operation[importWorkflowInput, imported]) {
	op.Operation = workflowChange("import-workflow", http.MethodPost, "/api/workflows/import", "Import a workflow from a file",
		"Makes the clinic's workflow of that name, and the templates of the file, be what the file says. The same file again changes nothing.")
	op.MaxBodyBytes = maxWorkflow
	op.more = []problem.Slug{problem.Conflict, problem.InvalidPayload}
	op.told = changes[imported]()
	op.do = func(ctx context.Context, by auth.Principal, in *importWorkflowInput) (*imported, error) {
		b := in.Body
		f, err := clinic.ParseWorkflowFile([]byte(b.File))
		if err != nil {
			p := newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/file", Code: "not-a-workflow"}))
			p.Problems = []drawnProblem{{Pointer: "/file", English: err.Error(), Korean: "파일을 읽을 수 없습니다: " + err.Error()}}
			return nil, p
		}
		done, err := db.ImportWorkflow(ctx, by.Tenant, f, store.ImportOptions{
			Publish: b.Publish, InFlight: store.InFlight(b.InFlight), DryRun: b.DryRun, Hand: hand(by, b.Reason),
		}, again)
		if err != nil {
			return nil, err
		}
		return showImported(done, b.DryRun), nil
	}
	return op
}

func showImported(done store.Imported, dry bool) *imported {
	out := new(imported)
	b := &out.Body
	b.ID, b.Version, b.Fresh, b.Underway = orNull(done.Workflow), orNull(done.Version), done.Fresh, underway(done.Replanned, dry)
	b.Problems = showProblems(done.Problems)
	b.Changes = make([]importChange, len(done.Changes))
	for i, c := range done.Changes {
		b.Changes[i] = importChange{c.Kind, c.Name, c.Action, append([]string{}, c.Fields...)}
	}
	return out
}
