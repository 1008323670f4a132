package recorder_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/recorder"
)

// desk holds what is parked, and what nobody was told of yet.
type desk struct {
	mu     sync.Mutex
	untold []store.ParkedNotice
	counts []store.ParkedCount
	err    error
}

func (d *desk) TellParked(_ context.Context, limit int, tell func(store.ParkedNotice)) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(limit, len(d.untold))
	for _, p := range d.untold[:n] {
		tell(p)
	}
	d.untold = d.untold[n:]
	return n, d.err
}

func (d *desk) CountParked(context.Context) ([]store.ParkedCount, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts, d.err
}

func (d *desk) become(counts []store.ParkedCount, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts, d.err = counts, err
}

// parkedNumbers gathers the metrics of parked work.
func parkedNumbers(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "doctorsflow_parked_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

func TestParkedWorkIsHeardOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notice := store.ParkedNotice{Tenant: tenant.NewID(), Step: uuid.Must(uuid.NewV7()), Channel: event.SMS, Reason: event.OutcomeUnknown, Since: time.Now(), Times: 2}
		d := &desk{counts: []store.ParkedCount{{Channel: event.SMS, Reason: event.OutcomeUnknown, Steps: 600, Oldest: 90 * time.Second}}}
		for range 600 { // more than are told of at once
			d.untold = append(d.untold, notice)
		}
		var log bytes.Buffer
		reg := prometheus.NewPedanticRegistry()
		w := &recorder.ParkWatch{Ledger: d, Every: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: recorder.NewParkMetrics(reg)}
		if got := parkedNumbers(t, reg); len(got) != 3 || got["timestamp_seconds"] != 0 {
			t.Errorf("before the first look: %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		want := map[string]float64{
			"steps kakao outcome_unknown": 0, "steps sms outcome_unknown": 600,
			"oldest_seconds kakao outcome_unknown": 0, "oldest_seconds sms outcome_unknown": 90,
			"total kakao outcome_unknown": 0, "total sms outcome_unknown": 600,
			"timestamp_seconds": float64(time.Now().Unix()),
		}
		if diff := cmp.Diff(want, parkedNumbers(t, reg)); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		d.become(d.counts, errors.New("away"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := parkedNumbers(t, reg); got["timestamp_seconds"] != want["timestamp_seconds"] || got["steps sms outcome_unknown"] != 600 {
			t.Errorf("a failed look changed the numbers: %v", got)
		}
		d.become(nil, nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := parkedNumbers(t, reg); got["steps sms outcome_unknown"] != 0 || got["timestamp_seconds"] != float64(time.Now().Unix()) || got["total sms outcome_unknown"] != 600 {
			t.Errorf("after the desk was cleared: %v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 601 || !strings.Contains(lines[600], "could not be looked at") {
			t.Fatalf("%d lines, want one for each step and one for the failure", len(lines))
		}
		for _, part := range []string{"level=WARN", "step=" + notice.Step.String(), "tenant=" + notice.Tenant.String(), "channel=sms", "reason=outcome_unknown", "times=2"} {
			if !strings.Contains(lines[0], part) {
				t.Errorf("the line lacks %s: %s", part, lines[0])
			}
		}
	})
}
