package recorder

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Sends is the part of the ledger that brings what was sent into the audit
// log.
type Sends interface {
	SealSends(ctx context.Context, lag time.Duration) (int, error)
}

// Sealer brings what was sent into the audit log, from behind: no send waits
// for it. What was claimed while no copy ran is taken up by the next. Any
// number of copies may run.
type Sealer struct {
	Ledger Sends
	// Every is how often it looks; Lag is how old a claim is before it is
	// sealed.
	Every, Lag time.Duration
	Logger     *slog.Logger
	Metrics    *AuditMetrics
}

// Run seals until ctx is done.
func (s *Sealer) Run(ctx context.Context) error {
	return often(ctx, s.Every, func() {
		n, err := s.Ledger.SealSends(ctx, s.Lag)
		s.Metrics.sealed.Add(float64(n))
		if err == nil {
			s.Metrics.at.SetToCurrentTime()
		} else if ctx.Err() == nil {
			s.Logger.Warn("what was sent could not be brought into the audit log; it is tried again", "err", err)
		}
	})
}

// Retained is the part of the ledger that removes old rows of the audit log.
type Retained interface {
	Tenants(ctx context.Context) ([]store.TenantRow, error)
	CutAudit(ctx context.Context, id tenant.ID, before time.Time) (int64, error)
}

// Retention removes rows of the audit log that are older than they have to be
// kept. Any number of copies may run.
type Retention struct {
	Ledger Retained
	// Every is how often it looks; Keep is how long a row is kept, at least a
	// year.
	Every, Keep time.Duration
	Logger      *slog.Logger
}

// Run looks until ctx is done, the first time at once.
func (r *Retention) Run(ctx context.Context) error {
	return often(ctx, r.Every, func() {
		if err := r.cut(ctx); err != nil && ctx.Err() == nil {
			r.Logger.Warn("old rows of the audit log could not be removed; it is tried again", "err", err)
		}
	})
}

func (r *Retention) cut(ctx context.Context) error {
	tenants, err := r.Ledger.Tenants(ctx)
	if err != nil {
		return err
	}
	before := time.Now().Add(-r.Keep)
	for _, t := range tenants {
		for {
			n, err := r.Ledger.CutAudit(ctx, t.ID, before)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			r.Logger.Info("old rows of the audit log were removed", "tenant", t.ID, "rows", n, "before", before.UTC())
		}
	}
	return nil
}

// often calls f at once and then every so often, until ctx is done.
func often(ctx context.Context, every time.Duration, f func()) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// AuditMetrics are the numbers of what was sealed.
type AuditMetrics struct {
	sealed prometheus.Counter
	at     prometheus.Gauge
}

// NewAuditMetrics registers the metrics with reg.
func NewAuditMetrics(reg prometheus.Registerer) *AuditMetrics {
	m := &AuditMetrics{
		sealed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "doctorsflow_audit_sealed_sends_total", Help: "Attempts that this process brought into the audit log.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "doctorsflow_audit_sealed_timestamp_seconds", Help: "When this process last looked for attempts to bring into the audit log, and could; 0 before the first time.",
		}),
	}
	reg.MustRegister(m.sealed, m.at)
	return m
}
