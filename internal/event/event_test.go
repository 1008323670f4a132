package event_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

const (
	tenantText = "01890a5d-ac96-774b-bcce-b302099a8057"
	idText     = "01890a5d-ac97-7b2c-a1d2-0123456789ab"
)

var (
	clinic, _ = tenant.Parse(tenantText)
	id        = uuid.MustParse(idText)
	at        = time.Date(2026, 3, 2, 1, 0, 0, 123456789, time.UTC)
)

func trigger() *event.Trigger {
	return &event.Trigger{Tenant: clinic, ID: id, Kind: event.Webhook}
}

func step() *event.Step {
	return &event.Step{Tenant: clinic, ID: id, Lane: event.Care, Channel: event.Kakao}
}

func delivery() *event.Delivery {
	return &event.Delivery{
		Tenant: clinic, Step: id, Channel: event.Kakao, Attempt: 1, Status: event.Sent, Source: event.Answer, At: at,
		RequestID: "20260302100000ReZQ6KZzAH0", Seq: 1,
	}
}

// with returns what make returns, changed by f.
func with[T any](fresh func() *T, f func(*T)) *T {
	v := fresh()
	f(v)
	return v
}

func TestSubjectAndMessageIDOfEachEvent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		e              event.Event
		subject, msgID string
	}{
		{trigger(), "trigger." + tenantText + ".webhook", idText},
		{with(trigger, func(e *event.Trigger) { e.Kind = event.Campaign }), "trigger." + tenantText + ".campaign", idText},
		{step(), "step.due.care." + tenantText, idText + ".0.0.0"},
		{
			with(step, func(e *event.Step) { e.Lane, e.Attempt, e.PlanEpoch, e.Lease = event.Bulk, 2, 3, 1772413200000 }),
			"step.due.bulk." + tenantText, idText + ".2.3.1772413200000",
		},
		{delivery(), "delivery." + tenantText + ".kakao.sent", idText + ".1.sent.answer"},
		{
			with(delivery, func(e *event.Delivery) { e.Channel, e.Status, e.Source = event.SMS, event.Delivered, event.Poll }),
			"delivery." + tenantText + ".sms.delivered", idText + ".1.delivered.poll",
		},
	}
	for _, tt := range tests {
		if got := tt.e.Subject(); got != tt.subject {
			t.Errorf("subject %s, want %s", got, tt.subject)
		}
		if got := tt.e.MsgID(); got != tt.msgID {
			t.Errorf("message id %s, want %s", got, tt.msgID)
		}
	}
}

// A step that is published again after its lease, its retry or its plan's
// change must not be taken for the message that the window remembers.
func TestEveryReleaseOfAStepIsANewMessage(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, e := range []*event.Step{
		step(),
		with(step, func(e *event.Step) { e.Attempt = 1 }),
		with(step, func(e *event.Step) { e.PlanEpoch = 1 }),
		with(step, func(e *event.Step) { e.Lease = 1 }),
		with(step, func(e *event.Step) { e.ID[15]++ }),
	} {
		if seen[e.MsgID()] {
			t.Errorf("%+v shares its message id", e)
		}
		seen[e.MsgID()] = true
	}
}

var validSubject = regexp.MustCompile(`^(trigger\.UUID\.(webhook|appointment|cron|campaign)|step\.due\.(care|bulk)\.UUID|delivery\.UUID\.(kakao|sms)\.[a-z]+)$`)

// Whatever a field holds, what may be sent has a subject made of our own words
// and ids: no wildcard, no empty and no extra token.
func TestSubjectTokensAreOurOwnWordsAndIDs(t *testing.T) {
	t.Parallel()
	word := rapid.OneOf(
		rapid.SampledFrom([]string{"webhook", "cron", "care", "bulk", "kakao", "sms", "sent", "failed", "answer", "no_phone"}),
		rapid.SampledFrom([]string{"", ".", "*", ">", "a.b", "sent.", ".sent", "kakao.>", "sent ", "\x00", "전화", "$JS", "_INBOX"}),
		rapid.String(),
	)
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.SampledFrom([]event.Event{
			&event.Trigger{Tenant: clinic, ID: id, Kind: event.Kind(word.Draw(t, "kind"))},
			&event.Step{Tenant: clinic, ID: id, Lane: event.Lane(word.Draw(t, "lane")), Channel: event.Channel(word.Draw(t, "channel"))},
			&event.Delivery{
				Tenant: clinic, Step: id, Channel: event.Channel(word.Draw(t, "channel")), At: at,
				Status: event.Status(word.Draw(t, "status")), Source: event.Source(word.Draw(t, "source")), Reason: event.Reason(word.Draw(t, "reason")),
			},
		}).Draw(t, "event")
		if _, err := event.Encode(e); err != nil {
			return
		}
		if s := strings.ReplaceAll(e.Subject(), tenantText, "UUID"); !validSubject.MatchString(s) {
			t.Fatalf("%#v may be sent on %q", e, s)
		}
	})
}

