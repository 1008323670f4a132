package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
)

// runRest is where a run of a drawn workflow rests or rested.
type runRest struct {
	Node    string    `json:"node"`
	Until   time.Time `json:"until" doc:"When the node is reached, or the wait is given up."`
	Awaits  *string   `json:"awaits" doc:"What is waited for; null for nothing but the time."`
	Outcome *string   `json:"outcome" doc:"reached, event, timeout or superseded; null while it rests."`
}

// runClick is a link of a run's message that the patient opened.
type runClick struct {
	Node string    `json:"node"`
	At   time.Time `json:"at" doc:"The first time."`
}

// plan is a run as it is planned.
type plan struct {
	Body struct {
		Execution execution  `json:"execution"`
		Rests     []runRest  `json:"rests" nullable:"false"`
		Clicks    []runClick `json:"clicks" nullable:"false" doc:"Links that the patient opened, where the workflow asks for that."`
	}
}

type executionInput struct {
	ID queryID `path:"id"`
	// Purpose is why the caller looks.
	Purpose string `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

// executionPlan shows one run with its whole plan.
func executionPlan(db Executions) (op operation[executionInput, plan]) {
	op.Operation = get("get-execution-plan", "/api/workflows/executions/{id}/plan", "Read the plan of a workflow execution",
		"One run with every step that it has: what was sent, what is planned and when, what was cancelled by a change of plan and why, and where a drawn workflow rests.", "Workflows")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[plan]{how: toldRead, shown: func(p *plan) (int, []uuid.UUID) { return 1, []uuid.UUID{p.Body.Execution.PatientID} }}
	op.do = func(ctx context.Context, by auth.Principal, in *executionInput) (*plan, error) {
		e, rests, clicks, err := db.ExecutionPlan(ctx, by.Tenant, uuid.UUID(in.ID))
		if err != nil {
			return nil, err
		}
		out := new(plan)
		out.Body.Execution, out.Body.Rests = showExecution(e), make([]runRest, len(rests))
		for i, r := range rests {
			out.Body.Rests[i] = runRest{r.Node, r.Until, orNull(r.Event), orNull(r.Outcome)}
		}
		out.Body.Clicks = make([]runClick, len(clicks))
		for i, c := range clicks {
			out.Body.Clicks[i] = runClick(c)
		}
		return out, nil
	}
	return op
}

// replanned is what a change of plans did.
type replanned struct {
	Body struct {
		Cancelled int         `json:"cancelled" doc:"Planned messages that are not sent any more."`
		InFlight  []uuid.UUID `json:"in_flight" nullable:"false" doc:"Messages whose request may be with the gateway already: they cannot be taken back."`
	}
}

type stopExecutionInput struct {
	ID   queryID `path:"id"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
	}
}

// stopExecution stops one run.
func stopExecution(db Executions) (op operation[stopExecutionInput, replanned]) {
	op.Operation = huma.Operation{
		OperationID: "stop-execution", Method: http.MethodPost, Path: "/api/workflows/executions/{id}/stop", Summary: "Stop a workflow execution",
		Description: "Cancels what is planned. Once this is answered nothing of the run is sent but what in_flight names, retries and fallbacks included. Once more changes nothing.",
		Tags:        []string{"Workflows"}, MaxBodyBytes: maxDecision,
	}
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[replanned]()
	op.do = func(ctx context.Context, by auth.Principal, in *stopExecutionInput) (*replanned, error) {
		r, err := db.StopExecution(ctx, by.Tenant, uuid.UUID(in.ID), hand(by, in.Body.Reason))
		if err != nil {
			return nil, err
		}
		out := new(replanned)
		out.Body.Cancelled, out.Body.InFlight = r.Cancelled, append([]uuid.UUID{}, r.InFlight...)
		return out, nil
	}
	return op
}
