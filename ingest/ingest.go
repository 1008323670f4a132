// Package ingest is the door that triggers come in by: it checks a call,
// commits it to the ledger and only then answers. It knows nothing of what a
// trigger starts, and of neither Postgres nor NATS but by its interfaces.
package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/phone"
)

// MaxBody is the largest body of a webhook call, in bytes.
const MaxBody = 64 << 10

// Config bounds what ingest takes. Zero values mean the defaults.
type Config struct {
	// Edge counts the calls that prove nothing, by address; nil does not.
	Edge *edge.Edge
	// Phone widens what a patient's number may be. The zero value is right in
	// production.
	Phone phone.Options
	// TenantPerMinute is how many calls a tenant's webhooks may make together;
	// default 60,000. Each webhook has its own rate besides.
	TenantPerMinute int
	// Committers is how many commits may be in flight at one time; default 2.
	Committers int
	// Batch is how many calls one commit takes at most; default 512.
	Batch int
	// Queue is how many calls may wait for a commit; default 4096. A call
	// beyond it is answered 503 at once.
	Queue int
	// Deadline is how long a call waits for Postgres after its body has
	// arrived, before it is answered 503; default 1.8 s.
	Deadline time.Duration
	// Floor is the least time, from the arrival of the body, until a 401, so
	// that the time does not tell why; default 20 ms.
	Floor time.Duration
}

func (c Config) withDefaults() Config {
	for _, p := range []struct {
		have *int
		def  int
	}{{&c.TenantPerMinute, 60_000}, {&c.Committers, 2}, {&c.Batch, 512}, {&c.Queue, 4096}} {
		if *p.have <= 0 {
			*p.have = p.def
		}
	}
	if c.Deadline <= 0 {
		c.Deadline = 1800 * time.Millisecond
	}
	if c.Floor <= 0 {
		c.Floor = 20 * time.Millisecond
	}
	return c
}

// Ingest takes triggers in. It is safe for concurrent use.
type Ingest struct {
	config    Config
	endpoints *endpoints
	limits    *limits
	floor     *floor
	stranger  []*signer // stands in for the keys of an unknown webhook
	commits   *committer
	published *announcer
	refusals  *refusals
	lookups   *outage
	metrics   *metrics
	calls     sync.Pool // of *call
}

// New returns an Ingest that accepts nothing until [Ingest.Run] is called; its
// metrics are registered with reg.
func New(c Config, endpoints Endpoints, ledger Ledger, publisher Publisher, log *slog.Logger, reg prometheus.Registerer) *Ingest {
	c = c.withDefaults()
	m := newMetrics()
	in := &Ingest{
		config:    c,
		endpoints: newEndpoints(endpoints, c.Deadline),
		limits:    newLimits(c.TenantPerMinute),
		floor:     newFloor(c.Floor, m.floorSkipped),
		stranger:  []*signer{newSigner(NewSecret())},
		lookups:   &outage{log: log, what: "webhook look-up"},
		metrics:   m,
	}
	in.published = newAnnouncer(publisher, c.Deadline, log, m)
	in.commits = newCommitter(c, ledger, in.published.add, log, m)
	in.refusals = newRefusals(ledger, in.endpoints, c.Deadline, log, m)
	in.calls.New = func() any { return newCall() }
	m.register(reg, func() float64 { return float64(len(in.commits.queue.ch)) })
	return in
}

// Yield waits while calls pour in, but not longer than limit. What is to be
// done with accepted triggers can wait; a caller's patience ends, and with it
// the trigger.
func (in *Ingest) Yield(ctx context.Context, limit time.Duration) {
	until := time.Now().Add(limit)
	for {
		now := time.Now()
		flooded := time.Unix(0, in.commits.flooded.Load())
		if !now.Before(until) || !now.Before(flooded) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(until.Sub(now), flooded.Sub(now))):
		}
	}
}

// Register adds the routes to mux. [edge.Server] around them bounds what they
// cannot: the size of headers and the time that headers and bodies may take to
// arrive.
func (in *Ingest) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/webhooks/{id}", in.webhook)
}

// Run commits, publishes and records until ctx is done. It then refuses what
// still comes, commits what is waiting, and returns when all of it has been
// answered, published and recorded, or given up for lack of Postgres or
// JetStream. Call it once, and shut the HTTP server down before ctx is done if
// requests in flight are to be accepted rather than told to come again.
func (in *Ingest) Run(ctx context.Context) error {
	var commits, after sync.WaitGroup
	after.Go(in.published.run)
	after.Go(in.refusals.run)
	for range in.config.Committers {
		commits.Go(in.commits.run)
	}
	<-ctx.Done()
	in.commits.queue.close()
	commits.Wait()
	in.published.queue.close()
	in.refusals.close()
	after.Wait()
	return nil
}
