package ingest

import (
	"errors"
	"net/http"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Retry-After of a 503: a queue empties in no time, Postgres takes longer.
const (
	retryQueue    = time.Second
	retryPostgres = 5 * time.Second
)

// verdict is what became of a call.
type verdict struct {
	result   store.AcceptResult // if problem is ""
	problem  problem.Slug
	reason   reason // "" means the problem's slug
	errors   []problem.Field
	retry    time.Duration
	endpoint *endpoint // the webhook, if known
	signed   bool      // the caller proved who it is
	recorded bool      // the ledger has the call in the webhook's history, or cannot
}

// failed is the verdict on a call that was judged good and could not be kept.
func failed(err error) verdict {
	switch {
	case errors.Is(err, errFull):
		return verdict{problem: problem.Overloaded, retry: retryQueue}
	case unavailable(err):
		return verdict{problem: problem.Unavailable, retry: retryPostgres}
	}
	return verdict{problem: problem.Internal}
}

// lingering is how long what is left of an unwanted body is thrown away before
// the connection is closed; closed at once, it would be reset, and the sender
// might never read why.
const lingering = 500 * time.Millisecond

// hangUp makes the answer the connection's last. net/http would otherwise wait
// for the rest of the body as long as for one that is wanted.
func hangUp(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	// Where there is no connection there is nothing to wait for.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingering))
}

var contentTypeJSON = []string{"application/json"}

// accept answers 202. It is called after the commit, never before.
func (in *Ingest) accept(w http.ResponseWriter, c *call, res store.AcceptResult, received time.Time) {
	b := append(c.scratch.prefix[:0], `{"trigger_id":"`...)
	b = append(b, res.TriggerID.String()...)
	if res.Status == store.Duplicate {
		b = append(b, `","duplicate":true}`...)
		in.metrics.duplicate.Inc()
	} else {
		b = append(b, `","duplicate":false}`...)
		in.metrics.accepted.Inc()
	}
	c.scratch.prefix = b
	w.Header()["Content-Type"] = contentTypeJSON
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(b) // the call is kept; a caller that left sends it again
	in.metrics.seconds.Observe(time.Since(received).Seconds())
}

func (in *Ingest) refuse(w http.ResponseWriter, r *http.Request, v verdict) {
	outcome := string(v.reason)
	if outcome == "" {
		outcome = string(v.problem)
	}
	in.metrics.calls.WithLabelValues(outcome).Inc()
	problem.Write(w, r, problem.New(v.problem).WithErrors(v.errors...).WithRetryAfter(v.retry))
}

// record puts a refused call into the webhook's history.
func (in *Ingest) record(r *http.Request, c *call, v *verdict, received time.Time) {
	row := store.RefusedCall{
		Tenant: v.endpoint.Tenant, WebhookID: v.endpoint.ID,
		ResponseStatus: problem.New(v.problem).Status, Problem: string(v.reason), Received: received,
	}
	if row.Problem == "" {
		row.Problem = string(v.problem)
	}
	if id := first(r.Header[headerID]); isID(id) {
		row.EventID = id
	}
	if v.signed {
		in.refusals.add(row, c.body)
	} else {
		in.refusals.add(row, nil)
	}
}
