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
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/simulate"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

// Ledger is the part of the store that the API needs.
type Ledger interface {
	auth.Keys
	auth.Identities
	MessageLogs
	Executions
	Workflows
	intake.News
	Patients
	Templates
	Segments
	Schedules
	Campaigns
	Appointments
	MessageStats
	Replays
	OptOuts
	Merges
	Parked
	AuditLog
	Simulations
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
	// Edge tells where requests come from, and counts those that prove nothing
	// by address; nil does not count.
	Edge *edge.Edge
	// Settle is how long the answer to a replay waits for what comes of it.
	Settle time.Duration
	// Rates bounds what callers may ask.
	Rates Rates
	// Again is how the planner makes a run's plan anew: for what is published,
	// and when an appointment changes.
	Again Again
	// Rules are those of the running path, for simulations.
	Rules simulate.Rules
	// Checks are asked for readiness beside the built-in ones.
	Checks []Check
	// Phones says which numbers are patients'.
	Phones phone.Options
	Logger *slog.Logger
}

// API serves the routes.
type API struct {
	config       Config
	huma         huma.API
	auth         *auth.Authenticator
	metrics      *metrics
	paces        *paces
	told         map[string]howTold      // by operation
	conservation *telemetry.Conservation // nil without routes
}

// Register adds the routes to mux: /healthz, /readyz and /metrics, and with
// [Config.Routes] everything under /api/ and /problems/ that no other role has
// registered there, and an answer to every other path. Readiness and metrics
// need [API.Run].
func Register(mux *http.ServeMux, c Config) *API {
	a := &API{config: c, paces: newPaces(c.Rates, c.Registry), auth: auth.New(c.DB, c.Edge, c.Logger).Trust(c.Issuer, c.DB), metrics: newMetrics(c.Registry), told: map[string]howTold{}}
	checks := append(builtIn(c.DB, c.Broker), c.Checks...)
	if c.Routes {
		a.conservation = telemetry.NewConservation(count(c.DB), c.Logger)
		c.Registry.MustRegister(a.conservation)
		checks = append(checks, Check{Name: "conservation", Run: a.conserved}, Check{Name: "gateways", Run: a.gateways})
		a.routes(mux)
	}
	mux.Handle("GET /healthz", problem.WithRequestID(http.HandlerFunc(alive)))
	mux.Handle("GET /readyz", problem.WithRequestID(newReadiness(checks, c.Logger)))
	mux.Handle("GET /metrics", problem.WithRequestID(promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})))
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
	inner := newRouter(a.guard, a.strange, a.origin)
	a.huma = huma.NewAPI(document(), inner)
	register(a, listMessageLogs(a.config.DB))
	register(a, getMessageStats(a.config.DB))
	register(a, replayTrigger(a.config.DB, a.config.Settle))
	register(a, startReplay(a.config.DB))
	register(a, listReplays(a.config.DB))
	register(a, getReplay(a.config.DB))
	register(a, cancelReplay(a.config.DB))
	register(a, listExecutions(a.config.DB))
	register(a, executionPlan(a.config.DB))
	register(a, stopExecution(a.config.DB))
	a.registerWorkflows()
	a.registerPatients()
	a.registerTemplates()
	a.registerSegments()
	a.registerSchedules()
	a.registerCampaigns()
	register(a, listOptOuts(a.config.DB))
	register(a, optOutPatient(a.config.DB))
	register(a, liftOptOut(a.config.DB))
	register(a, mergePatient(a.config.DB))
	register(a, simulateWorkflow(a.config.DB, a.config.Rules))
	desk := &intake.Desk{Ledger: a.config.DB, Again: a.config.Again, Phones: a.config.Phones}
	register(a, receiveAppointmentEvents(desk))
	register(a, receiveAppointmentTable(desk))
	register(a, receiveAppointmentFHIR(desk))
	register(a, receiveFHIRNotification(desk, a.config.DB))
	register(a, listAppointments(a.config.DB))
	register(a, getAppointment(a.config.DB))
	register(a, listParked(a.config.DB))
	register(a, retryParked(a.config.DB))
	register(a, dropParked(a.config.DB))
	register(a, listAuditLog(a.config.DB))
	spec := a.huma.OpenAPI()
	inner.page("/api/openapi.yaml", "application/yaml; charset=utf-8", specification(spec))
	inner.page("/api/docs", "text/html; charset=utf-8", reference(spec))
	inner.mux.Handle("GET /problems/{slug}", a.strange(http.RedirectHandler("/api/docs#problems", http.StatusFound)))
	inner.finish()
	h := problem.WithRequestID(inner)
	for _, path := range []string{"/", "/api", "/api/", "/problems", "/problems/"} {
		mux.Handle(path, h)
	}
}
