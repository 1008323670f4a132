package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// alive answers while the process can answer at all.
func alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

const (
	checkTime = time.Second
	// checkFresh bounds how often the parts are asked: anybody can ask us.
	checkFresh = time.Second
)

// readiness runs the checks, all at once, and remembers what they said.
type readiness struct {
	checks []Check
	log    *slog.Logger

	mu     sync.Mutex // held while the checks run: who comes then shares the answer
	at     time.Time
	status int
	report report
	failed map[string]bool
}

// report names what fails, and not why: who asks is not known.
type report struct {
	Status string        `json:"status"` // ready, degraded, unavailable
	Checks []checkResult `json:"checks"`
}

type checkResult struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, failed
	MS     int64  `json:"ms"`
}

func newReadiness(checks []Check, log *slog.Logger) *readiness {
	return &readiness{checks: checks, log: log, failed: map[string]bool{}}
}

// ServeHTTP implements [http.Handler].
func (rd *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, report := rd.look(r.Context())
	if status != http.StatusOK {
		w.Header().Set("Retry-After", seconds(retryAfter))
	}
	writeJSON(w, status, report)
}

func (rd *readiness) look(ctx context.Context) (int, report) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if !rd.at.IsZero() && time.Since(rd.at) < checkFresh {
		return rd.status, rd.report
	}
	// The answer is for others too, should this caller leave.
	ctx = context.WithoutCancel(ctx)
	results, errs := make([]checkResult, len(rd.checks)), make([]error, len(rd.checks))
	var all sync.WaitGroup
	for i, c := range rd.checks {
		all.Go(func() {
			start := time.Now()
			errs[i] = c.run(ctx)
			results[i] = checkResult{Name: c.Name, Status: "ok", MS: time.Since(start).Milliseconds()}
		})
	}
	all.Wait()
	status, text := http.StatusOK, "ready"
	for i, c := range rd.checks {
		if errs[i] != nil {
			results[i].Status = "failed"
			if text == "ready" {
				text = "degraded"
			}
			if c.Essential {
				status, text = http.StatusServiceUnavailable, "unavailable"
			}
		}
		if failed := errs[i] != nil; failed != rd.failed[c.Name] {
			rd.failed[c.Name] = failed
			rd.log.Warn("readiness changed", "check", c.Name, "ok", !failed, "err", errs[i])
		}
	}
	rd.at, rd.status, rd.report = time.Now(), status, report{text, results}
	return rd.status, rd.report
}

// run gives up on a check that does not heed its context; it may end when it
// likes.
func (c Check) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that left is no error of ours
}
