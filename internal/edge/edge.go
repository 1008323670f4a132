package edge

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// StrangersPerMinute is how many requests a minute an address may make by
// default that prove nothing about who sends them.
const StrangersPerMinute = 300

// Config says what is let in. Zero values mean the defaults.
type Config struct {
	// Proxies are believed about whom they forward.
	Proxies Proxies
	// Hosts are the names that are served; none means any. An address in place
	// of a name is always served: probes use it, and no name of an attacker's
	// leads to it (DNS rebinding).
	Hosts []string
	// Origins are the web pages' origins that may call the API from a browser;
	// none means none.
	Origins []string
	// TLS says that a proxy ends TLS before us, and that clients are told to
	// come by nothing else for the next two years (HSTS).
	TLS bool
	// StrangersPerMinute bounds, for each address, the requests that prove
	// nothing about who sends them; default [StrangersPerMinute].
	StrangersPerMinute int
}

// Edge judges requests before they reach a route. It is safe for concurrent
// use. A nil Edge limits nothing, and knows no proxy.
type Edge struct {
	config    Config
	strangers Buckets[netip.Prefix]
	limited   *prometheus.CounterVec
}

// New returns an Edge. Its metrics are registered with reg.
func New(c Config, reg prometheus.Registerer) *Edge {
	if c.StrangersPerMinute <= 0 {
		c.StrangersPerMinute = StrangersPerMinute
	}
	e := &Edge{config: c, limited: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doctorsflow_http_limited_total",
		Help: "Requests refused by their form (uri, path, headers, host) or because their address asked too often as a stranger (address).",
	}, []string{"by"})}
	reg.MustRegister(e.limited)
	return e
}

// Address returns where a request comes from; the zero address if its
// connection has none.
func (e *Edge) Address(r *http.Request) netip.Addr {
	if e == nil {
		return Proxies(nil).client(r)
	}
	return e.config.Proxies.client(r)
}

// Strange counts a request that proved nothing about who sends it. It returns
// how long its address has to wait for the answer that it would have got, and
// 0 while it is within its rate: then it is answered as ever.
func (e *Edge) Strange(r *http.Request) time.Duration {
	if e == nil {
		return 0
	}
	wait := e.strangers.Take(household(e.Address(r)), e.config.StrangersPerMinute, time.Now())
	if wait > 0 {
		e.limited.WithLabelValues("address").Inc()
	}
	return wait
}

// Wary reports whether the address of a request is over its rate: then nothing
// is looked up for it that was never seen to be good.
func (e *Edge) Wary(r *http.Request) bool {
	return e != nil && e.strangers.Empty(household(e.Address(r)), time.Now())
}
