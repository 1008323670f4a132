package planner_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/planner"
)

// released runs release in a bubble of fake time for d, while act does what a
// test wants to happen meanwhile.
func released(t *testing.T, d time.Duration, change func(*planner.Release), act func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := &planner.Release{Clock: w, Broker: w, Logger: quiet}
		if change != nil {
			change(r)
		}
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		act(w)
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestStepGoesOnceAndAtItsTime(t *testing.T) {
	t.Parallel()
	for _, due := range []time.Duration{0, time.Millisecond, 99 * time.Millisecond, 2 * time.Second, 2*time.Second + 777*time.Microsecond} {
		released(t, 50*time.Second, nil, func(w *world) {
			s := w.add(tenant.NewID(), event.Care, due)
			time.Sleep(49 * time.Second)
			if diff := cmp.Diff([]time.Duration{due}, w.times(s)); diff != "" {
				t.Errorf("due after %s, published after (-want +got):\n%s", due, diff)
			}
		})
	}
}

func TestHintComesBeforeTheTick(t *testing.T) {
	t.Parallel()
	released(t, time.Minute, func(r *planner.Release) { r.Tick = time.Hour }, func(w *world) {
		time.Sleep(10 * time.Second)
		s := w.add(tenant.NewID(), event.Care, 0)
		w.hints <- struct{}{}
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{10 * time.Second}, w.times(s)); diff != "" {
			t.Errorf("published after (-want +got):\n%s", diff)
		}
	})
}

func TestTickFindsWhatNoHintTold(t *testing.T) {
	t.Parallel()
	released(t, 11*time.Second, nil, func(w *world) {
		time.Sleep(10*time.Second + time.Millisecond)
		s := w.add(tenant.NewID(), event.Care, 0)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := w.times(s); len(got) != 1 || got[0] > 10*time.Second+101*time.Millisecond {
			t.Errorf("published after %v, want within a tick", got)
		}
	})
}

// Its message is most likely still in the line, so that publishing it again
// would only make the line longer.
func TestStepGoesAgainOnlyWhenItsLaneIsIdle(t *testing.T) {
	t.Parallel()
	released(t, 5*time.Minute, nil, func(w *world) {
		care, bulk := w.add(tenant.NewID(), event.Care, 0), w.add(tenant.NewID(), event.Bulk, 0)
		w.set(func() { w.waiting[event.Bulk] = 1 })
		time.Sleep(lease + time.Second)
		if got := w.times(care); len(got) != 2 || got[1] != lease {
			t.Errorf("in an idle lane it went at %v, want again after its lease", got)
		}
		if got := w.times(bulk); len(got) != 1 {
			t.Errorf("in a busy lane it went at %v, want once", got)
		}
		w.set(func() { w.backlogErr = errors.New("no broker") })
		time.Sleep(lease)
		if got := w.times(care); len(got) != 2 {
			t.Errorf("in a lane that cannot be asked it went at %v, want no third time", got)
		}
		w.set(func() { w.waiting[event.Bulk], w.backlogErr = 0, nil })
		time.Sleep(lease)
		if got := w.times(bulk); len(got) != 2 {
			t.Errorf("when its lane became idle it went at %v, want again", got)
		}
	})
}

func TestExpiredStepIsEndedAndNotPublished(t *testing.T) {
	t.Parallel()
	released(t, 10*time.Second, nil, func(w *world) {
		id := tenant.NewID()
		old, good := w.add(id, event.Care, 0), w.add(id, event.Care, 0)
		w.set(func() { old.expires = time.Now() })
		time.Sleep(time.Second)
		ended := func(r *row) bool { return read(w, func() bool { return r.ended }) }
		if got := w.times(old); len(got) != 0 || !ended(old) {
			t.Errorf("an expired step went at %v, ended %v", got, ended(old))
		}
		if got := w.times(good); len(got) != 1 || ended(good) {
			t.Errorf("its neighbour went at %v", got)
		}
	})
}

func TestOneTenantsBacklogTakesNoRoomFromAnother(t *testing.T) {
	t.Parallel()
	released(t, 10*time.Second, func(r *planner.Release) { r.Cap = 10 }, func(w *world) {
		busy, calm := tenant.NewID(), tenant.NewID()
		subject := (&event.Step{Tenant: busy, Lane: event.Bulk}).Subject()
		w.set(func() { w.inFlight[subject] = 4 })
		for range 50 {
			w.add(busy, event.Bulk, 0)
		}
		w.add(busy, event.Care, 0)
		w.add(calm, event.Care, 0)
		time.Sleep(time.Second)
		if got := w.inFlightNow(); got[subject] != 10 || len(got) != 3 {
			t.Errorf("in flight %v, want 10 of the busy lane and one of each other", got)
		}
		// What is acknowledged makes room.
		w.set(func() { w.inFlight[subject] = 7 })
		time.Sleep(time.Second)
		if got := w.inFlightNow(); got[subject] != 10 {
			t.Errorf("in flight %v, want 10 again", got)
		}
		if got := w.most(); got > 10 {
			t.Errorf("a lease asked for %d, want never more than the cap", got)
		}
	})
}

func TestRoundIsBoundedSoThatTurnsComeSoon(t *testing.T) {
	t.Parallel()
	released(t, 10*time.Second, nil, func(w *world) {
		id := tenant.NewID()
		for range 1200 {
			w.add(id, event.Care, 0)
		}
		time.Sleep(time.Second)
		if got := w.most(); got != 500 {
			t.Errorf("a lease asked for %d, want 500", got)
		}
		if got := len(w.published()); got != 1200 {
			t.Errorf("%d of 1200 went", got)
		}
	})
}

