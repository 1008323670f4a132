package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
)

// ready asks for readiness and returns the status and "name=status …".
func (s *server) ready() (int, string) {
	s.t.Helper()
	w := s.do(http.MethodGet, "/readyz", "")
	var r report
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		s.t.Fatalf("%v in %s", err, w.Body)
	}
	out := r.Status
	for _, c := range r.Checks {
		if c.Status != "ok" {
			out += " " + c.Name
		}
	}
	if (w.Code == http.StatusOK) != (w.Header().Get("Retry-After") == "") {
		s.t.Errorf("%d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	return w.Code, out
}

// counted runs the API until the ledger was counted once.
func (s *server) counted() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.api.Run(ctx) }()
	for {
		if _, at, err := s.api.conservation.Last(); !at.IsZero() || err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		s.t.Error(err)
	}
}

func TestAProcessIsAliveWhateverIsAway(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	s := serve(t, &fakeLedger{ping: func(context.Context) error { return away }}, &fakeBroker{ping: away})
	if w := s.do(http.MethodGet, "/healthz", ""); w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"status":"ok"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestReadinessNamesWhatFails(t *testing.T) {
	t.Parallel()
	away := errors.New("canary7731")
	now := time.Now()
	failing := func(context.Context) error { return away }
	off := func() ([]store.Conservation, error) {
		return []store.Conservation{{Expected: 3, Steps: 2, Pending: 2}}, nil
	}
	for _, tt := range []struct {
		name   string
		db     *fakeLedger
		broker *fakeBroker
		status int
		want   string
	}{
		{"all_well", &fakeLedger{}, &fakeBroker{}, 200, "ready"},
		{"postgres", &fakeLedger{ping: failing}, &fakeBroker{}, 503, "unavailable postgres"},
		{"jetstream", &fakeLedger{}, &fakeBroker{ping: away, err: away}, 200, "degraded jetstream lag"},
		{"postgres_and_jetstream", &fakeLedger{ping: failing}, &fakeBroker{ping: away}, 503, "unavailable postgres jetstream"},
		{"due_a_moment_ago", &fakeLedger{queues: []store.Queue{{Name: "care", Wake: now.Add(-59 * time.Second)}}, now: now}, &fakeBroker{}, 200, "ready"},
		{"due_for_long", &fakeLedger{queues: []store.Queue{{Name: "care", Wake: now}, {Name: "care", Wake: now.Add(-61 * time.Second)}}, now: now}, &fakeBroker{}, 200, "degraded lag"},
		{"not_due", &fakeLedger{queues: []store.Queue{{Name: "care", Wake: now.Add(time.Hour)}}, now: now}, &fakeBroker{}, 200, "ready"},
		{"stream_moves", &fakeLedger{}, &fakeBroker{backlog: stream.Backlog{Waiting: 9, Since: now}}, 200, "ready"},
		{"stream_stands", &fakeLedger{}, &fakeBroker{backlog: stream.Backlog{Waiting: 9, Since: now.Add(-2 * time.Minute)}}, 200, "degraded lag"},
		{"gateway_down", &fakeLedger{waiting: map[event.Reason]int64{event.GatewayDown: 1}}, &fakeBroker{}, 200, "degraded gateways"},
		{"gateway_throttled", &fakeLedger{waiting: map[event.Reason]int64{event.GatewayThrottled: 1}}, &fakeBroker{}, 200, "degraded gateways"},
		{"own_rate", &fakeLedger{waiting: map[event.Reason]int64{event.RateLimited: 9, event.QuietHours: 9}}, &fakeBroker{}, 200, "ready"},
		{"law_broken", &fakeLedger{conserve: off}, &fakeBroker{}, 200, "degraded conservation"},
		{"law_not_known", &fakeLedger{conserve: func() ([]store.Conservation, error) { return nil, away }}, &fakeBroker{}, 200, "degraded conservation"},
	} {
		s := serve(t, tt.db, tt.broker)
		s.counted()
		if status, got := s.ready(); status != tt.status || got != tt.want {
			t.Errorf("%s: %d %s, want %d %s", tt.name, status, got, tt.status, tt.want)
		}
		if w := s.do(http.MethodGet, "/readyz", ""); strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%s: the reason is told to anybody: %s", tt.name, w.Body)
		}
	}
}

func TestTheLedgerMustHaveBeenCountedOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	if status, got := s.ready(); status != 200 || got != "degraded conservation" {
		t.Errorf("%d %s", status, got)
	}
}

func TestAChecksWordIsKeptForASecondAndAwaitedForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var hang atomic.Bool
		s := serve(t, &fakeLedger{ping: func(ctx context.Context) error {
			asked.Add(1)
			if hang.Load() {
				time.Sleep(time.Minute) // heeds no context
			}
			return ctx.Err()
		}}, &fakeBroker{})
		expect := func(status int, want string, times int64) {
			t.Helper()
			if got, text := s.ready(); got != status || text != want || asked.Load() != times {
				t.Fatalf("%d %s after %d questions; want %d %s after %d", got, text, asked.Load(), status, want, times)
			}
		}
		expect(200, "degraded conservation", 1)
		time.Sleep(time.Second - 1)
		expect(200, "degraded conservation", 1)
		time.Sleep(time.Nanosecond)
		hang.Store(true)
		start := time.Now()
		expect(503, "unavailable postgres conservation", 2)
		if took := time.Since(start); took != time.Second {
			t.Errorf("a check that hangs was awaited for %v, want 1s", took)
		}
		hang.Store(false)
		time.Sleep(time.Second)
		expect(200, "degraded conservation", 3)
		time.Sleep(time.Minute)
		if log := s.log.String(); strings.Count(log, "check=postgres ok=false") != 1 || strings.Count(log, "check=postgres ok=true") != 1 {
			t.Errorf("each change is logged once: %s", log)
		}
	})
}

func TestAChecksOfTheCallersOwnCounts(t *testing.T) {
	t.Parallel()
	rd := newReadiness([]Check{
		{Name: "a", Run: func(context.Context) error { return nil }},
		{Name: "b", Essential: true, Run: func(context.Context) error { return errors.New("x") }},
	}, serve(t, &fakeLedger{}, &fakeBroker{}).api.config.Logger)
	if status, r := rd.look(t.Context()); status != 503 || r.Status != "unavailable" || len(r.Checks) != 2 || r.Checks[0].Status != "ok" {
		t.Errorf("%d %+v", status, r)
	}
}

func TestMetricsShowTheLedger(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.mine.message("010-0000-0001", store.StateFailed)
	l.other.message("010-0000-0001", store.StateDelivered)
	l.counted()
	body := l.do(http.MethodGet, "/metrics", "").Body.String()
	for _, want := range []string{
		`doctorsflow_triggers{state="planned"} 2`, `doctorsflow_steps{state="failed"} 1`, `doctorsflow_steps{state="delivered"} 1`,
		`doctorsflow_steps{state="pending"} 1`, `doctorsflow_workflow_executions 2`, `doctorsflow_conservation_diff 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics do not have %s", want)
		}
	}
	for _, name := range []string{l.mine.tenant.String(), l.other.tenant.String(), "미소치과"} {
		if strings.Contains(body, name) {
			t.Errorf("metrics name %s", name)
		}
	}
}
