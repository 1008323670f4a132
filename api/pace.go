package api

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// The default rates, in requests a minute.
const (
	CallerPerMinute = 1_200
	TenantPerMinute = 6_000
)

// Rates bounds the requests of those who proved who they are, in requests a
// minute and for each copy of the process. Zero values mean the defaults. A
// minute's worth may come at once.
type Rates struct {
	Caller int // of one API key, or one user
	Tenant int // of all callers of a clinic
}

// paces counts the requests of callers and of clinics.
type paces struct {
	rates   Rates
	callers edge.Buckets[string] // by [auth.Principal.Actor]
	tenants edge.Buckets[tenant.ID]
	limited *prometheus.CounterVec
}

func newPaces(r Rates, reg prometheus.Registerer) *paces {
	if r.Caller <= 0 {
		r.Caller = CallerPerMinute
	}
	if r.Tenant <= 0 {
		r.Tenant = TenantPerMinute
	}
	p := &paces{rates: r, limited: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doctorsflow_api_limited_total", Help: "Requests refused because a caller (key or user) or a whole clinic asked too often.",
	}, []string{"by"})}
	reg.MustRegister(p.limited)
	return p
}

// pace refuses a request beyond its caller's or its clinic's rate. It comes
// before anything that asks the ledger for rows.
func (a *API) pace(next http.Handler) http.Handler {
	p := a.paces
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by, _ := auth.From(r.Context())
		now, what := time.Now(), "caller"
		wait := p.callers.Take(by.Tenant.String()+by.Actor(), p.rates.Caller, now)
		if wait == 0 {
			wait, what = p.tenants.Take(by.Tenant, p.rates.Tenant, now), "tenant"
		}
		if wait > 0 {
			p.limited.WithLabelValues(what).Inc()
			problem.Write(w, r, problem.New(problem.RateLimited).WithRetryAfter(wait))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// strange counts a request for something that anybody may ask for.
func (a *API) strange(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := a.config.Edge.Strange(r); wait > 0 {
			problem.Write(w, r, problem.New(problem.RateLimited).WithRetryAfter(wait))
			return
		}
		next.ServeHTTP(w, r)
	})
}
