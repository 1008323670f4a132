package event

import (
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Status is what a delivery event says became of an attempt, or of a step
// that was not attempted.
type Status string

// The statuses on the DELIVERIES stream.
const (
	Sent      Status = "sent"      // a gateway accepted the request
	Delivered Status = "delivered" // a report says that the handset has it
	Failed    Status = "failed"    // definite evidence that it was not delivered
	Unknown   Status = "unknown"   // written, and nobody can say yet what became of it
	Released  Status = "released"  // provably not written: the step waits again
	Parked    Status = "parked"    // a human must look
	Skipped   Status = "skipped"   // not sent, on purpose
	Cancelled Status = "cancelled" // not sent, because the plan changed
	Expired   Status = "expired"   // not sent, because its time passed
)

// Terminal reports whether a step in this status never moves again by itself.
func (s Status) Terminal() bool {
	switch s {
	case Delivered, Failed, Parked, Skipped, Cancelled, Expired:
		return true
	}
	return false
}

// Source says by which way the evidence came.
type Source string

// The sources of evidence.
const (
	Answer Source = "answer" // the HTTP answer to our own request
	Report Source = "report" // the gateway's webhook
	Poll   Source = "poll"   // message-results
	Query  Source = "query"  // asked for by grouping key
	Guard  Source = "guard"  // our own check before anything was written
)

// Delivery is one piece of evidence about a step. It holds the gateway's ids
// and codes as they came; their meaning is in Reason.
type Delivery struct {
	Tenant  tenant.ID `json:"tenant"`
	Step    uuid.UUID `json:"step"`
	Channel Channel   `json:"channel"`
	// Attempt is the claim that this evidence speaks for; 0 where nothing
	// was claimed.
	Attempt int32  `json:"attempt"`
	Status  Status `json:"status"`
	// Reason is one of the closed list in reason.go.
	Reason Reason `json:"reason,omitempty"`
	Source Source `json:"source"`
	// RequestID and Seq name the message at the gateway.
	RequestID string `json:"request_id,omitempty"`
	Seq       int    `json:"seq,omitempty"`
	// Code is the gateway's result code for this channel's product.
	Code string    `json:"code,omitempty"`
	At   time.Time `json:"at"`
	// Final forbids any other channel: the refusal was about hours or consent.
	Final bool `json:"final,omitempty"`
	// RetryAt is set with Released: not before this time again.
	RetryAt time.Time `json:"retry_at,omitzero"`
}

// Subject is delivery.<tenant>.<channel>.<status>.
func (e *Delivery) Subject() string {
	return "delivery." + e.Tenant.String() + "." + string(e.Channel) + "." + string(e.Status)
}

// MsgID names the evidence: the same fact told twice by the same source is
// stored once inside the window.
func (e *Delivery) MsgID() string {
	b := append(make([]byte, 0, 80), e.Step.String()...)
	b = strconv.AppendInt(append(b, '.'), int64(e.Attempt), 10)
	b = append(append(b, '.'), e.Status...)
	return string(append(append(b, '.'), e.Source...))
}

// plain reports whether s is what a gateway's id or code may look like.
// Anything else is dropped before it is published: a gateway must not be able
// to write into our logs.
func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > ':') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '.' && c != '+' && c != '-' {
			return false
		}
	}
	return len(s) <= 64
}

// writable reports whether RFC 3339 has a form for t: a gateway's time may be
// one that it has none for, and must not fail the events that share a message.
func writable(t time.Time) bool {
	const day = 24 * 60 * 60
	_, offset := t.Zone()
	return t.Year() >= 0 && t.Year() <= 9999 && offset > -day && offset < day
}

// Validate reports a missing id, an unknown status, source, channel or
// reason, times that cannot be written, and ids or codes that are not plain words of at most 64 characters.
func (e *Delivery) Validate() error {
	switch {
	case e.Tenant.IsZero() || e.Step == uuid.Nil:
		return fmt.Errorf("%w: delivery without an id", ErrInvalid)
	case !e.Channel.Valid():
		return fmt.Errorf("%w: unknown channel", ErrInvalid)
	case e.Attempt < 0 || e.Seq < 0:
		return fmt.Errorf("%w: negative number", ErrInvalid)
	case e.At.IsZero():
		return fmt.Errorf("%w: delivery without a time", ErrInvalid)
	case !writable(e.At) || !writable(e.RetryAt):
		return fmt.Errorf("%w: a time outside of RFC 3339", ErrInvalid)
	case !plain(e.RequestID) || !plain(e.Code):
		return fmt.Errorf("%w: request id or code is not a plain word", ErrInvalid)
	case e.Reason != "" && !e.Reason.Valid():
		return fmt.Errorf("%w: unknown reason", ErrInvalid)
	}
	switch e.Status {
	case Sent, Delivered, Unknown, Released:
	case Failed, Parked, Skipped, Cancelled, Expired:
		if e.Reason == "" {
			return fmt.Errorf("%w: %s without a reason", ErrInvalid, e.Status)
		}
	default:
		return fmt.Errorf("%w: unknown status", ErrInvalid)
	}
	switch e.Source {
	case Answer, Report, Poll, Query, Guard:
		return nil
	}
	return fmt.Errorf("%w: unknown source", ErrInvalid)
}
