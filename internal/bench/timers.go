package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Timers is a number of steps that fall due together while many wait.
type Timers struct {
	// Pending is how many steps wait for a day that is far away.
	Pending int `json:"pending"`
	// Due is how many fall due within Spread; 0 is at one instant.
	Due    int     `json:"due"`
	Spread Seconds `json:"spread_s"`
	// Lateness is from a step's due time to its arrival at the gateway.
	Lateness Latency `json:"lateness"`
	Lost     int     `json:"lost"`
	Doubled  int     `json:"doubled"`
	// Usage is from a second before the due time to the last arrival.
	Usage
}

// Seconds is a duration that JSON shows in seconds.
type Seconds float64

// MeasureTimers starts due runs through the webhooks, whose single step lies
// in the future, moves those steps to one time (in the ledger: no workflow has
// ten thousand patients at one instant) and says how late they arrive.
func (r *Rig) MeasureTimers(ctx context.Context, pending int, s Shape, spread time.Duration) (*Timers, error) {
	if r.Gateway.Foreign {
		return nil, errForeign
	}
	prefix := uuid.NewString()
	load := &Load{Target: r.Target, Hooks: r.Hooks, Prefix: prefix, Count: s.Count, Callers: s.Callers, Body: s.timerBody}
	calls, err := load.Run(ctx)
	if err != nil {
		return nil, err
	}
	if n := kept(calls); n < s.Count {
		return nil, fmt.Errorf("bench: only %d of %d webhook calls were accepted", n, s.Count)
	}
	left, err := settle(ctx, 250*time.Millisecond, func() (int, error) {
		n, err := r.Ledger.Planned(ctx, prefix)
		return s.Count - n, err
	})
	if err != nil {
		return nil, err
	}
	if left > 0 {
		return nil, fmt.Errorf("bench: %d of %d steps were never planned", left, s.Count)
	}
	before, err := r.before(ctx)
	if err != nil {
		return nil, err
	}
	// What it takes to move them has to be over by then.
	at := time.Now().Add(time.Second + time.Duration(s.Count)*400*time.Microsecond)
	if err := r.Ledger.Move(ctx, prefix, at, spread); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Until(at.Add(-time.Second))):
	}
	use := watch(r.Processes)
	_, err = settle(ctx, 50*time.Millisecond, func() (int, error) {
		have, err := r.Gateway.Accepted(ctx)
		return before + s.Count - have, err
	})
	u := use.stop()
	if err != nil {
		return nil, err
	}
	arrivals, err := r.arrivals(ctx, prefix)
	if err != nil {
		return nil, err
	}
	steps, err := r.Ledger.Steps(ctx, prefix)
	if err != nil {
		return nil, err
	}
	t := timely(steps, arrivals)
	t.Pending, t.Due, t.Spread, t.Usage = pending, s.Count, Seconds(spread.Seconds()), u
	return t, nil
}

// timely compares due times and arrivals.
func timely(steps []Step, arrivals []Arrival) *Timers {
	t := &Timers{}
	reached := make(map[uuid.UUID]time.Time, len(arrivals))
	for _, a := range arrivals {
		if _, twice := reached[a.Root]; twice {
			t.Doubled++
			continue
		}
		reached[a.Root] = a.At
	}
	var late []time.Duration
	for _, s := range steps {
		at, ok := reached[s.Root]
		if !ok {
			t.Lost++
			continue
		}
		late = append(late, at.Sub(s.Due))
	}
	t.Lateness = Summarize(late)
	return t
}

// TimerType is the event type that starts the workflow with one step in the
// future.
const TimerType = "timer"

func (s Shape) timerBody(n int) []byte {
	b, err := json.Marshal(map[string]any{
		"type": TimerType, "patient": map[string]string{"external_id": PatientID(n%max(1, s.Patients), false)},
	})
	if err != nil { // maps of strings always encode
		panic("bench: encode payload: " + err.Error())
	}
	return b
}
