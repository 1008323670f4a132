package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/bench"
)

type benchTimersCommand struct {
	benchFlags
	Pending []int         `help:"How many steps wait for a day far ahead; each number is measured." default:"100000,1000000"`
	Due     int           `help:"How many steps fall due together." default:"10000"`
	Spread  time.Duration `help:"The time in which they fall due; 0 is one instant."`
	Settle  time.Duration `help:"The pause after the waiting steps were added, for autovacuum." default:"10s"`
}

// Run measures with ever more waiting steps, and fails if anything was lost or
// doubled.
func (c *benchTimersCommand) Run(ctx context.Context, o output) error {
	if err := c.checkTimers(); err != nil {
		return err
	}
	rig, err := c.start(ctx, o)
	if err != nil {
		return err
	}
	report, err := c.measure(ctx, o, rig)
	if err := errors.Join(err, rig.stop()); err != nil {
		return err
	}
	return c.finish(o, report, report.Exact())
}

func (c *benchTimersCommand) checkTimers() error {
	if c.Due < 1 || c.Spread < 0 || c.Settle < 0 {
		return errors.New("--due is at least 1; --spread and --settle cannot be negative")
	}
	last := 0
	for _, n := range c.Pending {
		if n < last {
			return errors.New("--pending is a rising list, such as 100000,1000000: steps are only ever added")
		}
		last = n
	}
	return nil
}

func (c *benchTimersCommand) measure(ctx context.Context, o output, rig *benchRig) (*bench.TimersReport, error) {
	report := &bench.TimersReport{}
	have := 0
	for _, want := range c.Pending {
		if want > have {
			begin := time.Now()
			added, err := rig.Ledger.AddPending(ctx, "bench-0", "timers", want-have)
			if err != nil {
				return nil, err
			}
			have += added
			fmt.Fprintf(o.err, "%d steps wait, added in %.0f s\n", have, time.Since(begin).Seconds())
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(c.Settle):
			}
		}
		var runs []*bench.Timers
		for n := range c.Runs {
			t, err := rig.MeasureTimers(ctx, have, bench.Shape{Count: c.Due, Callers: c.Callers, Patients: c.Patients}, c.Spread)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(o.err, "run %d of %d: lateness p50 %.0f ms, p99 %.0f ms\n", n+1, c.Runs, float64(t.Lateness.P50), float64(t.Lateness.P99))
			runs = append(runs, t)
		}
		report.Add(runs)
	}
	return report, nil
}
