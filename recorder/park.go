package recorder

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Parked is the part of the ledger that knows what waits for a human.
type Parked interface {
	TellParked(ctx context.Context, limit int, tell func(store.ParkedNotice)) (int, error)
	CountParked(ctx context.Context) ([]store.ParkedCount, error)
}

// ParkWatch makes parked work heard: a line in the log for each step, and the
// numbers that an alert hangs on. What was parked while no copy ran is told of
// by the next. Any number of copies may run; each exports the same numbers.
type ParkWatch struct {
	Ledger Parked
	// Every is how often it looks.
	Every   time.Duration
	Logger  *slog.Logger
	Metrics *ParkMetrics
}

// tellAtOnce bounds one transaction of telling.
const tellAtOnce = 256

// Run looks until ctx is done.
func (w *ParkWatch) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.Every)
	defer ticker.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.Logger.Warn("parked work could not be looked at", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *ParkWatch) look(ctx context.Context) error {
	for told := tellAtOnce; told == tellAtOnce; {
		var err error
		if told, err = w.Ledger.TellParked(ctx, tellAtOnce, w.tell); err != nil {
			return err
		}
	}
	counts, err := w.Ledger.CountParked(ctx)
	if err != nil {
		return err
	}
	w.Metrics.set(counts, time.Now())
	return nil
}

func (w *ParkWatch) tell(p store.ParkedNotice) {
	w.Logger.Warn("a step is parked: a human must decide; see `doctorsflow parked list`",
		"step", p.Step, "tenant", p.Tenant, "channel", p.Channel, "reason", p.Reason, "since", p.Since.UTC(), "times", p.Times)
	w.Metrics.parked(p)
}

// ParkMetrics are the numbers of parked work. Their labels are from closed
// lists; none holds a tenant. It is safe for concurrent use.
type ParkMetrics struct {
	total *prometheus.CounterVec

	mu     sync.Mutex
	counts []store.ParkedCount
	at     time.Time // of counts; zero before the first
}

var (
	parkedBy         = []string{"channel", "reason"}
	parkedDesc       = prometheus.NewDesc("doctorsflow_parked_steps", "Steps that wait for a human.", parkedBy, nil)
	parkedOldestDesc = prometheus.NewDesc("doctorsflow_parked_oldest_seconds", "How long the first of them has waited; 0 where none does.", parkedBy, nil)
	parkedAtDesc     = prometheus.NewDesc("doctorsflow_parked_timestamp_seconds", "When parked steps were counted last; 0 before the first time.", nil, nil)
)

// NewParkMetrics registers the metrics with reg.
func NewParkMetrics(reg prometheus.Registerer) *ParkMetrics {
	m := &ParkMetrics{total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doctorsflow_parked_total", Help: "Parkings of steps that this process wrote to its log.",
	}, parkedBy)}
	for _, c := range []event.Channel{event.Kakao, event.SMS} {
		// A counter that appears with its first count has no rise to see.
		m.total.WithLabelValues(string(c), string(event.OutcomeUnknown))
	}
	reg.MustRegister(m, m.total)
	return m
}

func (m *ParkMetrics) parked(p store.ParkedNotice) {
	m.total.WithLabelValues(string(p.Channel), string(p.Reason)).Inc()
}

// set keeps one look. What is parked for want of an outcome is shown also
// where there is none.
func (m *ParkMetrics) set(counts []store.ParkedCount, now time.Time) {
	for _, c := range []event.Channel{event.Kakao, event.SMS} {
		none := store.ParkedCount{Channel: c, Reason: event.OutcomeUnknown}
		if !slices.ContainsFunc(counts, func(n store.ParkedCount) bool { return n.Channel == c && n.Reason == none.Reason }) {
			counts = append(counts, none)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts, m.at = counts, now
}

// Describe implements [prometheus.Collector].
func (m *ParkMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{parkedDesc, parkedOldestDesc, parkedAtDesc} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *ParkMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, c := range m.counts {
		gauge(parkedDesc, float64(c.Steps), string(c.Channel), string(c.Reason))
		gauge(parkedOldestDesc, c.Oldest.Seconds(), string(c.Channel), string(c.Reason))
	}
	at := 0.0
	if !m.at.IsZero() {
		at = float64(m.at.UnixMilli()) / 1000
	}
	gauge(parkedAtDesc, at)
}
