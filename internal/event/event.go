// Package event is the wire contract between the roles: for each message its
// type, its subject, its message id and its validation stand together here.
// It carries ids and codes only, never patient data, and knows nothing of NATS.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// ErrInvalid is wrapped by every error of [Decode] and Validate: the message
// is not one of ours and redelivery cannot mend it.
var ErrInvalid = errors.New("event: invalid message")

// Event is a message of the pipeline.
type Event interface {
	// Subject is where the message is published.
	Subject() string
	// MsgID de-duplicates inside the stream's window (an optimisation; the
	// authority is a unique key or a fence in Postgres).
	MsgID() string
	// Validate reports whether every field is one that this version may send.
	Validate() error

	appendJSON(b []byte) []byte
	scanJSON(b []byte) bool
}

// Encode returns the message's JSON.
func Encode(e Event) ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e.appendJSON(make([]byte, 0, 384)), nil
}

// Decode reads one message. Unknown fields are ignored, so that an older role
// reads what a newer one wrote; errors wrap [ErrInvalid].
func Decode[E any, P interface {
	*E
	Event
}](b []byte) (E, error) {
	var e E
	if P(&e).scanJSON(b) {
		return e, P(&e).Validate()
	}
	e = *new(E)
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fmt.Errorf("%w: not JSON of this shape", ErrInvalid)
	}
	if err := P(&e).Validate(); err != nil {
		return e, err
	}
	return e, nil
}

// Kind says what a trigger came from.
type Kind string

// The kinds of trigger.
const (
	Webhook     Kind = "webhook"
	Appointment Kind = "appointment"
	Cron        Kind = "cron"
	Campaign    Kind = "campaign"
)

// Lane is where the messages go that it starts: what is started for many at
// once must not stand before anybody's own.
func (k Kind) Lane() Lane {
	if k == Campaign || k == Cron {
		return Bulk
	}
	return Care
}

// Channel is a way to reach a patient.
type Channel string

// The channels.
const (
	Kakao Channel = "kakao"
	SMS   Channel = "sms"
)

// Valid reports whether c is a known channel.
func (c Channel) Valid() bool { return c == Kakao || c == SMS }

// Lane separates what a patient waits for from what a campaign sends, so that
// the second cannot delay the first.
type Lane string

// The lanes.
const (
	Care Lane = "care"
	Bulk Lane = "bulk"
)

// Lanes lists every lane, most urgent first.
var Lanes = []Lane{Care, Bulk}

// Key is the idempotency and grouping key at the gateway: the root step's id
// and the channel, the same for the life of the step, so that a gateway (and
// an auditor) sees a Kakao message and its SMS fallback as one.
func Key(root uuid.UUID, c Channel) string { return root.String() + ":" + string(c) }

// ParseKey reads what [Key] wrote.
func ParseKey(s string) (root uuid.UUID, c Channel, err error) {
	id, ch, ok := strings.Cut(s, ":")
	root, perr := uuid.Parse(id)
	if !ok || perr != nil || root.String() != id || !Channel(ch).Valid() {
		return uuid.Nil, "", fmt.Errorf("%w: not a gateway key", ErrInvalid)
	}
	return root, Channel(ch), nil
}

// Trigger says that something happened which may start workflows. What
// happened is in Postgres.
type Trigger struct {
	Tenant tenant.ID `json:"tenant"`
	ID     uuid.UUID `json:"id"`
	Kind   Kind      `json:"kind"`
	// Lease numbers the publication, see [Step]; 0 for ingest's own.
	Lease int64 `json:"lease,omitempty"`
}

// Subject is trigger.<tenant>.<kind>.
func (e *Trigger) Subject() string { return "trigger." + e.Tenant.String() + "." + string(e.Kind) }

// MsgID names the trigger and its lease: one publication repeated is stored
// once, a trigger that release publishes again is a new message.
func (e *Trigger) MsgID() string {
	if e.Lease == 0 {
		return e.ID.String()
	}
	return fmt.Sprintf("%s.%d", e.ID, e.Lease)
}

// Validate reports a missing id or an unknown kind.
func (e *Trigger) Validate() error {
	switch {
	case e.Tenant.IsZero() || e.ID == uuid.Nil:
		return fmt.Errorf("%w: trigger without an id", ErrInvalid)
	case e.Kind != Webhook && e.Kind != Appointment && e.Kind != Cron && e.Kind != Campaign:
		return fmt.Errorf("%w: unknown trigger kind", ErrInvalid)
	}
	return nil
}

// Step says that a step is due. Attempt and PlanEpoch are the fence: the
// dispatcher claims the step only while both still hold.
type Step struct {
	Tenant    tenant.ID `json:"tenant"`
	ID        uuid.UUID `json:"id"`
	Lane      Lane      `json:"lane"`
	Channel   Channel   `json:"channel"`
	Attempt   int32     `json:"attempt"`
	PlanEpoch int32     `json:"plan_epoch"`
	// Lease numbers the publication: the end of its lease in Unix
	// milliseconds, 0 for the planner's own.
	Lease int64 `json:"lease,omitempty"`
}

// Subject is step.due.<lane>.<tenant>.
func (e *Step) Subject() string { return "step.due." + string(e.Lane) + "." + e.Tenant.String() }

// MsgID names the step, its fence and its lease: a step that is released again
// is a new message, one publication repeated is not.
func (e *Step) MsgID() string {
	b := append(make([]byte, 0, 64), e.ID.String()...)
	for _, n := range [3]int64{int64(e.Attempt), int64(e.PlanEpoch), e.Lease} {
		b = strconv.AppendInt(append(b, '.'), n, 10)
	}
	return string(b)
}

// Validate reports a missing id, an unknown lane or channel, or a negative fence.
func (e *Step) Validate() error {
	switch {
	case e.Tenant.IsZero() || e.ID == uuid.Nil:
		return fmt.Errorf("%w: step without an id", ErrInvalid)
	case e.Lane != Care && e.Lane != Bulk:
		return fmt.Errorf("%w: unknown lane", ErrInvalid)
	case !e.Channel.Valid():
		return fmt.Errorf("%w: unknown channel", ErrInvalid)
	case e.Attempt < 0 || e.PlanEpoch < 0:
		return fmt.Errorf("%w: negative fence", ErrInvalid)
	}
	return nil
}
