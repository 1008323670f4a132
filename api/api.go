// Package api is the REST API that clinics read their data by, and the routes
// that tell operators how a process is. It must not know SQL, the messages in
// streams, nor how anything is sent.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

// Ledger is the part of the store that the API needs.
type Ledger interface {
	auth.Keys
	auth.Identities
	MessageLogs
	Executions
	Parked
	AuditLog
	Health
}

// Config is what the API is made of.
type Config struct {
	DB       Ledger
	Broker   Broker
	Registry *prometheus.Registry
	// Routes adds what clinics call, and the count of the whole ledger that
	// metrics and readiness show. Without it only the operators' routes are
	// served.
	Routes bool
	// Issuer lets in whom its tokens name, beside API keys; nil for none.
	Issuer *auth.Issuer
	// Checks are asked for readiness beside the built-in ones.
	Checks []Check
	Logger *slog.Logger
}

// API serves the routes.
type API struct {
	config       Config
	huma         huma.API
	auth         *auth.Authenticator
	metrics      *metrics
	told         map[string]howTold      // by operation
	conservation *telemetry.Conservation // nil without routes
}

// Register adds the routes to mux: /healthz, /readyz and /metrics, and with
// [Config.Routes] everything under /api/ and /problems/ that no other role has
// registered there, and an answer to every other path. Readiness and metrics
// need [API.Run].
func Register(mux *http.ServeMux, c Config) *API {
	a := &API{config: c, auth: auth.New(c.DB, c.Logger).Trust(c.Issuer, c.DB), metrics: newMetrics(c.Registry), told: map[string]howTold{}}
	checks := append(builtIn(c.DB, c.Broker), c.Checks...)
	if c.Routes {
		a.conservation = telemetry.NewConservation(count(c.DB), c.Logger)
		c.Registry.MustRegister(a.conservation)
		checks = append(checks, Check{Name: "conservation", Run: a.conserved}, Check{Name: "gateways", Run: a.gateways})
		a.routes(mux)
	}
	plain := func(h http.Handler) http.Handler { return problem.WithRequestID(secure(h)) }
	mux.Handle("GET /healthz", plain(http.HandlerFunc(alive)))
	mux.Handle("GET /readyz", plain(newReadiness(checks, c.Logger)))
	mux.Handle("GET /metrics", plain(promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})))
	return a
}

// Run counts the ledger for metrics and readiness, when asked, until ctx is
// done.
func (a *API) Run(ctx context.Context) error {
	if a.conservation == nil {
		<-ctx.Done()
		return nil
	}
	return a.conservation.Run(ctx)
}

// routes adds what clinics call.
func (a *API) routes(mux *http.ServeMux) {
	inner := newRouter(a.guard)
	a.huma = huma.NewAPI(document(), inner)
	register(a, listMessageLogs(a.config.DB))
	register(a, listExecutions(a.config.DB))
	register(a, listParked(a.config.DB))
	register(a, retryParked(a.config.DB))
	register(a, dropParked(a.config.DB))
	register(a, listAuditLog(a.config.DB))
	spec := a.huma.OpenAPI()
	inner.page("/api/openapi.yaml", "application/yaml; charset=utf-8", specification(spec))
	inner.page("/api/docs", "text/html; charset=utf-8", reference(spec))
	inner.mux.Handle("GET /problems/{slug}", http.RedirectHandler("/api/docs#problems", http.StatusFound))
	inner.finish()
	h := problem.WithRequestID(secure(inner))
	for _, path := range []string{"/", "/api", "/api/", "/problems", "/problems/"} {
		mux.Handle(path, h)
	}
}

// secure sets the headers that hold for every answer: nothing of them is kept
// by a cache, guessed to be another type, framed, or run.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
