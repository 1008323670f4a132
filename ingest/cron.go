package ingest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Sweeps is the part of the ledger that gives completed visits another look.
type Sweeps interface {
	Tenants(ctx context.Context) ([]store.TenantRow, error)
	SweepVisits(ctx context.Context, id tenant.ID, days int) (opened int, err error)
}

// cronPatience is how long a call may take; what was opened until then stays,
// and the next call goes on.
const cronPatience = 60 * time.Second

// Cron is the door of cron services elsewhere: a call runs the daily sweep now.
type Cron struct {
	Ledger Sweeps
	Edge   *edge.Edge
	// Secret lets a call in; "" lets nobody in.
	Secret string
	// InQuery takes the secret as ?key= too, for services that can send nothing
	// else.
	InQuery bool
	Days    int
	// Hint wakes release.
	Hint   func()
	Logger *slog.Logger

	busy atomic.Bool
}

// Register adds the door to mux.
func (c *Cron) Register(mux *http.ServeMux) {
	mux.Handle("GET /api/cron/trigger", c)
	mux.Handle("POST /api/cron/trigger", c)
}

// cronAnswer keeps the names of the product before.
type cronAnswer struct {
	Success bool `json:"success"`
	Clinics int  `json:"clinics"`
	// Opened visits had no run of a workflow in force: they are planned now.
	Opened int `json:"opened"`
	Days   int `json:"days"`
}

// ServeHTTP runs the sweep. Two at a time would do the same work twice: the
// second is told to come again.
func (c *Cron) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.admits(r) {
		if wait := c.Edge.Strange(r); wait > 0 {
			problem.Write(w, r, problem.New(problem.RateLimited).WithRetryAfter(wait))
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="cron"`)
		problem.Write(w, r, problem.New(problem.Unauthorized).WithDetail("Send Authorization: Bearer with the value of CRON_SECRET."))
		return
	}
	if !c.busy.CompareAndSwap(false, true) {
		problem.Write(w, r, problem.New(problem.Conflict).WithDetail("A sweep is running. Nothing has to be done: it does what this call would.").WithRetryAfter(cronPatience))
		return
	}
	defer c.busy.Store(false)
	ctx, cancel := context.WithTimeout(r.Context(), cronPatience)
	defer cancel()
	out, err := c.sweep(ctx)
	switch {
	case errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil:
		c.Logger.Warn("a sweep was not finished; the next goes on", "opened", out.Opened, "err", err)
		problem.Write(w, r, problem.New(problem.Unavailable).WithRetryAfter(10*time.Second))
		return
	case err != nil:
		c.Logger.Error("sweep", "err", err)
		problem.Write(w, r, problem.New(problem.Internal))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(out) // whoever has gone needs no answer
}

func (c *Cron) sweep(ctx context.Context) (out cronAnswer, err error) {
	out.Days = c.Days
	clinics, err := c.Ledger.Tenants(ctx)
	if err != nil {
		return out, err
	}
	for _, t := range clinics {
		opened, err := c.Ledger.SweepVisits(ctx, t.ID, c.Days)
		if out.Opened += opened; err != nil {
			return out, err
		}
		if out.Clinics++; opened > 0 {
			c.Hint()
		}
	}
	out.Success = true
	return out, nil
}

// admits compares in a time that does not depend on what was sent.
func (c *Cron) admits(r *http.Request) bool {
	given := ""
	if list := r.Header.Values("Authorization"); len(list) == 1 {
		if scheme, value, ok := strings.Cut(list[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
			given = value
		}
	} else if keys := r.URL.Query()["key"]; len(list) == 0 && len(keys) == 1 && c.InQuery {
		given = keys[0]
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(c.Secret))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && c.Secret != ""
}
