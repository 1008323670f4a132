package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// State is a step's state, as steps.state has it.
type State string

// The states of a step.
const (
	StatePlanned   State = "planned"
	StateClaimed   State = "claimed"
	StateUnknown   State = "unknown"
	StateSent      State = "sent"
	StateDelivered State = "delivered"
	StateFailed    State = "failed"
	StateParked    State = "parked"
	StateCancelled State = "cancelled"
	StateSkipped   State = "skipped"
	StateExpired   State = "expired"
)

// StepNow is a step as it stands under the lock of a settling transaction.
type StepNow struct {
	Tenant      tenant.ID
	ID          uuid.UUID
	Run         uuid.UUID
	Patient     uuid.UUID
	Root        uuid.UUID
	Node        string
	Lane        event.Lane
	Channel     event.Channel
	State       State
	Reason      event.Reason
	Fallback    bool
	Attempt     int32
	PlanEpoch   int32
	RunEpoch    int32
	FirstIntent time.Time
	ClaimedAt   time.Time
	Expires     time.Time
	Now         time.Time
	// RequestID is the request that the latest evidence spoke of, "" if none.
	RequestID string
}

// Transition is what one delivery event changes. The zero value changes
// nothing.
type Transition struct {
	State  State // "" leaves the step where it is
	Reason event.Reason
	// Wake and Queue say who looks again and when; zero: nobody.
	Wake  time.Time
	Queue string
	// NewCycle forgets the first intent: nothing of it is at the gateway.
	NewCycle bool
	// Finish writes the outcome into the attempt's row.
	Finish bool
	// Fallback adds the SMS step.
	Fallback bool
	// Anomaly keeps a contradiction for a human; its kind.
	Anomaly string
}

const lockRunsOfSteps = `
SELECT e.tenant_id, e.id
FROM   workflow_executions e
WHERE  (e.tenant_id, e.id) IN (
         SELECT s.tenant_id, s.execution_id FROM unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
         JOIN steps s ON s.tenant_id = n.tenant_id AND s.id = n.id)
ORDER  BY e.id
FOR    NO KEY UPDATE`

const selectStepsNow = `
SELECT s.tenant_id, s.id, s.execution_id, e.patient_id, s.root_id, s.node, s.lane, s.channel, s.state, coalesce(s.reason, ''), s.fallback,
       s.attempt, s.plan_epoch, e.plan_epoch, s.first_intent_at, s.claimed_at, s.expires_at, (SELECT app_now()), coalesce(s.request_id, ''), e.resting > 0
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
JOIN   steps s ON s.tenant_id = n.tenant_id AND s.id = n.id
JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
ORDER  BY s.id
FOR    UPDATE OF s`

// What is accepted keeps the end of its publication's lease, when release hands
// it to the resolver: most are reported before that, and while wake_at stays,
// no index has to learn of the change.
const moveSteps = `
UPDATE steps s
SET    state = n.state, reason = n.reason,
       wake_at = CASE WHEN (n.state = 'sent' AND s.published AND s.wake_at IS NOT NULL AND s.queue <> 'resolve') THEN s.wake_at ELSE n.wake_at END,
       queue = CASE WHEN (n.state = 'sent' AND s.published AND s.wake_at IS NOT NULL AND s.queue <> 'resolve') THEN s.queue ELSE n.queue END,
       published = (n.state = 'sent' AND s.published AND s.wake_at IS NOT NULL AND s.queue <> 'resolve'),
       first_intent_at = CASE WHEN n.new_cycle THEN NULL ELSE s.first_intent_at END,
       sent_at = coalesce(s.sent_at, n.sent_at), delivered_at = coalesce(n.delivered_at, s.delivered_at),
       request_id = coalesce(n.request_id, s.request_id), request_seq = coalesce(n.request_seq, s.request_seq),
       code = coalesce(n.code, s.code), updated_at = (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::bool[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::int[], $12::text[])
       AS n (tenant_id, id, state, reason, wake_at, queue, new_cycle, sent_at, delivered_at, request_id, request_seq, code)
WHERE  s.tenant_id = n.tenant_id AND s.id = n.id`

const finishAttempts = `
UPDATE attempts a
SET    outcome = n.outcome, code = n.code, source = n.source, request_id = n.request_id, request_seq = n.request_seq, finished_at = n.at
FROM   unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::timestamptz[])
       AS n (tenant_id, step_id, attempt, outcome, code, source, request_id, request_seq, at)
WHERE  a.tenant_id = n.tenant_id AND a.step_id = n.step_id AND a.attempt = n.attempt`

