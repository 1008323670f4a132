package recorder_test

import (
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/recorder"
)

// A gateway may ask to be left alone for longer than a message is of use.
func TestReleasedStepWakesToBeEnded(t *testing.T) {
	t.Parallel()
	s := store.StepNow{
		State: store.StateClaimed, Attempt: 1, Channel: event.Kakao, ClaimedAt: now, FirstIntent: now, Expires: now.Add(time.Hour), Now: now,
	}
	e := event.Delivery{Status: event.Released, Source: event.Answer, Attempt: 1, Reason: event.GatewayThrottled, At: now, RetryAt: now.Add(20 * time.Hour)}
	got := recorder.Apply(s, e, timing)
	if got.State != store.StatePlanned || got.Reason != event.GatewayThrottled || !got.Wake.Equal(s.Expires) {
		t.Errorf("released: %+v, want it awake at %v", got, s.Expires)
	}
}
