package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts. No label holds a tenant or anything that a caller can choose.
type metrics struct{ seconds *prometheus.HistogramVec }

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "doctorsflow_api_request_seconds", Help: "Time to answer, by operation and status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 13),
	}, []string{"operation", "status"})}
	r.MustRegister(m.seconds)
	return m
}

func (m *metrics) request(operation string, status int, took time.Duration) {
	m.seconds.WithLabelValues(operation, strconv.Itoa(status)).Observe(took.Seconds())
}
