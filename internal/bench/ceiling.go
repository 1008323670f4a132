package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Ceiling is what one part can do by itself on this machine: no pipeline on
// top of it can do more.
type Ceiling struct {
	Name string `json:"name"`
	// PerSecond is messages, rows or requests per second.
	PerSecond float64 `json:"per_s"`
	// Ratio is the pipeline's sends per second to it, 0 where it was not asked
	// for all that it can.
	Ratio float64 `json:"ratio,omitempty"`
}

// The names of the ceilings.
const (
	JetStreamCeiling = "JetStream publish+consume+ack"
	PostgresCeiling  = "Postgres grouped commits"
	HTTPCeiling      = "bare HTTP sends"
)

// NewCeiling takes the median of the rates.
func NewCeiling(name string, rates []float64) Ceiling {
	return Ceiling{Name: name, PerSecond: median(rates)}
}

// each calls do for 0 … n−1, so many at a time, and returns how many ended
// well per second. The first error ends it.
func each(ctx context.Context, n, workers int, do func(ctx context.Context, n int) error) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var running sync.WaitGroup
	begin := time.Now()
	for range workers {
		running.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	running.Wait()
	took := time.Since(begin)
	if ctx.Err() != nil {
		return 0, fmt.Errorf("bench: ceiling: %w", context.Cause(ctx))
	}
	return perSecond(n, took), nil
}
