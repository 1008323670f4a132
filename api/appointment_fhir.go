package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/problem"
)

// fhirType is FHIR's own media type, whose parameters name its version.
const fhirType = "application/fhir+json"

type appointmentFHIRInput struct {
	Source     string `query:"source" pattern:"^[a-z0-9][a-z0-9._-]{0,63}$" doc:"The system that numbers appointments; default clinic."`
	Identifier string `query:"identifier" maxLength:"200" doc:"The system of the identifier that is the clinic's own number of a patient; else the Patient's id is."`
	RawBody    []byte `contentType:"application/fhir+json"`
}

type appointmentFHIROutput struct{ Body intake.FHIRReceipt }

// receiveAppointmentFHIR keeps what a FHIR system says of appointments.
func receiveAppointmentFHIR(desk *intake.Desk) (op operation[appointmentFHIRInput, appointmentFHIROutput]) {
	op.Operation = huma.Operation{
		OperationID: "receive-appointment-fhir", Method: http.MethodPost, Path: "/api/appointments/fhir", Summary: "Tell where appointments stand, in FHIR",
		Description: "An Appointment or an Encounter of FHIR R4 or R5, or a Bundle of any type with at most 500 resources; an answer for each. A resource says where an appointment stands; what happened is found by comparing. The same version again changes nothing. Elements are described by docs/appointments.md.",
		Tags:        []string{"Appointments"}, MaxBodyBytes: maxAppointmentBody,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			fhirType:           {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "A FHIR resource."}},
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "A FHIR resource."}},
		}},
	}
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = changes[appointmentFHIROutput]()
	op.do = func(ctx context.Context, by auth.Principal, in *appointmentFHIRInput) (*appointmentFHIROutput, error) {
		out, faults, err := desk.ReceiveFHIR(ctx, by.Tenant, acting(ctx, by, ""), in.RawBody, appointment.FHIROptions{Source: in.Source, Identifier: in.Identifier})
		if err != nil {
			return nil, err
		}
		if len(faults) > 0 {
			return nil, rejected(ctx, faults)
		}
		return &appointmentFHIROutput{out}, nil
	}
	return op
}
