package dispatcher

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// namedAccounts is how many accounts are shown by id: those that are well are
// not, and what befalls more than these is one gateway's trouble.
const namedAccounts = 100

var (
	breakersDesc = prometheus.NewDesc("doctorsflow_gateway_breakers",
		"Accounts in use by the state of their breaker: closed, open or half_open; of sends and of queries.", []string{"channel", "requests", "state"}, nil)
	breakerDesc = prometheus.NewDesc("doctorsflow_gateway_breaker_state",
		"Breakers that are not closed, by account: 1 is half-open, 2 is open. At most 100 are shown.", []string{"account", "channel", "requests"}, nil)
	underwayDesc = prometheus.NewDesc("doctorsflow_gateway_requests_under_way", "Requests to send that wait for their answer.", []string{"channel"}, nil)
)

func newOpened() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doctorsflow_gateway_breaker_opened_total", Help: "How often a breaker opened, or stayed open after a probe, by reason.",
	}, []string{"channel", "requests", "reason"})
}

// Describe implements [prometheus.Collector].
func (g *Gateways) Describe(ch chan<- *prometheus.Desc) {
	ch <- breakersDesc
	ch <- breakerDesc
	ch <- underwayDesc
	g.opened.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (g *Gateways) Collect(ch chan<- prometheus.Metric) {
	g.opened.Collect(ch)
	g.mu.Lock()
	lines := maps.Clone(g.lines)
	g.mu.Unlock()

	type breakers struct {
		channel         event.Channel
		requests, state string
	}
	counts, underway := map[breakers]int{}, map[event.Channel]int{}
	for _, c := range []event.Channel{event.Kakao, event.SMS} {
		underway[c] = 0
		for _, requests := range []string{"send", "query"} {
			for _, state := range []string{"closed", "open", "half_open"} {
				counts[breakers{c, requests, state}] = 0
			}
		}
	}
	now, named := time.Now(), 0
	for k, l := range lines {
		send, query, n := l.states(now)
		underway[k.channel] += n
		if named < namedAccounts && (send != "closed" || query != "closed") {
			named++
			for requests, state := range map[string]string{"send": send, "query": query} {
				if v := map[string]float64{"half_open": 1, "open": 2}[state]; v > 0 {
					ch <- prometheus.MustNewConstMetric(breakerDesc, prometheus.GaugeValue, v, k.account.String(), string(k.channel), requests)
				}
			}
		}
		counts[breakers{k.channel, "send", send}]++
		counts[breakers{k.channel, "query", query}]++
	}
	for b, n := range counts {
		ch <- prometheus.MustNewConstMetric(breakersDesc, prometheus.GaugeValue, float64(n), string(b.channel), b.requests, b.state)
	}
	for c, n := range underway {
		ch <- prometheus.MustNewConstMetric(underwayDesc, prometheus.GaugeValue, float64(n), string(c))
	}
}

// states are the states of both breakers, and how many sends are under way.
func (l *line) states(now time.Time) (send, query string, underway int) {
	l.mu.Lock()
	send, underway = l.breaker.state(now), l.underway
	l.mu.Unlock()
	l.gateway.mu.Lock()
	query = l.gateway.breaker.state(now)
	l.gateway.mu.Unlock()
	return send, query, underway
}