// A step that ended before anything was claimed is shown in the log by a row
// of its own, numbered 0.
const logUntried = `
INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at, outcome, code, source, finished_at, logged)
SELECT n.tenant_id, n.id, 0, s.channel, s.plan_epoch, (SELECT app_now()), n.outcome, n.code, n.source, n.at, true
FROM   unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) AS n (tenant_id, id, outcome, code, source, at)
JOIN   steps s ON s.tenant_id = n.tenant_id AND s.id = n.id
ON     CONFLICT DO NOTHING`

const insertFallbacks = `
INSERT INTO steps (tenant_id, id, execution_id, node, root_id, parent_id, channel, lane, queue, state, reason, due_at, expires_at, wake_at, plan_epoch, created_at, updated_at)
SELECT n.tenant_id, n.id, n.execution_id, n.node, n.root_id, n.parent_id, 'sms', n.lane, n.lane, n.state, n.reason, (SELECT app_now()), n.expires_at,
       CASE WHEN n.state = 'planned' THEN (SELECT app_now()) END, n.plan_epoch, (SELECT app_now()), (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::int[])
       AS n (tenant_id, id, execution_id, node, root_id, parent_id, lane, state, reason, expires_at, plan_epoch)`

const expectFallbacks = `
UPDATE workflow_executions e
SET    expected_steps = e.expected_steps + n.more
FROM  (SELECT tenant_id, id, count(*)::int AS more FROM unnest($1::uuid[], $2::uuid[]) AS r (tenant_id, id) GROUP BY 1, 2) n
WHERE  e.tenant_id = n.tenant_id AND e.id = n.id`

const insertAnomalies = `
INSERT INTO anomalies (tenant_id, id, step_id, kind, detail)
SELECT n.tenant_id, n.id, n.step_id, n.kind, n.detail::jsonb
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[]) AS n (tenant_id, id, step_id, kind, detail)`

// reopenRuns takes back the end of runs in which a step moves on after all, or
// a fallback begins; settleRuns ends them again if nothing is open.
const reopenRuns = `
UPDATE workflow_executions e SET status = 'running', completed_at = NULL
WHERE  (e.tenant_id, e.id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) AND e.status IN ('completed', 'failed')`

type settling struct {
	StepNow
	moved     bool
	reason    event.Reason
	wake      time.Time
	queue     string
	newCycle  bool
	evidence  event.Delivery // the event that moved it last
	sent      time.Time
	delivered time.Time
	reopened  bool // it had ended, and so may have its run
	resting   bool // its run may wait for what became of it
	untried   bool // nothing was claimed, so that it may have no log row yet
}

// SettleDeliveries applies delivery events in order and in one transaction:
// apply says what each changes; steps, attempts, logs, fallbacks, anomalies
// and runs follow. Events of steps that do not exist are dropped. It reports
// whether a fallback waits to be released. apply must be pure.
func (db *DB) SettleDeliveries(ctx context.Context, events []event.Delivery, apply func(StepNow, event.Delivery) Transition) (fallbacks bool, err error) {
	db.handle(len(events))
	err = db.asPipeline(ctx, func(tx *pipeline) error {
		steps, err := lockSteps(ctx, tx, events)
		if err != nil {
			return err
		}
		var w settleRows
		for _, e := range events {
			if s := steps[e.Step]; s != nil && s.Tenant == e.Tenant {
				s.apply(e, apply(s.StepNow, e), &w)
			}
		}
		fallbacks = len(w.fallback.ids) > 0
		return w.write(ctx, tx, steps)
	})
	if err != nil {
		return false, fmt.Errorf("store: settle deliveries: %w", err)
	}
	return fallbacks, nil
}

// lockSteps takes the runs first where one may end, begin again or get a
// fallback: whoever ends a run counts its steps, and must see these.
func lockSteps(ctx context.Context, tx querier, events []event.Delivery) (map[uuid.UUID]*settling, error) {
	var all, runs runSet
	for _, e := range events {
		all.add(e.Tenant, e.Step)
		if e.Status.Terminal() || e.Reason == event.ReportTimeout {
			runs.add(e.Tenant, e.Step)
		}
	}
	steps, err := readSteps(ctx, tx, all, runs)
	if err != nil {
		return nil, err
	}
	// Evidence about a step that was given up opens its run again. Runs come
	// before steps everywhere; that the steps are held already can only make
	// Postgres break a deadlock, after which this runs once more.
	runs = runSet{}
	for _, e := range events {
		if s := steps[e.Step]; s != nil && s.ended() && !e.Status.Terminal() && e.Reason != event.ReportTimeout {
			runs.add(e.Tenant, e.Step)
		}
	}
	if len(runs.ids) > 0 {
		_, err = tx.Exec(ctx, lockRunsOfSteps, runs.tenants, runs.ids)
	}
	return steps, err
}

