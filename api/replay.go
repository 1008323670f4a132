package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Replays is the part of the ledger that has triggers looked at again.
type Replays interface {
	Replay(ctx context.Context, id tenant.ID, r store.Replay) (store.Replayed, error)
	ReplayOutcome(ctx context.Context, id tenant.ID, r store.Replayed) (store.Replayed, error)
	CountSource(ctx context.Context, id tenant.ID, r store.SourceReplay) (seen, gone int, err error)
	ReplaySource(ctx context.Context, id tenant.ID, r store.SourceReplay) (store.ReplayJob, error)
	CancelReplay(ctx context.Context, id tenant.ID, job uuid.UUID, by store.Hand) (store.ReplayJob, error)
	ReplayByID(ctx context.Context, id tenant.ID, job uuid.UUID) (store.ReplayJob, error)
	Replays(ctx context.Context, id tenant.ID, cursor string, limit int) (store.Page[store.ReplayJob], error)
}

// replayRun is a run that a trigger has.
type replayRun struct {
	ExecutionID uuid.UUID `json:"execution_id" format:"uuid"`
	WorkflowID  uuid.UUID `json:"workflow_id" format:"uuid"`
	Status      string    `json:"status" enum:"pending,running,completed,failed"`
	CreatedAt   time.Time `json:"created_at"`
}

type replayedTrigger struct {
	Body struct {
		TriggerID uuid.UUID   `json:"trigger_id" format:"uuid" doc:"Of a forced run, the new one."`
		Opened    bool        `json:"opened" doc:"It is looked at again. false: it waits for its first look, or this forced run was made before."`
		State     string      `json:"state" enum:"pending,planned,ignored" doc:"pending: the look is not over after a few seconds; ask why."`
		Reason    *string     `json:"reason" doc:"Of an ignored one, from a closed list."`
		Runs      []replayRun `json:"runs" nullable:"false" doc:"Every run of it, those that were there before too."`
	}
}

type replayTriggerInput struct {
	ID   queryID `path:"id" doc:"A trigger's, as receipts name it; or a webhook execution's."`
	Body struct {
		Reason     string   `json:"reason,omitempty" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers. Required to force."`
		WorkflowID *queryID `json:"workflow_id,omitempty" doc:"Forces another run of this workflow, whatever has run. The patient may get the same messages again."`
		Name       string   `json:"name,omitempty" maxLength:"100" pattern:"^[A-Za-z0-9._-]*$" doc:"Tells a forced run from another one; required to force. The same name again is the same run."`
		FromNow    bool     `json:"from_now,omitempty" doc:"Of a forced run: its times count from now. Otherwise from the event, and what is long past is sent or not by the workflow's late policy."`
	}
}

// replayTrigger has one trigger looked at again.
func replayTrigger(db Replays, wait time.Duration) (op operation[replayTriggerInput, replayedTrigger]) {
	op.Operation = huma.Operation{
		OperationID: "replay-trigger", Method: http.MethodPost, Path: "/api/triggers/{id}/replay", Summary: "Look at a trigger again",
		Description: "A webhook's call or an appointment's event is planned again: a workflow in force that has no run of it gets one, and what has run is left alone, so that it may be asked for as often as one likes. With workflow_id and name, another run of that workflow is made. Every guard of sending holds: consent, opt-outs, hours, caps, validity.",
		Tags:        []string{"Replays"}, MaxBodyBytes: maxDecision,
	}
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload}
	op.told = changes[replayedTrigger]()
	op.do = func(ctx context.Context, by auth.Principal, in *replayTriggerInput) (*replayedTrigger, error) {
		r := store.Replay{Trigger: uuid.UUID(in.ID), Name: in.Body.Name, FromNow: in.Body.FromNow, Hand: acting(ctx, by, in.Body.Reason)}
		if in.Body.WorkflowID != nil {
			r.Workflow = uuid.UUID(*in.Body.WorkflowID)
		} else if r.Name != "" || r.FromNow {
			return nil, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/workflow_id", Code: "missing"}))
		}
		done, err := db.Replay(ctx, by.Tenant, r)
		if err != nil {
			return nil, replayProblem(ctx, err)
		}
		if done, err = settled(ctx, db, by.Tenant, done, wait); err != nil {
			return nil, err
		}
		out := new(replayedTrigger)
		out.Body.TriggerID, out.Body.Opened, out.Body.State = done.Trigger, done.Opened, done.State
		if done.State == "ignored" {
			out.Body.Reason = orNull(string(done.Reason))
		}
		out.Body.Runs = make([]replayRun, len(done.Runs))
		for i, run := range done.Runs {
			out.Body.Runs[i] = replayRun{run.ID, run.Workflow, run.Status, run.Created}
		}
		return out, nil
	}
	return op
}

// settled waits a little for the planner's look, so that the answer says what
// came of it.
func settled(ctx context.Context, db Replays, id tenant.ID, r store.Replayed, wait time.Duration) (store.Replayed, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for r.State == "pending" {
		select {
		case <-ctx.Done():
			return r, nil
		case <-time.After(50 * time.Millisecond):
		}
		now, err := db.ReplayOutcome(ctx, id, r)
		switch {
		case ctx.Err() != nil:
			return r, nil
		case err != nil:
			return r, err
		}
		r = now
	}
	return r, nil
}

func replayProblem(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, store.ErrPayloadGone):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("What came is not kept any more: its patient was erased, or it said nothing new. There is nothing to look at again."))
	case errors.Is(err, store.ErrNotPublished):
		return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/workflow_id", Code: "not-in-force"}))
	case errors.Is(err, store.ErrNamed):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("A run of another workflow was forced by this name. Give this one another name.").WithErrors(problem.Field{Pointer: "/name", Code: "taken"}))
	case errors.Is(err, store.ErrUnnamed):
		return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/name", Code: "missing"}))
	}
	return err
}
