package recorder_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/recorder"
)

// archive counts what it is asked for.
type archive struct {
	seals []time.Duration
	cuts  []time.Time
	old   int64
	err   error
}

func (a *archive) SealSends(_ context.Context, lag time.Duration) (int, error) {
	a.seals = append(a.seals, lag)
	return 2, a.err
}

func (a *archive) Tenants(context.Context) ([]store.TenantRow, error) {
	return []store.TenantRow{{ID: tenant.NewID()}}, a.err
}

func (a *archive) CutAudit(_ context.Context, _ tenant.ID, before time.Time) (int64, error) {
	a.cuts = append(a.cuts, before)
	n := min(a.old, 10)
	a.old -= n
	return n, nil
}

func TestWhatIsSentIsSealedAgainAndAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, log := &archive{err: errors.New("away")}, &bytes.Buffer{}
		reg := prometheus.NewPedanticRegistry()
		s := &recorder.Sealer{Ledger: a, Every: 5 * time.Second, Lag: time.Second, Logger: slog.New(slog.NewTextHandler(log, nil)), Metrics: recorder.NewAuditMetrics(reg)}
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Duration{time.Second, time.Second, time.Second}, a.seals); diff != "" {
			t.Errorf("sealed (-want +got):\n%s", diff)
		}
		if n := strings.Count(log.String(), "tried again"); n != 3 {
			t.Errorf("%d failures were told of, want 3", n)
		}
	})
}

func TestRetentionGoesOnUntilNothingIsTooOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &archive{old: 25}
		r := &recorder.Retention{Ledger: a, Every: 24 * time.Hour, Keep: 1000 * time.Hour, Logger: slog.New(slog.DiscardHandler)}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Hour)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		first, second := start.Add(-1000*time.Hour), start.Add(-976*time.Hour)
		if diff := cmp.Diff([]time.Time{first, first, first, first, second}, a.cuts); diff != "" {
			t.Errorf("cut (-want +got):\n%s", diff)
		}
	})
}