// ended reports whether the step counts as closed in its run although it may
// move on.
func (s *settling) ended() bool {
	return s.State == StateParked || s.State == StateSent && s.Reason != ""
}

func readSteps(ctx context.Context, tx querier, all, runs runSet) (map[uuid.UUID]*settling, error) {
	var batch pgx.Batch
	if len(runs.ids) > 0 {
		batch.Queue(lockRunsOfSteps, runs.tenants, runs.ids)
	}
	steps := map[uuid.UUID]*settling{}
	batch.Queue(selectStepsNow, all.tenants, all.ids).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*settling, error) {
			s := new(settling)
			var intent, claimed *time.Time
			err := row.Scan(&s.Tenant, &s.ID, &s.Run, &s.Patient, &s.Root, &s.Node, &s.Lane, &s.Channel, &s.State, &s.Reason, &s.Fallback,
				&s.Attempt, &s.PlanEpoch, &s.RunEpoch, &intent, &claimed, &s.Expires, &s.Now, &s.RequestID, &s.resting)
			if intent != nil {
				s.FirstIntent = *intent
			}
			if claimed != nil {
				s.ClaimedAt = *claimed
			}
			return s, err
		})
		for _, s := range list {
			steps[s.ID] = s
		}
		return err
	})
	err := tx.SendBatch(ctx, &batch).Close()
	return steps, err
}

func (s *settling) apply(e event.Delivery, t Transition, w *settleRows) {
	if t.Finish {
		w.attempt(e)
	}
	if t.Anomaly != "" {
		w.anomaly(s, e, t.Anomaly)
	}
	if t.State == "" {
		return
	}
	switch t.State {
	case StateSent, StateDelivered, StateFailed, StateParked:
		s.untried = s.State == StatePlanned && s.Attempt == 0
	}
	if s.ended() || t.Fallback {
		s.reopened = true
	}
	s.moved, s.State, s.Reason = true, t.State, t.Reason
	if e.RequestID != "" {
		s.RequestID = e.RequestID
	}
	s.reason, s.wake, s.queue, s.evidence = t.Reason, t.Wake, t.Queue, e
	if t.NewCycle {
		s.newCycle, s.FirstIntent = true, time.Time{}
	}
	switch t.State {
	case StateSent:
		s.sent = e.At
	case StateDelivered:
		s.delivered = e.At
	}
	if t.Fallback {
		w.fallback.add(s)
	}
}

// settleRows collects the writes of one settling transaction.
type settleRows struct {
	attempts struct {
		tenants                  []tenant.ID
		steps                    []uuid.UUID
		attempts, seqs           []int32
		outcomes, codes, sources []string
		requests                 []*string
		ats                      []time.Time
	}
	anomalies struct {
		tenants       []tenant.ID
		ids, steps    []uuid.UUID
		kinds, detail []string
	}
	fallback fallbackRows
}

// attempt keeps an attempt's outcome. Of several in one batch the last counts;
// an UPDATE that finds a row twice takes either.
func (w *settleRows) attempt(e event.Delivery) {
	a := &w.attempts
	for i, step := range a.steps {
		if step == e.Step && a.attempts[i] == e.Attempt {
			a.outcomes[i], a.codes[i], a.sources[i] = string(e.Status), e.Code, string(e.Source)
			a.requests[i], a.seqs[i], a.ats[i] = nullText(e.RequestID), int32(e.Seq), e.At
			return
		}
	}
	a.tenants, a.steps, a.attempts = append(a.tenants, e.Tenant), append(a.steps, e.Step), append(a.attempts, e.Attempt)
	a.outcomes, a.codes, a.sources = append(a.outcomes, string(e.Status)), append(a.codes, e.Code), append(a.sources, string(e.Source))
	a.requests, a.seqs, a.ats = append(a.requests, nullText(e.RequestID)), append(a.seqs, int32(e.Seq)), append(a.ats, e.At)
}

func (w *settleRows) anomaly(s *settling, e event.Delivery, kind string) {
	// Ids and codes only, so that the error cannot happen.
	detail, _ := json.Marshal(map[string]any{"state": s.State, "event": e})
	a := &w.anomalies
	a.tenants, a.ids, a.steps = append(a.tenants, s.Tenant), append(a.ids, uuid.Must(uuid.NewV7())), append(a.steps, s.ID)
	a.kinds, a.detail = append(a.kinds, kind), append(a.detail, string(detail))
}

type fallbackRows struct {
	tenants                  []tenant.ID
	ids, runs, roots, parent []uuid.UUID
	nodes, lanes, states     []string
	reasons                  []*string
	expires                  []time.Time
	epochs                   []int32
}

