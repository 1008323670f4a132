package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Bounds of the reception. A clinic's events are taken one after the other, in
// the order in which they came; those of several clinics beside one another.
const (
	// receptionAtOnce is how many clinics' events are committed at a time.
	receptionAtOnce = 8
	// receptionWaiting is how many events of one clinic may wait; more are
	// answered "unavailable".
	receptionWaiting = 256
	// receptionPatience is how long one commit may take.
	receptionPatience = 5 * time.Second
)

// Reception takes what clinics' systems say over NATS, and gives receipts. A
// receipt that says accepted or duplicate follows the commit. Its
// [Reception.Take] is safe for concurrent use.
type Reception struct {
	desk  *intake.Desk
	log   *slog.Logger
	turns chan struct{}
	count *prometheus.CounterVec

	mu      sync.Mutex
	waiting map[tenant.ID][]visit // a key exists while its clinic is served
}

// visit is an event, and how to answer it.
type visit struct {
	stream.Said
	answer stream.Answer
}

// NewReception returns a reception that counts in reg.
func NewReception(desk *intake.Desk, log *slog.Logger, reg prometheus.Registerer) *Reception {
	r := &Reception{
		desk: desk, log: log, turns: make(chan struct{}, receptionAtOnce), waiting: map[tenant.ID][]visit{},
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doctorsflow_ingest_events_total", Help: "Events of clinics' systems over NATS by their receipt's status.",
		}, []string{"status"}),
	}
	reg.MustRegister(r.count)
	return r
}

// Take queues an event and returns at once.
func (r *Reception) Take(said stream.Said, answer stream.Answer) {
	v := visit{said, answer}
	if !r.queue(v) {
		r.unavailable(v, "too-many")
	}
}

// queue reports whether there was room, and sees to it that the clinic is
// served.
func (r *Reception) queue(v visit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting, served := r.waiting[v.Tenant]
	if len(waiting) >= receptionWaiting {
		return false
	}
	r.waiting[v.Tenant] = append(waiting, v)
	if !served {
		go r.serve(v.Tenant)
	}
	return true
}

// serve takes a clinic's events until none waits.
func (r *Reception) serve(id tenant.ID) {
	for {
		r.mu.Lock()
		queue := r.waiting[id]
		if len(queue) == 0 {
			delete(r.waiting, id)
			r.mu.Unlock()
			return
		}
		v := queue[0]
		r.waiting[id] = slices.Delete(queue, 0, 1)
		r.mu.Unlock()
		r.turns <- struct{}{}
		r.receive(v)
		<-r.turns
	}
}

// receive keeps an event and answers.
func (r *Reception) receive(v visit) {
	kind := appointment.Kind(v.Kind)
	if !slices.Contains(appointment.Kinds, kind) {
		r.give(v, intake.Receipt{Status: intake.Rejected, Problems: []intake.Fault{{Pointer: "/type", Code: "not-in-list"}}, InFlight: []uuid.UUID{}})
		return
	}
	// Not the reception's own context: what was begun is answered.
	ctx, cancel := context.WithTimeout(context.Background(), receptionPatience)
	defer cancel()
	out, err := r.desk.ReceiveMessage(ctx, v.Tenant, store.Hand{Actor: "system:nats"}, kind, v.Header, v.Data)
	if err == nil {
		r.give(v, out)
		return
	}
	level := slog.LevelError
	if errors.Is(err, store.ErrUnavailable) {
		level = slog.LevelWarn
	}
	r.log.Log(ctx, level, "an event could not be kept; its sender was told to say it again", "tenant", v.Tenant, "err", err)
	r.unavailable(v, "try-again")
}

// unavailable tells whoever waits to say it again. Whoever does not wait finds
// no receipt, which says as much.
func (r *Reception) unavailable(v visit, code string) {
	out := intake.Receipt{Status: intake.Unavailable, Problems: []intake.Fault{{Code: code}}, InFlight: []uuid.UUID{}}
	if !v.Waits {
		r.count.WithLabelValues(out.Status).Inc()
		v.answer("", nil)
		return
	}
	r.give(v, out)
}

func (r *Reception) give(v visit, out intake.Receipt) {
	r.count.WithLabelValues(out.Status).Inc()
	text, err := json.Marshal(out)
	if err != nil {
		r.log.Error("a receipt could not be written", "tenant", v.Tenant, "err", err)
	}
	v.answer(out.EventID, text)
}
