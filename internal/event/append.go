package event

import (
	"strconv"
	"time"
)

// The messages write themselves: they are many, small and flat, and hold only
// ids, words and times that need no escaping once they are valid. The golden
// files hold these writers to what encoding/json writes.

func (e *Trigger) appendJSON(b []byte) []byte {
	b = appendText(append(b, `{"tenant":`...), e.Tenant.String())
	b = appendText(append(b, `,"id":`...), e.ID.String())
	b = appendText(append(b, `,"kind":`...), string(e.Kind))
	if e.Lease != 0 {
		b = strconv.AppendInt(append(b, `,"lease":`...), e.Lease, 10)
	}
	return append(b, '}')
}

func (e *Step) appendJSON(b []byte) []byte {
	b = appendText(append(b, `{"tenant":`...), e.Tenant.String())
	b = appendText(append(b, `,"id":`...), e.ID.String())
	b = appendText(append(b, `,"lane":`...), string(e.Lane))
	b = appendText(append(b, `,"channel":`...), string(e.Channel))
	b = strconv.AppendInt(append(b, `,"attempt":`...), int64(e.Attempt), 10)
	b = strconv.AppendInt(append(b, `,"plan_epoch":`...), int64(e.PlanEpoch), 10)
	if e.Lease != 0 {
		b = strconv.AppendInt(append(b, `,"lease":`...), e.Lease, 10)
	}
	return append(b, '}')
}

func (e *Delivery) appendJSON(b []byte) []byte {
	b = appendText(append(b, `{"tenant":`...), e.Tenant.String())
	b = appendText(append(b, `,"step":`...), e.Step.String())
	b = appendText(append(b, `,"channel":`...), string(e.Channel))
	b = strconv.AppendInt(append(b, `,"attempt":`...), int64(e.Attempt), 10)
	b = appendText(append(b, `,"status":`...), string(e.Status))
	if e.Reason != "" {
		b = appendText(append(b, `,"reason":`...), string(e.Reason))
	}
	b = appendText(append(b, `,"source":`...), string(e.Source))
	if e.RequestID != "" {
		b = appendText(append(b, `,"request_id":`...), e.RequestID)
	}
	if e.Seq != 0 {
		b = strconv.AppendInt(append(b, `,"seq":`...), int64(e.Seq), 10)
	}
	if e.Code != "" {
		b = appendText(append(b, `,"code":`...), e.Code)
	}
	b = appendTime(append(b, `,"at":`...), e.At)
	if e.Final {
		b = append(b, `,"final":true`...)
	}
	if !e.RetryAt.IsZero() {
		b = appendTime(append(b, `,"retry_at":`...), e.RetryAt)
	}
	return append(b, '}')
}

// appendText quotes what has nothing to escape.
func appendText(b []byte, s string) []byte { return append(append(append(b, '"'), s...), '"') }

// appendTime writes a time that RFC 3339 has a form for, as Validate demands.
func appendTime(b []byte, t time.Time) []byte {
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
