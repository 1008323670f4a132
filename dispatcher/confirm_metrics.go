package dispatcher

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// countReportsEvery is how often waiting reports are counted.
const countReportsEvery = 5 * time.Second

// ConfirmMetrics counts reports on their way to being believed. Nil counts
// nothing.
type ConfirmMetrics struct {
	outcomes *prometheus.CounterVec
	pending  prometheus.Gauge
	oldest   prometheus.Gauge
}

// NewConfirmMetrics registers the metrics with reg.
func NewConfirmMetrics(reg prometheus.Registerer) *ConfirmMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "doctorsflow_reports_" + name, Help: help})
	}
	m := &ConfirmMetrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doctorsflow_reports_settled_total", Help: "Gateways' reports by what became of them: confirmed, refuted, unknown or given_up.",
		}, []string{"outcome"}),
		pending: gauge("pending", "Gateways' reports that wait to be confirmed."),
		oldest:  gauge("pending_oldest_seconds", "How long the oldest of them has waited."),
	}
	for _, s := range []store.ReportState{store.ReportConfirmed, store.ReportRefuted, store.ReportUnknown, store.ReportGivenUp} {
		m.outcomes.WithLabelValues(string(s))
	}
	reg.MustRegister(m.outcomes, m.pending, m.oldest)
	return m
}

func (m *ConfirmMetrics) settled(s store.ReportState) {
	if m != nil && s != "" {
		m.outcomes.WithLabelValues(string(s)).Inc()
	}
}

func (m *ConfirmMetrics) waiting(n int, oldest time.Duration) {
	if m != nil {
		m.pending.Set(float64(n))
		m.oldest.Set(oldest.Seconds())
	}
}
