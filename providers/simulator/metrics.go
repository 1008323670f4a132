package simulator

import (
	"maps"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are numbers of what happened. Guarded by Simulator.mu.
type counts struct {
	accept  [len(kindNames)]uint64
	results map[resultKey]uint64
	hookIDs uint64
}

type resultKey struct {
	kind kind
	code string
}

func (c *counts) accepted(k kind) { c.accept[k]++ }

func (c *counts) result(k kind, code string) {
	if c.results == nil {
		c.results = make(map[resultKey]uint64)
	}
	c.results[resultKey{k, code}]++
}

// metrics are the simulator's Prometheus metrics, in a registry of their own.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	hooks    *prometheus.CounterVec
	s        *Simulator
	accepted *prometheus.Desc
	results  *prometheus.Desc
	breaches *prometheus.Desc
	open     *prometheus.Desc
	odd      *prometheus.Desc
}

func newMetrics(s *Simulator) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doctorsflow_simulator_requests_total", Help: "Gateway requests by product, endpoint and code of the answer.",
		}, []string{"product", "method", "endpoint", "code"}),
		hooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doctorsflow_simulator_webhooks_total", Help: "Hooks, by what became of them: taken, refused or dropped on purpose.",
		}, []string{"outcome"}),
		s:        s,
		accepted: prometheus.NewDesc("doctorsflow_simulator_accepted_total", "Messages accepted.", []string{"product"}, nil),
		results:  prometheus.NewDesc("doctorsflow_simulator_results_total", "Results reported.", []string{"product", "code"}, nil),
		breaches: prometheus.NewDesc("doctorsflow_simulator_violations_total", "Breaches of the rules by the client.", []string{"breach"}, nil),
		open:     prometheus.NewDesc("doctorsflow_simulator_open_messages", "Accepted messages without a final result.", nil, nil),
		odd:      prometheus.NewDesc("doctorsflow_simulator_contradictions_total", "Failures that the gateway itself took back.", nil, nil),
	}
	m.registry.MustRegister(m.requests, m.hooks, m)
	return m
}

func (m *metrics) request(c *call, a answer) {
	method, endpoint := c.req.method, "unknown"
	if c.route != nil {
		endpoint = c.route.pattern
	} else {
		method = "any" // a client must not choose label values
	}
	code := strconv.Itoa(a.code)
	if a.wire != wireWhole {
		code = "lost"
	}
	m.requests.WithLabelValues(string(c.product), method, endpoint, code).Inc()
}

func (m *metrics) hook(ok bool, n int) {
	outcome := "refused"
	if ok {
		outcome = "taken"
	}
	m.hooks.WithLabelValues(outcome).Add(float64(n))
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.accepted, m.results, m.breaches, m.open, m.odd} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.s.settle()
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	count := func(d *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n, labels...)
	}
	for k, n := range m.s.count.accept {
		count(m.accepted, float64(n), kindNames[k])
	}
	for k, n := range m.s.count.results {
		count(m.results, float64(n), kindNames[k.kind], k.code)
	}
	for b, n := range m.s.oracle.count {
		count(m.breaches, float64(n), string(b))
	}
	count(m.odd, float64(m.s.oracle.anomalies))
	ch <- prometheus.MustNewConstMetric(m.open, prometheus.GaugeValue, float64(m.s.store.pending))
}

// Metrics returns the simulator's metrics, for a process that shows them with
// its own.
func (s *Simulator) Metrics() prometheus.Gatherer { return s.metrics.registry }

// Stats is how much happened since the start or the last reset.
type Stats struct {
	// Accepted is the messages accepted, by product as in [Entry].
	Accepted map[string]uint64 `json:"accepted"`
	// Open is the messages without a final result.
	Open int `json:"open"`
	// Violations is the breaches, also beyond those that Violations keeps.
	Violations map[Breach]int `json:"violations"`
	// Contradictions is how often the gateway took a failure back.
	Contradictions int `json:"contradictions"`
}

// Stats returns the counts.
func (s *Simulator) Stats() Stats {
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Accepted: make(map[string]uint64), Violations: make(map[Breach]int), Open: s.store.pending, Contradictions: s.oracle.anomalies}
	for k, n := range s.count.accept {
		if n > 0 {
			st.Accepted[kindNames[k]] = n
		}
	}
	maps.Copy(st.Violations, s.oracle.count)
	return st
}
