package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// MessageLogs is the part of the ledger that has what was sent.
type MessageLogs interface {
	MessageLogs(ctx context.Context, id tenant.ID, q store.LogQuery) (store.Page[store.MessageLog], error)
}

// messageLog is a row of message_logs, with whom it went to.
type messageLog struct {
	ID           uuid.UUID     `json:"id" format:"uuid"`
	PatientID    uuid.UUID     `json:"patient_id" format:"uuid"`
	PatientName  *string       `json:"patient_name" doc:"null once the patient was erased."`
	PatientPhone *string       `json:"patient_phone" doc:"Masked; null once the patient was erased." example:"010****5678"`
	Channel      event.Channel `json:"channel" enum:"kakao,sms"`
	Status       string        `json:"status" enum:"pending,sent,failed,delivered" doc:"pending: an attempt is out, or its outcome is being found out. sent: a gateway accepted it. delivered: a report says so."`
	Content      *string       `json:"content" doc:"The text as sent; null if none was made, and once the patient was erased."`
	ErrorMessage *string       `json:"error_message" doc:"Why it failed, from a closed list; rejected:<code> has the gateway's code." example:"rejected:3018"`
	Metadata     logMetadata   `json:"metadata"`
	SentAt       *time.Time    `json:"sent_at" doc:"In the clinic's zone, like every time."`
	DeliveredAt  *time.Time    `json:"delivered_at"`
	CreatedAt    time.Time     `json:"created_at"`
}

// logMetadata links a log to what caused it.
type logMetadata struct {
	WorkflowID  uuid.UUID  `json:"workflow_id" format:"uuid"`
	ExecutionID uuid.UUID  `json:"execution_id" format:"uuid"`
	CampaignID  *uuid.UUID `json:"campaign_id" format:"uuid" nullable:"true"`
	StepID      uuid.UUID  `json:"step_id" format:"uuid"`
	RootID      uuid.UUID  `json:"root_id" format:"uuid" doc:"The step that this one is the fallback of; else the step itself."`
}

type listMessageLogsInput struct {
	Status      string    `query:"status" enum:"pending,sent,failed,delivered"`
	Channel     string    `query:"channel" enum:"kakao,sms"`
	PatientID   queryID   `query:"patient_id"`
	WorkflowID  queryID   `query:"workflow_id"`
	ExecutionID queryID   `query:"execution_id"`
	From        time.Time `query:"from" doc:"Created at or after this time (RFC 3339; write + as %2B)." example:"2026-11-01T00:00:00+09:00"`
	To          time.Time `query:"to" doc:"Created before this time."`
	Paging
}

// listMessageLogs serves what was sent, newest first.
func listMessageLogs(db MessageLogs) (op operation[listMessageLogsInput, page[messageLog]]) {
	op.Operation = get("list-message-logs", "/api/message-logs", "List message logs",
		"Every message that was sent or tried, one row per step and channel: a Kakao message that failed and the SMS that followed are two rows with one root_id.", "Messages")
	op.told = shows(func(m messageLog) uuid.UUID { return m.PatientID })
	op.do = func(ctx context.Context, by auth.Principal, in *listMessageLogsInput) (*page[messageLog], error) {
		logs, err := db.MessageLogs(ctx, by.Tenant, store.LogQuery{
			Status: in.Status, Channel: event.Channel(in.Channel),
			Patient: uuid.UUID(in.PatientID), Workflow: uuid.UUID(in.WorkflowID), Execution: uuid.UUID(in.ExecutionID),
			From: in.From, To: in.To, Cursor: in.Cursor, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		return newPage(logs.Rows, logs.Next, showLog), nil
	}
	return op
}

func showLog(m store.MessageLog) messageLog {
	return messageLog{
		ID: m.ID, PatientID: m.Patient, PatientName: orNull(m.PatientName), PatientPhone: orNull(m.PatientPhone.String()),
		Channel: m.Channel, Status: m.Status, Content: orNull(m.Content), ErrorMessage: orNull(string(m.Error)),
		Metadata: logMetadata{
			WorkflowID: m.Workflow, ExecutionID: m.Execution, CampaignID: orNull(m.Campaign), StepID: m.ID, RootID: m.Root,
		},
		SentAt: whenOrNull(m.Sent), DeliveredAt: whenOrNull(m.Delivered), CreatedAt: m.Created,
	}
}
