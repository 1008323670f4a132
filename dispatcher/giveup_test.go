package dispatcher

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/providers"
)

// An outcome that nobody can find out is parked, unless the author chose
// otherwise, and even then never on a channel that has no other.
func TestWhatCannotBeFoundOutIsForItsAuthorToDecide(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		choice  workflow.OnUnknown
		channel event.Channel
		lost    int
		expires time.Duration
		want    event.Status
	}{
		{"default", "", event.Kakao, 1, time.Hour, event.Parked},
		{"park", workflow.Park, event.Kakao, 1, time.Hour, event.Parked},
		{"resend", workflow.Resend, event.SMS, 1, time.Hour, event.Released},
		{"resend_expired", workflow.Resend, event.SMS, 1, 0, event.Parked},
		{"resend_too_often", workflow.Resend, event.SMS, maxCycles, time.Hour, event.Parked},
		{"fallback", workflow.Fallback, event.Kakao, 1, time.Hour, event.Failed},
		{"fallback_of_an_sms", workflow.Fallback, event.SMS, 1, time.Hour, event.Parked},
	} {
		u := store.Unresolved{Channel: c.channel, OnUnknown: c.choice, Lost: c.lost, Now: now, Expires: now.Add(c.expires)}
		if got := giveUp(&event.Delivery{}, u); got.Status != c.want {
			t.Errorf("%s: %s, want %s", c.name, got.Status, c.want)
		}
	}
}

// A gateway that can no longer be asked must not keep a run open for ever.
func TestTheWaitForAReportEndsThoughTheGatewayCannotBeAsked(t *testing.T) {
	t.Parallel()
	r := &Resolver{Gateways: NewGateways(office{err: store.ErrNotFound}, nil), Timing: store.DefaultTiming, Logger: quiet}
	now := time.Now()
	u := store.Unresolved{Step: uuid.Must(uuid.NewV7()), State: store.StateSent, SentAt: now.Add(-time.Hour), ClaimedAt: now.Add(-time.Hour), Now: now}
	if d := r.resolve(t.Context(), u, stream.Backlog{}); d != nil {
		t.Errorf("after an hour: %+v", d)
	}
	u.SentAt = now.Add(-store.DefaultTiming.ReportTimeout)
	if d := r.resolve(t.Context(), u, stream.Backlog{}); d == nil || d.Status != event.Sent || d.Reason != event.ReportTimeout {
		t.Errorf("after the report timeout: %+v", d)
	}
}

// A report is matched by the answer to its request, which may not be recorded
// yet: what the recorder has before it is read again.
func TestReportsAreReadAgainWhileTheRecorderIsBehind(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]time.Time{"up_to_date": {}, "behind": noon.Add(-10 * time.Minute)} {
		s := &shelf{}
		g := &gate{results: func(time.Time, time.Time) ([]providers.Result, error) { return nil, nil }}
		p := poller(s, g)
		p.Backlog = upToDate{since}
		if err := p.poll(t.Context(), store.Polling{Tenant: aClinic, Channel: event.SMS, From: noon.Add(-time.Minute), Now: noon}); err != nil {
			t.Fatal(err)
		}
		want := noon
		if !since.IsZero() {
			want = since
		}
		if len(s.marked) != 1 || !s.marked[0].Equal(want) {
			t.Errorf("%s: read up to %v, want %v", name, s.marked, want)
		}
	}
	s := &shelf{}
	p := poller(s, &gate{})
	p.Backlog = noBacklog{}
	if err := p.poll(t.Context(), store.Polling{Tenant: aClinic, Channel: event.SMS, From: noon, Now: noon}); err == nil || len(s.marked) != 0 {
		t.Errorf("without knowing how far the recorder is: %v, marked %v", err, s.marked)
	}
}

type noBacklog struct{}

func (noBacklog) Backlog(context.Context, string, string) (stream.Backlog, error) {
	return stream.Backlog{}, errors.New("the broker is away")
}
