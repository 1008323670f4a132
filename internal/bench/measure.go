package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Rig is what is measured: a pipeline that runs, and where to look at it.
type Rig struct {
	Target  string
	Hooks   []Hook
	Gateway Gateway
	Ledger  *Ledger
	// Processes are those whose CPU and memory are reported; empty where they
	// run elsewhere.
	Processes []Process
	since     uint32 // arrivals up to here belong to earlier loads
}

// Shape is how one load is made.
type Shape struct {
	Count int `json:"count"`
	// Rate is calls per second; 0 is flat out, by Callers callers.
	Rate    float64 `json:"rate"`
	Callers int     `json:"callers"`
	// Refusals is the share of triggers, from 0 to 1, whose Kakao messages the
	// gateway refuses in its answer, so that an SMS follows.
	Refusals float64 `json:"refusals"`
	// Patients is how many there are, per clinic.
	Patients int `json:"patients"`
}

// stepsEach is how many messages one trigger leads to: two at once, one later.
const stepsEach = 3

// LaterNode is the step that is due two seconds after its trigger.
const LaterNode = "later"

// quiet is how long nothing may move before a load counts as over.
const quiet = 30 * time.Second

// RefusedPatients is how many patients there are whose Kakao messages the
// simulator refuses: as many as it has numbers for one scenario.
const RefusedPatients = 10

// PatientID is the external id of patient n, or of the refused patient n.
func PatientID(n int, refused bool) string {
	if refused {
		return fmt.Sprint("R-", n%RefusedPatients)
	}
	return fmt.Sprint("P-", n)
}

// refused reports whether trigger n is one of the refused share, evenly
// spread.
func (s Shape) refused(n int) bool {
	return int(float64(n+1)*s.Refusals) > int(float64(n)*s.Refusals)
}

func (s Shape) body(n int) []byte {
	b, err := json.Marshal(map[string]any{
		"type": "visit", "patient": map[string]string{"external_id": PatientID(n%max(1, s.Patients), s.refused(n))},
	})
	if err != nil { // maps of strings always encode
		panic("bench: encode payload: " + err.Error())
	}
	return b
}

// Measure puts one load on the rig, waits until everything it led to has
// happened, and says what it took.
func (r *Rig) Measure(ctx context.Context, s Shape) (*Run, error) {
	prefix := uuid.NewString()
	before, err := r.before(ctx)
	if err != nil {
		return nil, err
	}
	use := watch(r.Processes)
	load := &Load{Target: r.Target, Hooks: r.Hooks, Prefix: prefix, Count: s.Count, Rate: s.Rate, Callers: s.Callers, Body: s.body}
	calls, err := load.Run(ctx)
	if err == nil {
		err = r.drained(ctx, before+stepsEach*kept(calls))
	}
	usage := use.stop()
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
	run := evaluate(calls, steps, arrivals)
	run.use(usage)
	return run, nil
}

// before says how many messages the gateway had before a load, and keeps them
// out of the load's arrivals.
func (r *Rig) before(ctx context.Context) (accepted int, err error) {
	if r.Gateway.Foreign {
		return 0, nil
	}
	if _, r.since, err = r.Gateway.Arrivals(ctx, r.since); err != nil {
		return 0, err
	}
	return r.Gateway.Accepted(ctx)
}

func (r *Rig) arrivals(ctx context.Context, prefix string) (list []Arrival, err error) {
	if r.Gateway.Foreign {
		return r.Ledger.Sent(ctx, prefix)
	}
	list, r.since, err = r.Gateway.Arrivals(ctx, r.since)
	return list, err
}

func kept(calls []Call) (n int) {
	for i := range calls {
		if calls[i].Kept() {
			n++
		}
	}
	return n
}

// drained waits until the gateway has so many messages and the ledger nothing
// left to do. What is missing when nothing moves any more is counted as lost.
func (r *Rig) drained(ctx context.Context, want int) error {
	if !r.Gateway.Foreign {
		_, err := settle(ctx, 50*time.Millisecond, func() (int, error) {
			have, err := r.Gateway.Accepted(ctx)
			return want - have, err
		})
		if err != nil {
			return err
		}
	}
	_, err := settle(ctx, 200*time.Millisecond, func() (int, error) { return r.Ledger.Open(ctx) })
	return err
}

// settle looks again and again until nothing is left, or until what is left
// has not changed for a while, and returns that.
func settle(ctx context.Context, every time.Duration, look func() (left int, err error)) (int, error) {
	moved, last := time.Now(), -1
	for {
		left, err := look()
		if err != nil || left <= 0 {
			return left, err
		}
		if left != last {
			moved, last = time.Now(), left
		}
		if time.Since(moved) > quiet {
			return left, nil
		}
		select {
		case <-ctx.Done():
			return left, ctx.Err()
		case <-time.After(every):
		}
	}
}