func TestOutcomesToBeFoundOutAreNotReleased(t *testing.T) {
	t.Parallel()
	released(t, 2*time.Second, nil, func(w *world) {
		s := w.add(tenant.NewID(), store.ResolveQueue, 0)
		time.Sleep(time.Second)
		if got := w.times(s); len(got) != 0 || w.most() != 0 {
			t.Errorf("the resolver's step went at %v", got)
		}
	})
}

func TestLostTriggerIsPublishedAgain(t *testing.T) {
	t.Parallel()
	released(t, 2*time.Second, nil, func(w *world) {
		lost := trigger()
		w.set(func() { w.triggers = append(w.triggers, *lost) })
		time.Sleep(time.Second)
		if diff := cmp.Diff([]event.Event{lost}, w.published()); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
	})
}

// While the planner is behind, a trigger's own message is still in the line.
func TestTriggerIsNotPublishedAgainWhileThePlannerIsBehind(t *testing.T) {
	t.Parallel()
	released(t, 2*time.Second, nil, func(w *world) {
		w.set(func() { w.unplanned, w.triggers = 1, append(w.triggers, *trigger()) })
		time.Sleep(time.Second)
		if got := w.published(); len(got) != 0 {
			t.Errorf("published %v", got)
		}
	})
}

func TestFailingLedgerIsAskedSeldomAndWorkGoesOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	away := errors.New("no ledger")
	for name, fail := range map[string]func(w *world, err error){
		"queues":   func(w *world, err error) { w.queuesErr = err },
		"leases":   func(w *world, err error) { w.leaseErr = err },
		"triggers": func(w *world, err error) { w.triggersErr = err },
		"broker":   func(w *world, err error) { w.inFlightErr = err },
	} {
		t.Run(name, func(t *testing.T) {
			released(t, 2*time.Minute, nil, func(w *world) {
				s := w.add(tenant.NewID(), event.Care, 500*time.Millisecond)
				w.set(func() { fail(w, away) })
				time.Sleep(30 * time.Second)
				if n := read(w, func() int { return w.asked }); n < 10 || n > 40 {
					t.Errorf("asked %d times in 30 s, want every 2 s or so", n)
				}
				w.set(func() { fail(w, nil) })
				time.Sleep(3 * time.Second)
				if got := w.times(s); len(got) != 1 || got[0] > 32*time.Second {
					t.Errorf("went at %v, want soon after the ledger is back", got)
				}
			})
		})
	}
}

// A step that could not be published keeps its lease; then it goes again.
func TestStepThatCouldNotBePublishedGoesAfterItsLease(t *testing.T) {
	t.Parallel()
	released(t, 2*time.Minute, nil, func(w *world) {
		w.set(func() { w.publishErr = errors.New("no broker") })
		s := w.add(tenant.NewID(), event.Care, 0)
		time.Sleep(10 * time.Second)
		w.set(func() { w.publishErr = nil })
		time.Sleep(lease)
		if got := w.times(s); len(got) != 1 || got[0] != lease {
			t.Errorf("went at %v, want after its lease", got)
		}
	})
}

func TestStreamThatWentBackWakesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	released(t, time.Minute, nil, func(w *world) {
		s := w.add(tenant.NewID(), event.Care, 0)
		woken := func() int { return read(w, func() int { return w.woken }) }
		time.Sleep(7 * time.Second)
		if n := woken(); n != 0 {
			t.Errorf("woken %d times without a loss", n)
		}
		w.set(func() { w.back["STEPS"] = true })
		time.Sleep(5 * time.Second)
		if n, got := woken(), w.times(s); n != 1 || len(got) != 2 || got[1] > 11*time.Second {
			t.Errorf("woken %d times, went at %v; want once, within 5 s", n, got)
		}
		time.Sleep(20 * time.Second)
		if n := woken(); n != 1 {
			t.Errorf("woken %d times for one loss", n)
		}
	})
}

// The mark has moved on by then: nothing but release remembers the loss.
func TestLossIsNotForgottenWhileTheLedgerCannotWakeAnything(t *testing.T) {
	t.Parallel()
	released(t, time.Minute, nil, func(w *world) {
		w.set(func() { w.back["STEPS"], w.wakeErr = true, errors.New("no ledger") })
		time.Sleep(20 * time.Second)
		w.set(func() { w.wakeErr = nil })
		time.Sleep(20 * time.Second)
		if n := read(w, func() int { return w.woken }); n != 1 {
			t.Errorf("woken %d times, want once when the ledger is back", n)
		}
	})
}

func TestDatabaseClockIsMarkedEverySecond(t *testing.T) {
	t.Parallel()
	released(t, 11*time.Second, nil, func(w *world) {
		time.Sleep(10*time.Second + time.Millisecond)
		if n := read(w, func() int { return w.ticks }); n != 11 {
			t.Errorf("marked %d times in 10 s, want 11", n)
		}
	})
}

func TestReleaseWithoutHintsDoesNotStart(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.hintsErr = errors.New("no broker")
	if err := (&planner.Release{Clock: w, Broker: w, Logger: quiet}).Run(t.Context()); !errors.Is(err, w.hintsErr) {
		t.Errorf("Run = %v, want %v", err, w.hintsErr)
	}
}