func TestValidateRefusesWhatNoVersionSends(t *testing.T) {
	t.Parallel()
	type T = event.Trigger
	type S = event.Step
	type D = event.Delivery
	tests := map[string]event.Event{
		"trigger_without_tenant":     with(trigger, func(e *T) { e.Tenant = tenant.ID{} }),
		"trigger_without_id":         with(trigger, func(e *T) { e.ID = uuid.Nil }),
		"trigger_without_kind":       with(trigger, func(e *T) { e.Kind = "" }),
		"trigger_of_unknown_kind":    with(trigger, func(e *T) { e.Kind = "webhook.*" }),
		"step_without_tenant":        with(step, func(e *S) { e.Tenant = tenant.ID{} }),
		"step_without_id":            with(step, func(e *S) { e.ID = uuid.Nil }),
		"step_without_lane":          with(step, func(e *S) { e.Lane = "" }),
		"step_of_unknown_lane":       with(step, func(e *S) { e.Lane = ">" }),
		"step_without_channel":       with(step, func(e *S) { e.Channel = "" }),
		"step_of_unknown_channel":    with(step, func(e *S) { e.Channel = "email" }),
		"step_with_negative_attempt": with(step, func(e *S) { e.Attempt = -1 }),
		"step_with_negative_epoch":   with(step, func(e *S) { e.PlanEpoch = -1 }),
		"delivery_without_tenant":    with(delivery, func(e *D) { e.Tenant = tenant.ID{} }),
		"delivery_without_step":      with(delivery, func(e *D) { e.Step = uuid.Nil }),
		"delivery_without_channel":   with(delivery, func(e *D) { e.Channel = "" }),
		"delivery_negative_attempt":  with(delivery, func(e *D) { e.Attempt = -1 }),
		"delivery_negative_seq":      with(delivery, func(e *D) { e.Seq = -1 }),
		"delivery_without_time":      with(delivery, func(e *D) { e.At = time.Time{} }),
		"delivery_without_status":    with(delivery, func(e *D) { e.Status = "" }),
		"delivery_unknown_status":    with(delivery, func(e *D) { e.Status = "read" }),
		"delivery_without_source":    with(delivery, func(e *D) { e.Source = "" }),
		"delivery_unknown_source":    with(delivery, func(e *D) { e.Source = "rumour" }),
		"delivery_unknown_reason":    with(delivery, func(e *D) { e.Reason = "because" }),
		"request_id_with_space":      with(delivery, func(e *D) { e.RequestID = "a b" }),
		"request_id_with_line":       with(delivery, func(e *D) { e.RequestID = "a\n" }),
		"request_id_too_long":        with(delivery, func(e *D) { e.RequestID = strings.Repeat("a", 65) }),
		"code_in_korean":             with(delivery, func(e *D) { e.Code = "실패" }),
		"code_with_escape":           with(delivery, func(e *D) { e.Code = "\x1b[2J" }),
		"failed_without_reason":      with(delivery, func(e *D) { e.Status = event.Failed }),
		"parked_without_reason":      with(delivery, func(e *D) { e.Status = event.Parked }),
		"skipped_without_reason":     with(delivery, func(e *D) { e.Status = event.Skipped }),
		"cancelled_without_reason":   with(delivery, func(e *D) { e.Status = event.Cancelled }),
		"expired_without_reason":     with(delivery, func(e *D) { e.Status = event.Expired }),
	}
	for name, e := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := e.Validate(); !errors.Is(err, event.ErrInvalid) {
				t.Errorf("Validate = %v, want ErrInvalid", err)
			}
			if b, err := event.Encode(e); err == nil {
				t.Errorf("it was encoded: %s", b)
			}
		})
	}
}

func TestTerminalStatusesNeedAReasonAndOthersNone(t *testing.T) {
	t.Parallel()
	terminal := map[event.Status]bool{
		event.Sent: false, event.Delivered: true, event.Failed: true, event.Unknown: false, event.Released: false,
		event.Parked: true, event.Skipped: true, event.Cancelled: true, event.Expired: true, "read": false,
	}
	for s, want := range terminal {
		if got := s.Terminal(); got != want {
			t.Errorf("%s.Terminal() = %v, want %v", s, got, want)
		}
		e := with(delivery, func(e *event.Delivery) { e.Status, e.Reason = s, event.NoPhone })
		if err := e.Validate(); (err != nil) != (s == "read") {
			t.Errorf("%s with a reason: %v", s, err)
		}
	}
}

func TestGatewayKeyIsReadBackAndNothingElseIs(t *testing.T) {
	t.Parallel()
	for _, c := range []event.Channel{event.Kakao, event.SMS} {
		key := event.Key(id, c)
		root, channel, err := event.ParseKey(key)
		if err != nil || root != id || channel != c || len(key) > 100 {
			t.Errorf("ParseKey(%q) = %v, %v, %v", key, root, channel, err)
		}
	}
	for _, s := range []string{
		"", ":", idText, idText + ":", idText + ":email", ":kakao", "x:kakao", strings.ToUpper(idText) + ":kakao",
		"{" + idText + "}:sms", "urn:uuid:" + idText + ":sms", idText + ":kakao:", idText + ":kakao ", " " + idText + ":kakao",
	} {
		if _, _, err := event.ParseKey(s); !errors.Is(err, event.ErrInvalid) {
			t.Errorf("ParseKey(%q) = %v, want ErrInvalid", s, err)
		}
	}
}
