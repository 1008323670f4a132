package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// values gathers every sample as name{label values} = number.
func values(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "," + l.GetName() + "=" + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

func TestTheRegistrySaysWhichProgramThisIs(t *testing.T) {
	t.Parallel()
	all := values(t, telemetry.NewRegistry())
	var info, runtime, process bool
	for name, v := range all {
		info = info || strings.HasPrefix(name, "doctorsflow_build_info,go_version=go") && strings.Contains(name, "version=") && v == 1
		runtime = runtime || name == "go_goroutines"
		process = process || strings.HasPrefix(name, "process_")
	}
	if !info || !runtime || !process {
		t.Errorf("build info %v, Go runtime %v, process %v; want all in %v", info, runtime, process, all)
	}
}

func TestTheLedgerIsCountedWhenAskedAndNotOftener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var counted []time.Duration
		var takes atomic.Int64
		start := time.Now()
		c := telemetry.NewConservation(func(context.Context) (telemetry.Counts, error) {
			mu.Lock()
			counted = append(counted, time.Since(start))
			mu.Unlock()
			time.Sleep(time.Duration(takes.Load()))
			return telemetry.Counts{Runs: 1}, nil
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		expect := func(when string, want ...time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(counted, want) {
				t.Fatalf("%s: counted at %v, want %v", when, counted, want)
			}
		}
		expect("at the start", 0)
		time.Sleep(time.Minute)
		expect("while nobody asks", 0)
		for range 100 {
			if n, at, err := c.Last(); n.Runs != 1 || at.IsZero() || err != nil {
				t.Errorf("Last = %+v, %v, %v", n, at, err)
			}
		}
		expect("once asked", 0, time.Minute)
		takes.Store(int64(10 * time.Second))
		time.Sleep(15*time.Second - 1)
		c.Last()
		expect("asked again too early", 0, time.Minute)
		time.Sleep(time.Nanosecond)
		expect("15 s later", 0, time.Minute, 75*time.Second)
		time.Sleep(time.Second)
		c.Last()
		time.Sleep(98 * time.Second)
		expect("after a long count", 0, time.Minute, 75*time.Second)
		time.Sleep(time.Second)
		expect("rested nine times as long", 0, time.Minute, 75*time.Second, 175*time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestTheLawsNumbersAreExported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		away, calls := errors.New("away"), 0
		c := telemetry.NewConservation(func(context.Context) (telemetry.Counts, error) {
			if calls++; calls == 1 {
				return telemetry.Counts{}, away
			}
			return telemetry.Counts{
				Triggers: map[string]int64{"planned": 3, "ignored": 1, "pending": 2},
				Steps:    map[string]int64{"delivered": 4, "pending": 5}, Waiting: map[string]int64{"gateway_down": 8}, Runs: 6, Diff: 7,
			}, nil
		}, slog.New(slog.NewTextHandler(&log, nil)))
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(c)
		if got := values(t, r); len(got) != 1 {
			t.Errorf("before the first count: %v, want only the failures", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		if got := values(t, r); len(got) != 1 || got["doctorsflow_conservation_failures_total"] != 1 {
			t.Errorf("after a failure: %v", got)
		}
		if _, at, err := c.Last(); !at.IsZero() || !errors.Is(err, away) {
			t.Errorf("Last after a failure: %v, %v", at, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		got := values(t, r)
		for name, want := range map[string]float64{
			"doctorsflow_triggers,state=planned": 3, "doctorsflow_triggers,state=ignored": 1, "doctorsflow_triggers,state=pending": 2,
			"doctorsflow_steps,state=delivered": 4, "doctorsflow_steps,state=pending": 5,
			"doctorsflow_steps_waiting,reason=gateway_down": 8, "doctorsflow_workflow_executions": 6, "doctorsflow_conservation_diff": 7, "doctorsflow_conservation_failures_total": 1,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s = %v, %v; want %v", name, v, ok, want)
			}
		}
		if got["doctorsflow_conservation_timestamp_seconds"] == 0 {
			t.Error("it is not told when the ledger was counted")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		if !strings.Contains(log.String(), "does not hold") || !strings.Contains(log.String(), "diff=7") {
			t.Errorf("the log does not tell: %s", log.String())
		}
	})
}
