package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// OptOuts is the part of the ledger that has who said no.
type OptOuts interface {
	OptOuts(ctx context.Context, id tenant.ID, patient uuid.UUID) ([]store.OptOut, error)
	OptOut(ctx context.Context, id tenant.ID, patient uuid.UUID, o store.OptOut, by store.Hand) (store.OptedOut, error)
	LiftOptOut(ctx context.Context, id tenant.ID, patient, optOut uuid.UUID, by store.Hand) error
}

type optOut struct {
	ID        uuid.UUID       `json:"id" format:"uuid"`
	Channel   *event.Channel  `json:"channel" enum:"kakao,sms" nullable:"true" doc:"null: every channel."`
	Class     *workflow.Class `json:"class" enum:"transactional,care_followup,marketing,auth" nullable:"true" doc:"null: every class."`
	Source    string          `json:"source" doc:"Who told us: apply, api or cli."`
	CreatedAt time.Time       `json:"created_at"`
}

type optOuts struct {
	Body struct {
		Data []optOut `json:"data" nullable:"false"`
	}
	patient uuid.UUID
}

type optOutsInput struct {
	ID      queryID `path:"id"`
	Purpose string  `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

func listOptOuts(db OptOuts) (op operation[optOutsInput, optOuts]) {
	op.Operation = get("list-opt-outs", "/api/patients/{id}/opt-outs", "List a patient's opt-outs",
		"What stands under the patient's number, and so holds for everybody who has it.", "Patients")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[optOuts]{how: toldRead, shown: func(o *optOuts) (int, []uuid.UUID) { return len(o.Body.Data), []uuid.UUID{o.patient} }}
	op.do = func(ctx context.Context, by auth.Principal, in *optOutsInput) (*optOuts, error) {
		list, err := db.OptOuts(ctx, by.Tenant, uuid.UUID(in.ID))
		if err != nil {
			return nil, err
		}
		out := &optOuts{patient: uuid.UUID(in.ID)}
		out.Body.Data = make([]optOut, len(list))
		for i, o := range list {
			out.Body.Data[i] = optOut{ID: o.ID, Source: o.Source, CreatedAt: o.Created}
			if o.Channel != "" {
				out.Body.Data[i].Channel = &o.Channel
			}
			if o.Class != "" {
				out.Body.Data[i].Class = &o.Class
			}
		}
		return out, nil
	}
	return op
}

type optOutInput struct {
	ID   queryID `path:"id"`
	Body struct {
		Channel event.Channel  `json:"channel,omitempty" enum:"kakao,sms" doc:"Only this channel; by default every one."`
		Class   workflow.Class `json:"class,omitempty" enum:"transactional,care_followup,marketing,auth" doc:"Only this class of messages; by default every one."`
		Reason  string         `json:"reason,omitempty" maxLength:"200" doc:"How it was told, for the audit log; one line, without names or long numbers."`
	}
}

// optedOut is what an opt-out did.
type optedOut struct {
	Body struct {
		Again     bool        `json:"again" doc:"It stood already."`
		Patients  int         `json:"patients" doc:"How many patients of the clinic have the number."`
		Cancelled int         `json:"cancelled" doc:"Planned messages that are not sent any more."`
		InFlight  []uuid.UUID `json:"in_flight" nullable:"false" doc:"Messages whose request may be with the gateway already: they cannot be taken back."`
	}
}

func optOutPatient(db OptOuts) (op operation[optOutInput, optedOut]) {
	op.Operation = huma.Operation{
		OperationID: "opt-out-patient", Method: http.MethodPost, Path: "/api/patients/{id}/opt-outs", Summary: "Opt a patient out",
		Description: "Keeps messages from the patient's number and cancels what is planned. Once this is answered nothing of what was refused is sent but what in_flight names, retries and fallbacks included. Once more changes nothing.",
		Tags:        []string{"Patients"}, MaxBodyBytes: maxDecision,
	}
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload}
	op.told = changes[optedOut]()
	op.do = func(ctx context.Context, by auth.Principal, in *optOutInput) (*optedOut, error) {
		o := store.OptOut{Channel: in.Body.Channel, Class: in.Body.Class, Source: "api"}
		done, err := db.OptOut(ctx, by.Tenant, uuid.UUID(in.ID), o, hand(by, in.Body.Reason))
		if err != nil {
			return nil, err
		}
		out := new(optedOut)
		out.Body.Again, out.Body.Patients = done.Again, len(done.Patients)
		out.Body.Cancelled, out.Body.InFlight = done.Cancelled, append([]uuid.UUID{}, done.InFlight...)
		return out, nil
	}
	return op
}

type liftOptOutInput struct {
	ID     queryID `path:"id"`
	OptOut queryID `path:"opt_out_id"`
	Body   struct {
		Reason string `json:"reason" minLength:"1" maxLength:"200" doc:"Whose wish it was and how it was told, for the audit log; one line, without names or long numbers."`
	}
}

type lifted struct {
	Body struct {
		ID uuid.UUID `json:"id" format:"uuid"`
	}
}

func liftOptOut(db OptOuts) (op operation[liftOptOutInput, lifted]) {
	op.Operation = huma.Operation{
		OperationID: "lift-opt-out", Method: http.MethodPost, Path: "/api/patients/{id}/opt-outs/{opt_out_id}/lift", Summary: "Lift an opt-out",
		Description: "For a patient who wants messages again. What was cancelled stays cancelled; the next event plans anew.",
		Tags:        []string{"Patients"}, MaxBodyBytes: maxDecision,
	}
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload}
	op.told = changes[lifted]()
	op.do = func(ctx context.Context, by auth.Principal, in *liftOptOutInput) (*lifted, error) {
		if err := db.LiftOptOut(ctx, by.Tenant, uuid.UUID(in.ID), uuid.UUID(in.OptOut), hand(by, in.Body.Reason)); err != nil {
			return nil, err
		}
		out := new(lifted)
		out.Body.ID = uuid.UUID(in.OptOut)
		return out, nil
	}
	return op
}
