package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Counts is one look at the whole ledger.
type Counts struct {
	Triggers map[string]int64 // by state
	Steps    map[string]int64 // by state
	Waiting  map[string]int64 // due steps that are held, by reason
	Runs     int64
	// Diff is how far the conservation law is from holding; 0 means it holds.
	Diff int64
}

// Conservation exports the numbers of the conservation law. Counting a big
// ledger takes its time, so it is done by [Conservation.Run] and not by
// whoever scrapes: at most once every 15 s, at most a tenth of the time, and
// not at all while nobody asks.
type Conservation struct {
	count func(context.Context) (Counts, error)
	log   *slog.Logger
	asked chan struct{}

	mu     sync.Mutex
	last   Counts
	at     time.Time // of last; zero before the first
	err    error     // of the latest attempt
	failed int
}

const (
	countEvery  = 15 * time.Second
	countRest   = 9 // times as long as the count took
	countAtMost = 10 * time.Minute
)

// NewConservation returns the collector; register it, and run it.
func NewConservation(count func(context.Context) (Counts, error), log *slog.Logger) *Conservation {
	return &Conservation{count: count, log: log, asked: make(chan struct{}, 1)}
}

// Run counts at once, and again when somebody has asked, until ctx is done.
func (c *Conservation) Run(ctx context.Context) error {
	for {
		start := time.Now()
		c.look(ctx)
		rest := max(countEvery, countRest*time.Since(start))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.asked:
		}
	}
}

func (c *Conservation) look(ctx context.Context) {
	counting, cancel := context.WithTimeout(ctx, countAtMost)
	defer cancel()
	counts, err := c.count(counting)
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if err != nil {
		c.failed++
		c.log.Warn("the ledger was not counted", "err", err)
		return
	}
	if counts.Diff != 0 && counts.Diff != c.last.Diff {
		c.log.Error("the conservation law does not hold; run `doctorsflow conserve`", "diff", counts.Diff)
	}
	c.last, c.at = counts, time.Now()
}

// Last returns the latest counts and when they were made, and asks for newer
// ones. The time is zero before the first; err is the latest attempt's.
func (c *Conservation) Last() (counts Counts, at time.Time, err error) {
	select {
	case c.asked <- struct{}{}:
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.at, c.err
}

var (
	triggersDesc = prometheus.NewDesc("doctorsflow_triggers", "Triggers in the ledger by state.", []string{"state"}, nil)
	stepsDesc    = prometheus.NewDesc("doctorsflow_steps", "Steps in the ledger by state; pending is planned, claimed and unknown.", []string{"state"}, nil)
	waitingDesc  = prometheus.NewDesc("doctorsflow_steps_waiting", "Due steps that are held, by reason.", []string{"reason"}, nil)
	runsDesc     = prometheus.NewDesc("doctorsflow_workflow_executions", "Workflow executions in the ledger.", nil, nil)
	diffDesc     = prometheus.NewDesc("doctorsflow_conservation_diff", "How far the conservation law is from holding; anything but 0 is a fault.", nil, nil)
	atDesc       = prometheus.NewDesc("doctorsflow_conservation_timestamp_seconds", "When the ledger was counted last.", nil, nil)
	failedDesc   = prometheus.NewDesc("doctorsflow_conservation_failures_total", "Times that the ledger could not be counted.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *Conservation) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{triggersDesc, stepsDesc, waitingDesc, runsDesc, diffDesc, atDesc, failedDesc} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]. Before the first count there are
// no numbers rather than zeros.
func (c *Conservation) Collect(ch chan<- prometheus.Metric) {
	counts, at, _ := c.Last()
	c.mu.Lock()
	failed := c.failed
	c.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ch <- prometheus.MustNewConstMetric(failedDesc, prometheus.CounterValue, float64(failed))
	if at.IsZero() {
		return
	}
	for state, n := range counts.Triggers {
		gauge(triggersDesc, float64(n), state)
	}
	for state, n := range counts.Steps {
		gauge(stepsDesc, float64(n), state)
	}
	for reason, n := range counts.Waiting {
		gauge(waitingDesc, float64(n), reason)
	}
	gauge(runsDesc, float64(counts.Runs))
	gauge(diffDesc, float64(counts.Diff))
	gauge(atDesc, float64(at.UnixMilli())/1000)
}
