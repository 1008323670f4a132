package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// AuditLog is the part of the ledger that has who did what.
type AuditLog interface {
	AuditLog(ctx context.Context, id tenant.ID, q store.AuditQuery) (store.Page[store.AuditRow], error)
	Audit(ctx context.Context, id tenant.ID, e store.AuditEntry) error
}

// auditRow is a row of audit_log.
type auditRow struct {
	Seq       int64           `json:"seq" doc:"1, 2, 3 … without a gap."`
	At        time.Time       `json:"at" doc:"In the clinic's zone, like every time."`
	Actor     string          `json:"actor" doc:"Who: an API key's id, a signed-in person, a login on the machine, or the program itself." example:"key:01890a5d-ac96-774b-bcce-b302099a8057"`
	From      *string         `json:"from_addr" doc:"The address that the request came from."`
	Action    string          `json:"action" doc:"read, export, send, or a change." example:"parked.drop"`
	Subject   string          `json:"subject" doc:"What to, or by which operation." example:"list-message-logs"`
	SubjectID *uuid.UUID      `json:"subject_id" format:"uuid" nullable:"true"`
	Patients  []uuid.UUID     `json:"patients" nullable:"false" doc:"Whose data it was. Of more than 500, the detail has the number and a digest."`
	Purpose   *string         `json:"purpose" doc:"Why, as its actor said."`
	Detail    json.RawMessage `json:"detail" doc:"An object: ids, states, times and counts."`
	Hash      string          `json:"hash" doc:"SHA-256 over the row and the hash of the row before, hexadecimal."`
}

type listAuditLogInput struct {
	Actor     string    `query:"actor" maxLength:"80" pattern:"^(key|cli|user|system):" doc:"As a row has it."`
	Action    string    `query:"action" maxLength:"40" pattern:"^[a-z_.]+$" example:"read"`
	PatientID queryID   `query:"patient_id" doc:"Rows that name this patient."`
	From      time.Time `query:"from" doc:"At or after this time (RFC 3339; write + as %2B)." example:"2026-11-01T00:00:00+09:00"`
	To        time.Time `query:"to" doc:"Before this time."`
	Paging
}

// listAuditLog serves who did what, newest first.
func listAuditLog(db AuditLog) (op operation[listAuditLogInput, page[auditRow]]) {
	op.Operation = get("list-audit-log", "/api/audit-log", "List the audit log",
		"Every read, export, sending and change of patient data: who, when, from where, whose and why. Nobody can change a row; `doctorsflow verify-audit` proves it. To read it is a read too.", "Audit")
	op.told = shows(func(auditRow) uuid.UUID { return uuid.Nil })
	op.do = func(ctx context.Context, by auth.Principal, in *listAuditLogInput) (*page[auditRow], error) {
		rows, err := db.AuditLog(ctx, by.Tenant, store.AuditQuery{
			Actor: in.Actor, Action: in.Action, Patient: uuid.UUID(in.PatientID), From: in.From, To: in.To, Cursor: in.Cursor, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		return newPage(rows.Rows, rows.Next, showAudit), nil
	}
	return op
}

func showAudit(r store.AuditRow) auditRow {
	return auditRow{
		Seq: r.Seq, At: r.At, Actor: r.Actor, From: orNull(r.From), Action: r.Action, Subject: r.Subject, SubjectID: orNull(r.SubjectID),
		Patients: r.Patients, Purpose: orNull(r.Purpose), Detail: r.Detail, Hash: hex.EncodeToString(r.Hash),
	}
}
