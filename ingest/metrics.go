package ingest

import "github.com/prometheus/client_golang/prometheus"

// metrics counts. No label holds a tenant, a webhook or anything that a caller
// can choose.
type metrics struct {
	calls         *prometheus.CounterVec
	accepted      prometheus.Counter
	duplicate     prometheus.Counter
	seconds       prometheus.Histogram
	commitSize    prometheus.Histogram
	commitSeconds prometheus.Histogram
	unpublished   prometheus.Counter
	unrecorded    prometheus.Counter
	floorSkipped  prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "doctorsflow_ingest_" + name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "doctorsflow_ingest_" + name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doctorsflow_ingest_calls_total", Help: "Webhook calls by what became of them.",
		}, []string{"outcome"}),
		seconds:       histogram("accept_seconds", "Time from a call's arrival to its 202.", prometheus.ExponentialBuckets(0.0005, 2, 13)),
		commitSize:    histogram("commit_calls", "Calls per commit.", prometheus.ExponentialBuckets(1, 2, 10)),
		commitSeconds: histogram("commit_seconds", "Time a commit took, failed ones too.", prometheus.ExponentialBuckets(0.0005, 2, 13)),
		unpublished:   counter("unpublished_total", "Triggers committed here and left to release to publish."),
		unrecorded:    counter("unrecorded_total", "Refused calls that have no row in a webhook's history."),
		floorSkipped:  counter("floor_skipped_total", "Refusals answered early because too many were held back."),
	}
	m.accepted = m.calls.WithLabelValues("accepted")
	m.duplicate = m.calls.WithLabelValues("duplicate")
	return m
}

func (m *metrics) register(reg prometheus.Registerer, waiting func() float64) {
	reg.MustRegister(m.calls, m.seconds, m.commitSize, m.commitSeconds, m.unpublished, m.unrecorded, m.floorSkipped,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "doctorsflow_ingest_waiting_calls", Help: "Calls waiting for a commit.",
		}, waiting))
}