// add writes the SMS that follows a proven failure; one of a superseded plan
// is born cancelled, so that it is accounted for and never sent.
func (r *fallbackRows) add(s *settling) {
	state, reason := StatePlanned, event.Reason("")
	if s.PlanEpoch != s.RunEpoch {
		state, reason = StateCancelled, event.Superseded
	}
	r.tenants, r.ids, r.runs = append(r.tenants, s.Tenant), append(r.ids, uuid.Must(uuid.NewV7())), append(r.runs, s.Run)
	r.roots, r.parent = append(r.roots, s.Root), append(r.parent, s.ID)
	r.nodes, r.lanes = append(r.nodes, s.Node), append(r.lanes, string(s.Lane))
	r.states, r.reasons = append(r.states, string(state)), append(r.reasons, nullText(reason))
	r.expires, r.epochs = append(r.expires, s.Expires), append(r.epochs, s.PlanEpoch)
}

func (w *settleRows) write(ctx context.Context, tx *pipeline, steps map[uuid.UUID]*settling) error {
	var batch pgx.Batch
	ended := queueMoves(&batch, steps)
	var reopened runSet
	for _, s := range steps {
		if s.reopened {
			reopened.add(s.Tenant, s.Run)
			ended.add(s.Tenant, s.Run)
		}
	}
	if len(reopened.ids) > 0 {
		batch.Queue(reopenRuns, reopened.tenants, reopened.ids)
	}
	if a := &w.attempts; len(a.steps) > 0 {
		batch.Queue(finishAttempts, a.tenants, a.steps, a.attempts, a.outcomes, a.codes, a.sources, a.requests, a.seqs, a.ats)
	}
	if f := &w.fallback; len(f.ids) > 0 {
		batch.Queue(insertFallbacks, f.tenants, f.ids, f.runs, f.nodes, f.roots, f.parent, f.lanes, f.states, f.reasons, f.expires, f.epochs)
		batch.Queue(expectFallbacks, f.tenants, f.runs)
	}
	if a := &w.anomalies; len(a.ids) > 0 {
		batch.Queue(insertAnomalies, a.tenants, a.ids, a.steps, a.kinds, a.detail)
	}
	queueWaits(&batch, steps)
	if len(ended.ids) > 0 {
		batch.Queue(settleRuns, ended.tenants, ended.ids)
	}
	return tx.finish(ctx, &batch)
}

// queueMoves queues the steps' updates and returns the runs in
// which a step ended.
func queueMoves(batch *pgx.Batch, steps map[uuid.UUID]*settling) (ended runSet) {
	var tenants []tenant.ID
	var ids []uuid.UUID
	var states, queues []string
	var reasons, requests, codes []*string
	var wakes, sents, delivereds []*time.Time
	var cycles []bool
	var seqs []*int32
	var untried untriedRows
	for _, s := range steps {
		if !s.moved {
			continue
		}
		tenants, ids, states = append(tenants, s.Tenant), append(ids, s.ID), append(states, string(s.State))
		reasons, wakes, cycles = append(reasons, nullText(s.reason)), append(wakes, nullTime(s.wake)), append(cycles, s.newCycle)
		if s.queue == "" {
			s.queue = string(s.Lane)
		}
		queues, codes = append(queues, s.queue), append(codes, nullText(s.evidence.Code))
		sents, delivereds = append(sents, nullTime(s.sent)), append(delivereds, nullTime(s.delivered))
		request, seq := nullText(s.evidence.RequestID), (*int32)(nil)
		if request != nil {
			seq = new(int32(s.evidence.Seq))
		}
		requests, seqs = append(requests, request), append(seqs, seq)
		if s.untried {
			untried.add(s)
		}
		if event.Status(s.State).Terminal() || s.reason == event.ReportTimeout {
			ended.add(s.Tenant, s.Run)
		}
	}
	if len(ids) > 0 {
		batch.Queue(moveSteps, tenants, ids, states, reasons, wakes, queues, cycles, sents, delivereds, requests, seqs, codes)
	}
	if len(untried.ids) > 0 {
		batch.Queue(logUntried, untried.tenants, untried.ids, untried.outcomes, untried.codes, untried.sources, untried.ats)
	}
	return ended
}

type untriedRows struct {
	tenants           []tenant.ID
	ids               []uuid.UUID
	outcomes, sources []string
	codes             []*string
	ats               []time.Time
}

func (r *untriedRows) add(s *settling) {
	r.tenants, r.ids = append(r.tenants, s.Tenant), append(r.ids, s.ID)
	r.outcomes, r.sources = append(r.outcomes, string(s.evidence.Status)), append(r.sources, string(s.evidence.Source))
	r.codes, r.ats = append(r.codes, nullText(s.evidence.Code)), append(r.ats, s.evidence.At)
}
