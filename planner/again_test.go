package planner_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/planner"
)

// lookback has so many steps of a replay left, and so many clinics to sweep a
// day; the first looks fail.
type lookback struct {
	fails, steps, clinics int
	sweeps                []time.Time
}

func (l *lookback) ContinueReplay(context.Context) (bool, error) {
	if l.fails > 0 {
		l.fails--
		return false, errors.New("away")
	}
	l.steps--
	return l.steps > 0, nil
}

func (l *lookback) SweepDaily(_ context.Context, days int) (tenant.ID, int, bool, error) {
	l.sweeps = append(l.sweeps, time.Now())
	l.clinics--
	return tenant.NewID(), days, l.clinics > 0, nil
}

func TestWhatIsToBeLookedAtAgainIsFinishedAndHintedAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lookback{fails: 2, steps: 5, clinics: 3}
		hints := 0
		r := planner.Replayer{Ledger: l, Every: time.Second, Days: 30, Hint: func() { hints++ }, Logger: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithTimeout(t.Context(), 65*time.Second)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if l.steps > 0 || l.clinics > 0 || hints < 8 {
			t.Errorf("%d steps, %d clinics are left, %d hints", l.steps, l.clinics, hints)
		}
		// After what failed, a sweep is looked for twice a minute.
		if n := len(l.sweeps); n < 4 || n > 6 {
			t.Errorf("%d looks for a sweep", n)
		}
	})
}
