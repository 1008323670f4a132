package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/problem"
)

type appointmentNoticeInput struct {
	ID      queryID `path:"id"`
	RawBody []byte  `contentType:"application/fhir+json"`
}

type appointmentNoticeOutput struct{ Body intake.Notice }

// receiveFHIRNotification keeps what a FHIR server's subscription tells.
func receiveFHIRNotification(desk *intake.Desk, news intake.News) (op operation[appointmentNoticeInput, appointmentNoticeOutput]) {
	op.Operation = huma.Operation{
		OperationID: "receive-fhir-notification", Method: http.MethodPost, Path: "/api/fhir/{id}/notifications", Summary: "Hear a FHIR subscription",
		Description: "A notification of a FHIR server that an operator named (doctorsflow tenant fhir create): R5's topic subscriptions, or the Subscriptions R5 Backport for R4 and R4B. Handshakes and heartbeats are answered; events that were missed are asked for. 200 means that nothing of it is lost.",
		Tags:        []string{"Appointments"}, MaxBodyBytes: maxAppointmentBody,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			fhirType:           {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "A notification Bundle."}},
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "A notification Bundle."}},
		}},
	}
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[appointmentNoticeOutput]()
	op.do = func(ctx context.Context, by auth.Principal, in *appointmentNoticeInput) (*appointmentNoticeOutput, error) {
		out, faults, err := desk.ReceiveNotification(ctx, by.Tenant, acting(ctx, by, ""), news, uuid.UUID(in.ID), in.RawBody)
		if err != nil {
			return nil, err
		}
		if len(faults) > 0 {
			return nil, rejected(ctx, faults)
		}
		return &appointmentNoticeOutput{out}, nil
	}
	return op
}
