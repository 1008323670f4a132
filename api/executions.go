package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Executions is the part of the ledger that has the runs of workflows.
type Executions interface {
	Executions(ctx context.Context, id tenant.ID, q store.ExecutionQuery) (store.Page[store.Execution], error)
	ExecutionPlan(ctx context.Context, id tenant.ID, run uuid.UUID) (store.Execution, []store.StoryRest, []store.StoryClick, error)
	StopExecution(ctx context.Context, id tenant.ID, run uuid.UUID, by store.Hand) (store.Replanned, error)
}

// execution is a row of workflow_executions with its steps.
type execution struct {
	ID              uuid.UUID       `json:"id" format:"uuid"`
	WorkflowID      uuid.UUID       `json:"workflow_id" format:"uuid"`
	WorkflowName    string          `json:"workflow_name"`
	WorkflowVersion int32           `json:"workflow_version" doc:"The published version that the run is pinned to."`
	TriggerID       uuid.UUID       `json:"trigger_id" format:"uuid"`
	PatientID       uuid.UUID       `json:"patient_id" format:"uuid"`
	AppointmentID   *uuid.UUID      `json:"appointment_id" format:"uuid" nullable:"true"`
	CampaignID      *uuid.UUID      `json:"campaign_id" format:"uuid" nullable:"true"`
	Status          string          `json:"status" enum:"pending,running,completed,failed"`
	Reason          *string         `json:"reason"`
	PlanEpoch       int32           `json:"plan_epoch" doc:"How often the plan was changed."`
	ExpectedSteps   int32           `json:"expected_steps" doc:"How many steps the run has; anything but the length of steps is a fault of ours."`
	ExecutionData   json.RawMessage `json:"execution_data" doc:"An object: the context of the run."`
	StartedAt       time.Time       `json:"started_at" doc:"In the clinic's zone, like every time."`
	CompletedAt     *time.Time      `json:"completed_at"`
	CreatedAt       time.Time       `json:"created_at"`
	Steps           []executionStep `json:"steps" nullable:"false"`
}

// executionStep is one message of a run as it stands.
type executionStep struct {
	ID          uuid.UUID     `json:"id" format:"uuid"`
	Node        string        `json:"node" doc:"Which step of the workflow."`
	Channel     event.Channel `json:"channel" enum:"kakao,sms"`
	ParentID    *uuid.UUID    `json:"parent_id" format:"uuid" nullable:"true" doc:"The failed step that this one replaces."`
	State       store.State   `json:"state" enum:"planned,claimed,unknown,sent,delivered,failed,parked,cancelled,skipped,expired"`
	Reason      *string       `json:"reason" doc:"Why it is so, or why it waits, from a closed list; null while it is under way or its time has not come."`
	Attempt     int32         `json:"attempt"`
	DueAt       time.Time     `json:"due_at"`
	ExpiresAt   time.Time     `json:"expires_at"`
	SentAt      *time.Time    `json:"sent_at"`
	DeliveredAt *time.Time    `json:"delivered_at"`
}

type listExecutionsInput struct {
	WorkflowID queryID `query:"workflow_id"`
	PatientID  queryID `query:"patient_id"`
	Status     string  `query:"status" enum:"pending,running,completed,failed"`
	Paging
}

// listExecutions serves the runs of workflows, newest first.
func listExecutions(db Executions) (op operation[listExecutionsInput, page[execution]]) {
	op.Operation = get("list-executions", "/api/workflows/executions", "List workflow executions",
		"Every run of a workflow for a patient, with the state of each of its steps and the one reason for it.", "Workflows")
	op.told = shows(func(e execution) uuid.UUID { return e.PatientID })
	op.do = func(ctx context.Context, by auth.Principal, in *listExecutionsInput) (*page[execution], error) {
		runs, err := db.Executions(ctx, by.Tenant, store.ExecutionQuery{
			Workflow: uuid.UUID(in.WorkflowID), Patient: uuid.UUID(in.PatientID), Status: in.Status, Cursor: in.Cursor, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		return newPage(runs.Rows, runs.Next, showExecution), nil
	}
	return op
}

func showExecution(e store.Execution) execution {
	out := execution{
		ID: e.ID, WorkflowID: e.Workflow, WorkflowName: e.WorkflowName, WorkflowVersion: e.Version,
		TriggerID: e.Trigger, PatientID: e.Patient, AppointmentID: orNull(e.Appointment), CampaignID: orNull(e.Campaign),
		Status: e.Status, Reason: orNull(string(e.Reason)), PlanEpoch: e.PlanEpoch, ExpectedSteps: e.ExpectedSteps, ExecutionData: e.Data,
		StartedAt: e.Started, CompletedAt: whenOrNull(e.Completed), CreatedAt: e.Created, Steps: make([]executionStep, len(e.Steps)),
	}
	for i, s := range e.Steps {
		out.Steps[i] = executionStep{
			ID: s.ID, Node: s.Node, Channel: s.Channel, ParentID: orNull(s.Parent), State: s.State, Reason: orNull(string(s.Reason)),
			Attempt: s.Attempt, DueAt: s.Due, ExpiresAt: s.Expires, SentAt: whenOrNull(s.Sent), DeliveredAt: whenOrNull(s.Delivered),
		}
	}
	return out
}
