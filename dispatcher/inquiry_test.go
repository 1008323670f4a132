package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// A list that hangs holds up everybody's questions, and it may hang while the
// same account sends.
func TestQueriesHaveABreakerOfTheirOwn(t *testing.T) {
	t.Parallel()
	onStreet(t, 10, simulator.Rules{}, func(t *testing.T, s *street) {
		s.due(1, aClinic, event.Kakao, time.Hour)
		time.Sleep(time.Second)
		g, err := s.Gateways.of(t.Context(), aClinic, accountOf(aClinic, event.Kakao))
		if err != nil {
			t.Fatal(err)
		}
		ask := func() error {
			_, err := g.Find(t.Context(), "a:kakao", time.Now().Add(-time.Minute), time.Now())
			return err
		}
		s.outage(simulator.Alimtalk, "http503")
		for range streakTrips {
			if err := ask(); !errors.Is(err, providers.ErrUnavailable) || errors.Is(err, errHeld) {
				t.Fatalf("asked while it is down: %v", err)
			}
		}
		time.Sleep(time.Second)
		if err := ask(); !errors.Is(err, errHeld) || !errors.Is(err, providers.ErrUnavailable) {
			t.Errorf("asked a sixth time: %v, want it not asked", err)
		}
		s.sim.EndOutages()
		if got := s.breakers(aClinic, event.Kakao); got != [2]string{"closed", "open"} {
			t.Errorf("breakers of sends and queries are %v", got)
		}
		s.due(5, aClinic, event.Kakao, time.Hour)
		time.Sleep(3 * time.Second)
		if n := s.count(is(event.Sent)); n != 6 {
			t.Errorf("%d of 6 were sent while the list was left alone", n)
		}
		time.Sleep(time.Second)
		if err := ask(); err != nil || s.breakers(aClinic, event.Kakao)[1] != "closed" {
			t.Errorf("asked when its time had come: %v, %v", err, s.breakers(aClinic, event.Kakao))
		}
	})
}

// What is not known only because nobody asked must not be given up for it.
func TestOutcomeIsGivenUpOnlyByAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		g := &gate{find: func(string, time.Time, time.Time) ([]providers.Result, error) {
			asked++
			return nil, fmt.Errorf("nhn: %w", providers.ErrUnavailable)
		}}
		r := &Resolver{Gateways: NewGateways(office{}, opened(g)), Timing: timing, Logger: quiet}
		young, old := unresolved(store.StateUnknown, time.Hour), unresolved(store.StateUnknown, timing.UnknownDeadline+1)
		for range 2 * streakTrips {
			if d := r.resolve(t.Context(), young, stream.Backlog{}); d != nil {
				t.Fatalf("young: %+v", d)
			}
		}
		if asked != streakTrips {
			t.Errorf("asked %d times, want %d", asked, streakTrips)
		}
		if d := r.resolve(t.Context(), old, stream.Backlog{}); d == nil || d.Status != event.Parked || asked != streakTrips+1 {
			t.Errorf("old: %+v after %d questions, want it asked once more and parked", d, asked)
		}
		g.find = func(string, time.Time, time.Time) ([]providers.Result, error) {
			return []providers.Result{{RequestID: "r1", State: providers.Delivered}}, nil
		}
		if d := r.resolve(t.Context(), old, stream.Backlog{}); d == nil || d.Status != event.Delivered {
			t.Errorf("old, and the gateway is back: %+v", d)
		}
	})
}

func TestQuestionThatWeGiveUpSaysNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := newInquiry(&gate{find: func(string, time.Time, time.Time) ([]providers.Result, error) {
		return nil, fmt.Errorf("nhn: %w", providers.ErrUnavailable)
	}}, breakerConfig{unit: timing.R, log: quiet, opened: func(event.Reason) {}})
	for range 3 * streakTrips {
		_, _ = q.Find(ctx, "k", noon, noon)
	}
	if q.breaker.shut {
		t.Error("our own shutdown opened the breaker")
	}
}
