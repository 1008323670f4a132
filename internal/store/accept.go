package store

import (
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Webhook is an endpoint's configuration with its secrets opened.
type Webhook struct {
	Tenant     tenant.ID
	ID         uuid.UUID
	WorkflowID uuid.UUID // zero: only Routes start workflows
	Enabled    bool
	// Secrets holds the live secrets, newest first: the current one and,
	// while rotating, the previous one until PreviousExpires.
	Secrets         [][]byte
	PreviousExpires time.Time
	// LegacySignature accepts x-webhook-signature besides Standard Webhooks.
	LegacySignature bool
	EventIDPointer  string // legacy callers' event id in the payload; "" means the body's hash within 24 h
	PatientPointer  string // RFC 6901, default /patient
	TypePointer     string // RFC 6901, default /type
	CreatePatients  bool
	RatePerMinute   int
}

// AcceptStatus is what became of an accepted call.
type AcceptStatus string

// The statuses of webhook_executions.
const (
	Accepted  AcceptStatus = "accepted"
	Duplicate AcceptStatus = "duplicate"
	Conflict  AcceptStatus = "conflict"
	Refused   AcceptStatus = "refused"
)

// Accept is one verified call to be committed.
type Accept struct {
	Tenant    tenant.ID
	WebhookID uuid.UUID
	// Source and EventID are the trigger's unique key inside its tenant.
	// With an empty EventID the body's hash stands in for 24 hours.
	Source    string
	EventID   string
	EventType string
	Kind      event.Kind
	Body      []byte
	Received  time.Time // when the request arrived, for execution_time_ms
}

// AcceptResult answers one [Accept].
type AcceptResult struct {
	TriggerID uuid.UUID // of the stored trigger, the earlier one of a duplicate
	Status    AcceptStatus
}

// RefusedCall is a call to a known webhook that was not accepted. Body is nil
// unless the caller proved who it is.
type RefusedCall struct {
	Tenant         tenant.ID
	WebhookID      uuid.UUID
	EventID        string
	ResponseStatus int
	Problem        string // the problem's slug, e.g. "invalid-signature"
	Body           []byte
	Received       time.Time
}
