package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Merges is the part of the ledger that makes two rows of a person one.
type Merges interface {
	MergePatients(ctx context.Context, id tenant.ID, m store.Merge) (store.MergedPatients, error)
}

type mergeInput struct {
	ID   queryID `path:"id" doc:"The patient who becomes another name of the other."`
	Body struct {
		Into   queryID `json:"into" doc:"The patient who goes on, with their own number and name."`
		DryRun bool    `json:"dry_run,omitempty" doc:"Say what would happen, and change nothing."`
		Reason string  `json:"reason,omitempty" maxLength:"200" doc:"How it is known that both are one person, for the audit log; one line, without names or long numbers."`
	}
}

// mergedPatients is what a merge did, or would do.
type mergedPatients struct {
	Body struct {
		Into         uuid.UUID   `json:"into" format:"uuid" doc:"Who goes on."`
		DryRun       bool        `json:"dry_run" doc:"Whether nothing was changed."`
		Again        bool        `json:"again" doc:"It was done before; the numbers are those of then."`
		Final        bool        `json:"final" doc:"Always true: a merge cannot be taken back."`
		Executions   int         `json:"executions" doc:"Runs that are found under who goes on."`
		Open         int         `json:"open_executions" doc:"Those of them that go on, to the number of who goes on, under a new plan epoch."`
		Appointments int         `json:"appointments" doc:"Appointments that are found under who goes on."`
		OptOuts      int         `json:"opt_outs" doc:"Opt-outs that hold for who goes on since."`
		Refusals     int         `json:"refused_consents" doc:"Refused consents that hold for who goes on since."`
		Cancelled    int         `json:"cancelled" doc:"Planned messages that would have been sent twice."`
		InFlight     []uuid.UUID `json:"in_flight" nullable:"false" doc:"Messages of both whose request may be with the gateway already: they cannot be taken back."`
	}
}

func mergePatient(db Merges) (op operation[mergeInput, mergedPatients]) {
	op.Operation = huma.Operation{
		OperationID: "merge-patient", Method: http.MethodPost, Path: "/api/patients/{id}/merge", Summary: "Merge a patient into another",
		Description: "For one person whom the clinic has twice. Who said no under either is not sent to; what both would be sent is sent once; whoever names the merged one later means the other, and erasing either erases both. Once this is answered nothing superseded is sent but what in_flight names. It cannot be taken back: try it with dry_run first. The same merge again answers the same.",
		Tags:        []string{"Patients"}, MaxBodyBytes: maxDecision,
	}
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload}
	op.told = changes[mergedPatients]()
	op.do = func(ctx context.Context, by auth.Principal, in *mergeInput) (*mergedPatients, error) {
		done, err := db.MergePatients(ctx, by.Tenant, store.Merge{
			From: uuid.UUID(in.ID), Into: uuid.UUID(in.Body.Into), DryRun: in.Body.DryRun, Hand: hand(by, in.Body.Reason),
		})
		if err != nil {
			return nil, mergeRefused(ctx, in, err)
		}
		out := new(mergedPatients)
		b := &out.Body
		b.Into, b.DryRun, b.Again, b.Final = done.Into, in.Body.DryRun, done.Again, true
		b.Executions, b.Open, b.Appointments = done.Runs, done.Open, done.Appointments
		b.OptOuts, b.Refusals, b.Cancelled = done.OptOuts, done.Refusals, done.Cancelled
		b.InFlight = append([]uuid.UUID{}, done.InFlight...)
		return out, nil
	}
	return op
}

// mergeRefused says what about the two keeps them from being merged.
func mergeRefused(ctx context.Context, in *mergeInput, err error) error {
	var merged *store.MergedError
	switch {
	case errors.Is(err, store.ErrMergeItself):
		return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/into", Code: "itself"}))
	case errors.As(err, &merged):
		p := problem.New(problem.Conflict).WithDetail("The patient was merged into another before: merged_into has the one to name.")
		if merged.Patient == uuid.UUID(in.Body.Into) {
			p = p.WithErrors(problem.Field{Pointer: "/into", Code: "merged"})
		}
		f := newFailure(ctx, p)
		f.MergedInto = merged.Into.String()
		return f
	case errors.Is(err, store.ErrMergeErased):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("One of the two was erased, and cannot be merged any more."))
	case errors.Is(err, store.ErrNoNumber):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("Only the patient to be merged has a number. Merge the other way round.").
			WithErrors(problem.Field{Pointer: "/into", Code: "no-number"}))
	}
	return err
}
