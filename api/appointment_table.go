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

type appointmentTableInput struct {
	Source   string `query:"source" pattern:"^[a-z0-9][a-z0-9._-]{0,63}$" doc:"The system that numbers appointments; default clinic."`
	Identify string `query:"identify" enum:"number,visit" default:"number" doc:"visit: the export has no appointment numbers; a patient's appointment of a day is one. What moves to another day is another one then."`
	RawBody  []byte `contentType:"text/csv"`
}

type appointmentTableOutput struct{ Body intake.TableReceipt }

// receiveAppointmentTable keeps what practice software exports.
func receiveAppointmentTable(desk *intake.Desk) (op operation[appointmentTableInput, appointmentTableOutput]) {
	op.Operation = huma.Operation{
		OperationID: "receive-appointment-table", Method: http.MethodPost, Path: "/api/appointments/csv", Summary: "Tell where appointments stand, as a table",
		Description: "An export of practice software: a heading and at most 2,000 rows in UTF-8 or CP949, an answer for each. A row says where an appointment stands; what happened is found by comparing. The same table again changes nothing. Columns are described by docs/appointments.md.",
		Tags:        []string{"Appointments"}, MaxBodyBytes: maxAppointmentBody,
	}
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = changes[appointmentTableOutput]()
	op.do = func(ctx context.Context, by auth.Principal, in *appointmentTableInput) (*appointmentTableOutput, error) {
		out, faults, err := desk.ReceiveTable(ctx, by.Tenant, acting(ctx, by, ""), in.RawBody, appointment.TableOptions{Source: in.Source, Identify: in.Identify})
		if err != nil {
			return nil, err
		}
		if len(faults) > 0 {
			return nil, rejected(ctx, faults)
		}
		return &appointmentTableOutput{out}, nil
	}
	return op
}
