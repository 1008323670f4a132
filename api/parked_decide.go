package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// decided is what became of a parked message.
type decided struct {
	Body struct {
		ID        uuid.UUID   `json:"id" format:"uuid"`
		State     store.State `json:"state" enum:"unknown,planned,failed" doc:"unknown: the gateway is asked. planned: it is sent again. failed: dropped."`
		DecidedAt time.Time   `json:"decided_at"`
		ExpiresAt time.Time   `json:"expires_at"`
	}
}

type retryParkedInput struct {
	ID   queryID `path:"id"`
	Body struct {
		Mode            string `json:"mode,omitempty" enum:"ask,resend" default:"ask" doc:"ask: ask the gateway again; what it proves that it never had is sent again if still valid, and nothing else. resend: send it again."`
		Reason          string `json:"reason,omitempty" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers. Required to resend."`
		AcceptDuplicate bool   `json:"accept_duplicate,omitempty" doc:"With resend: the patient may get it twice, and that is accepted."`
		ExtendMinutes   int    `json:"extend_minutes,omitempty" minimum:"0" maximum:"10080" doc:"With resend: make it due now and valid for at least so long."`
	}
}

type dropParkedInput struct {
	ID   queryID `path:"id"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
	}
}

// retryParked decides that a parked message's outcome matters still.
func retryParked(db Parked) (op operation[retryParkedInput, decided]) {
	op.Operation = decide("retry-parked-step", "/api/parked-steps/{id}/retry", "Retry a parked message",
		"Has the gateway asked again, or sends the message again. The second passes the guards of every sending and may reach the patient twice: it is refused until accept_duplicate says that this is known. Errors name why by a code.")
	op.more = decisionProblems
	op.told = changes[decided]()
	op.do = func(ctx context.Context, by auth.Principal, in *retryParkedInput) (*decided, error) {
		b := in.Body
		if b.Mode == "ask" && (b.AcceptDuplicate || b.ExtendMinutes != 0) {
			return nil, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/mode", Code: "not-resend"}))
		}
		d, err := db.RetryParked(ctx, by.Tenant, uuid.UUID(in.ID), store.Retry{
			Hand: hand(by, b.Reason), Resend: b.Mode == "resend", AcceptDuplicate: b.AcceptDuplicate, Extend: time.Duration(b.ExtendMinutes) * time.Minute,
		})
		return showDecided(d, err)
	}
	return op
}

// dropParked decides that it is over.
func dropParked(db Parked) (op operation[dropParkedInput, decided]) {
	op.Operation = decide("drop-parked-step", "/api/parked-steps/{id}/drop", "Drop a parked message",
		"Gives the message up: it has failed for good, with reason dropped, and no other channel is tried.")
	op.more = decisionProblems
	op.told = changes[decided]()
	op.do = func(ctx context.Context, by auth.Principal, in *dropParkedInput) (*decided, error) {
		return showDecided(db.DropParked(ctx, by.Tenant, uuid.UUID(in.ID), hand(by, in.Body.Reason)))
	}
	return op
}

// decisionProblems are the answers that a decision may give beside those of
// every operation.
var decisionProblems = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload}

// maxDecision bounds the body, in bytes.
const maxDecision = 4 << 10

func decide(id, path, summary, description string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Summary: summary, Description: description, Tags: []string{"Parked"},
		MaxBodyBytes: maxDecision,
	}
}

func hand(by auth.Principal, note string) store.Hand {
	return store.Hand{Actor: by.Actor(), Note: note}
}

func showDecided(d store.Decided, err error) (*decided, error) {
	if err != nil {
		return nil, err
	}
	out := new(decided)
	out.Body.ID, out.Body.State, out.Body.DecidedAt, out.Body.ExpiresAt = d.Step, d.State, d.At, d.Expires
	return out, nil
}

// refusals are what a caller can do about each refusal: the place in the body
// that may change it, if any, and a sentence.
var refusals = map[store.Refusal]struct {
	pointer string
	problem problem.Problem
}{
	store.NotParked:       {"", problem.New(problem.Conflict).WithDetail("The message is not parked. Read its execution.")},
	store.AlreadyRetried:  {"", problem.New(problem.Conflict).WithDetail("It was retried already, and is under way.")},
	store.AlreadyDropped:  {"", problem.New(problem.Conflict).WithDetail("It was dropped already.")},
	store.PlanChanged:     {"", problem.New(problem.Conflict).WithDetail("The plan changed since, so that it may not be sent. Drop it, or have the gateway asked.")},
	store.AppointmentGone: {"", problem.New(problem.Conflict).WithDetail("Its appointment was cancelled. Drop it.")},
	store.PatientGone:     {"", problem.New(problem.Conflict).WithDetail("Its patient was erased. Drop it.")},
	store.RefusedByWill:   {"", problem.New(problem.Conflict).WithDetail("The patient opted out. Drop it.")},
	store.WithoutConsent:  {"", problem.New(problem.Conflict).WithDetail("It is advertising, and the patient has not consented. Drop it.")},
	store.WithoutAccount:  {"", problem.New(problem.Conflict).WithDetail("The clinic has no account in use for this channel.")},
	store.PastExpiry:      {"/extend_minutes", problem.New(problem.Conflict).WithDetail("Its validity is over. Drop it, or say for how long it is to be valid.")},
	store.PastPolicy:      {"/extend_minutes", problem.New(problem.Conflict).WithDetail("Its workflow wants it not late. Drop it, or say for how long it is to be valid.")},
	store.MayBeDuplicate:  {"/accept_duplicate", problem.New(problem.Conflict).WithDetail("The gateway may have taken it already. Have it asked, or accept that the patient may get it twice.")},
}

// refusalOf makes a refusal an answer.
func refusalOf(e *store.RefusedError) problem.Problem {
	r, ok := refusals[e.Why]
	if !ok {
		return problem.New(problem.Conflict)
	}
	return r.problem.WithErrors(problem.Field{Pointer: r.pointer, Code: string(e.Why)})
}
