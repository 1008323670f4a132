package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Parked is the part of the ledger that has what waits for a human.
type Parked interface {
	ParkedSteps(ctx context.Context, id tenant.ID, q store.ParkedQuery) (store.Page[store.ParkedStep], error)
	RetryParked(ctx context.Context, id tenant.ID, step uuid.UUID, r store.Retry) (store.Decided, error)
	DropParked(ctx context.Context, id tenant.ID, step uuid.UUID, by store.Hand) (store.Decided, error)
}

// parkedStep is a message that waits for a human.
type parkedStep struct {
	ID            uuid.UUID          `json:"id" format:"uuid" doc:"The step's."`
	RootID        uuid.UUID          `json:"root_id" format:"uuid" doc:"The step that this one is the fallback of; else the step itself."`
	ExecutionID   uuid.UUID          `json:"execution_id" format:"uuid"`
	WorkflowID    uuid.UUID          `json:"workflow_id" format:"uuid"`
	WorkflowName  string             `json:"workflow_name"`
	Node          string             `json:"node" doc:"Which step of the workflow."`
	Channel       event.Channel      `json:"channel" enum:"kakao,sms"`
	Reason        event.Reason       `json:"reason" doc:"Why a human must look, from a closed list." example:"outcome_unknown"`
	OnUnknown     workflow.OnUnknown `json:"on_unknown" enum:"park,resend,fallback" doc:"What the workflow wants done about an outcome that nobody knows."`
	Attempts      int32              `json:"attempts" doc:"How often it was tried; each time a request may have gone out."`
	LastAttemptAt *time.Time         `json:"last_attempt_at"`
	Code          *string            `json:"code" doc:"The gateway's last code; null if it never gave one."`
	RequestID     *string            `json:"request_id" doc:"The gateway's id of the request; null if it never gave one."`
	DueAt         time.Time          `json:"due_at"`
	ExpiresAt     time.Time          `json:"expires_at"`
	Expired       bool               `json:"expired" doc:"Its validity is over: to send it again takes extend_minutes."`
	Superseded    bool               `json:"superseded" doc:"The plan changed since: it cannot be sent again."`
	ParkedAt      time.Time          `json:"parked_at" doc:"In the clinic's zone, like every time."`
	TimesParked   int32              `json:"times_parked"`

	patient uuid.UUID // for the audit log
}

type listParkedInput struct {
	Reason       string    `query:"reason" enum:"outcome_unknown"`
	Channel      string    `query:"channel" enum:"kakao,sms"`
	WorkflowID   queryID   `query:"workflow_id"`
	ParkedBefore time.Time `query:"parked_before" doc:"Parked before this time (RFC 3339; write + as %2B)." example:"2026-11-01T00:00:00+09:00"`
	Paging
}

// listParked serves what waits for a human, the latest first.
func listParked(db Parked) (op operation[listParkedInput, page[parkedStep]]) {
	op.Operation = get("list-parked-steps", "/api/parked-steps", "List parked messages",
		"Messages of which nobody can say whether the gateway took them. They wait for somebody to decide: retry or drop.", "Parked")
	op.told = shows(func(p parkedStep) uuid.UUID { return p.patient })
	op.do = func(ctx context.Context, by auth.Principal, in *listParkedInput) (*page[parkedStep], error) {
		steps, err := db.ParkedSteps(ctx, by.Tenant, store.ParkedQuery{
			Reason: event.Reason(in.Reason), Channel: event.Channel(in.Channel), Workflow: uuid.UUID(in.WorkflowID), Before: in.ParkedBefore,
			Cursor: in.Cursor, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		return newPage(steps.Rows, steps.Next, showParked), nil
	}
	return op
}

func showParked(p store.ParkedStep) parkedStep {
	return parkedStep{
		ID: p.ID, RootID: p.Root, ExecutionID: p.Run, WorkflowID: p.Workflow, WorkflowName: p.WorkflowName, Node: p.Node,
		Channel: p.Channel, Reason: p.Reason, OnUnknown: p.OnUnknown, Attempts: p.Attempts, LastAttemptAt: whenOrNull(p.Claimed),
		Code: orNull(p.Code), RequestID: orNull(p.RequestID), DueAt: p.Due, ExpiresAt: p.Expires, Expired: p.Expired, Superseded: p.Superseded,
		ParkedAt: p.Since, TimesParked: p.Times, patient: p.Patient,
	}
}
