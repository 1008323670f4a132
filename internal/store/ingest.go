package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

const lookupWebhook = `SELECT tenant_id FROM lookup_webhook($1)`

const selectWebhook = `
SELECT workflow_id, enabled, secret, previous_secret, previous_expires_at, legacy_signature,
       event_id_pointer, patient_pointer, type_pointer, create_patients, rate_per_minute
FROM   webhooks
WHERE  tenant_id = $1 AND id = $2`

// Webhook returns an endpoint with its secrets opened, [ErrNotFound] when
// there is none, or [ErrUnavailable].
func (db *DB) Webhook(ctx context.Context, id uuid.UUID) (Webhook, error) {
	w := Webhook{ID: id}
	if err := db.api.QueryRow(ctx, lookupWebhook, id).Scan(&w.Tenant); err != nil {
		return Webhook{}, unavailable(notFound(err))
	}
	err := db.inTenant(ctx, w.Tenant, func(tx pgx.Tx) error {
		key, err := db.tenantKey(ctx, tx, w.Tenant)
		if err != nil {
			return err
		}
		var workflow *uuid.UUID
		var secret, previous []byte
		var until *time.Time
		err = tx.QueryRow(ctx, selectWebhook, w.Tenant, id).Scan(&workflow, &w.Enabled, &secret, &previous, &until,
			&w.LegacySignature, &w.EventIDPointer, &w.PatientPointer, &w.TypePointer, &w.CreatePatients, &w.RatePerMinute)
		if err != nil {
			return notFound(err)
		}
		if workflow != nil {
			w.WorkflowID = *workflow
		}
		return w.openSecrets(key, secret, previous, until)
	})
	if err != nil {
		return Webhook{}, fmt.Errorf("store: webhook: %w", err)
	}
	return w, nil
}

func (w *Webhook) openSecrets(key *seal.TenantKeys, secret, previous []byte, until *time.Time) error {
	plain, err := key.Open(secret, column(w.Tenant, "webhooks", "secret", w.ID))
	if err != nil {
		return err
	}
	w.Secrets = [][]byte{plain}
	if previous == nil || until == nil {
		return nil
	}
	if plain, err = key.Open(previous, column(w.Tenant, "webhooks", "previous_secret", w.ID)); err != nil {
		return err
	}
	w.Secrets, w.PreviousExpires = append(w.Secrets, plain), *until
	return nil
}

const insertTriggers = `
INSERT INTO triggers (tenant_id, id, kind, source, event_id, event_type, body_hash, webhook_id, payload, payload_key, wake_at, received_at)
SELECT $1, n.id, n.kind, n.source, n.event_id, n.event_type, n.body_hash, n.webhook_id, n.payload, n.payload_key, (SELECT app_now()) + $2::interval, (SELECT app_now())
FROM   unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::uuid[], $10::bytea[], $11::bytea[])
       AS n (id, kind, source, event_id, event_type, body_hash, webhook_id, payload, payload_key)
ON CONFLICT (tenant_id, source, event_id) WHERE source IS NOT NULL DO NOTHING
RETURNING id`

// The limit, of a unique key, keeps the planner from reading every trigger of
// the tenant.
const selectKnownTriggers = `
SELECT t.id, t.source, t.event_id, t.body_hash
FROM   unnest($2::text[], $3::text[]) AS n (source, event_id)
CROSS  JOIN LATERAL (
  SELECT i.* FROM triggers i WHERE i.tenant_id = $1 AND i.source = n.source AND i.event_id = n.event_id LIMIT 1) t`

// A caller without event ids is de-duplicated by body for 24 hours. The lock
// makes two equal bodies in two transactions take turns.
const lockBody = `SELECT pg_advisory_xact_lock(hashtextextended($1::text || encode($2::bytea, 'hex'), 0))`

const selectRecentBody = `
SELECT event_id
FROM   triggers
WHERE  tenant_id = $1 AND source = $2 AND event_id >= $3 AND event_id < $4 AND received_at > (SELECT app_now()) - interval '24 hours'
ORDER  BY received_at DESC
LIMIT  1`

const insertWebhookExecutions = `
INSERT INTO webhook_executions (tenant_id, id, webhook_id, trigger_id, event_id, status, response_status, response, payload, payload_key, execution_time_ms, created_at)
SELECT $1, n.id, n.webhook_id, n.trigger_id, n.event_id, n.status, n.response_status, n.response::jsonb, n.payload, n.payload_key, n.ms, (SELECT app_now())
FROM   unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::int[], $8::text[], $9::bytea[], $10::bytea[], $11::int[])
       AS n (id, webhook_id, trigger_id, event_id, status, response_status, response, payload, payload_key, ms)`

// The rows of calls whose trigger was stored by the statement before.
const insertAcceptedExecutions = insertWebhookExecutions + `
WHERE  EXISTS (SELECT FROM triggers t WHERE t.tenant_id = $1 AND t.id = n.trigger_id)`

// accepting is one tenant's share of a group of calls.
type accepting struct {
	tenant tenant.ID
	calls  []int // indexes into the group
	fresh  []int // the first call of each (source, event id)
	key    *seal.TenantKeys
}

type eventKey struct {
	tenant        tenant.ID
	source, event string
}

// AcceptTriggers commits every call in one transaction, or none, and answers
// in order. Calls of several tenants may be mixed; each tenant is entered once.
// An error wrapping [ErrUnavailable] leaves the outcome unknown to us: the
// caller's repetition of the same event is answered as a duplicate.
func (db *DB) AcceptTriggers(ctx context.Context, calls []Accept) ([]AcceptResult, error) {
	db.handle(len(calls))
	out := make([]AcceptResult, len(calls))
	err := db.again(func() error {
		return pgx.BeginFunc(ctx, db.api, func(tx pgx.Tx) error {
			clear(out)
			// The ids that bodies stand in for are this try's own.
			calls := slices.Clone(calls)
			for _, a := range byTenant(calls) {
				var err error
				if a.key, err = db.enter(ctx, tx, a.tenant); err != nil {
					return err
				}
				if err := db.acceptOf(ctx, tx, a, calls, out); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("store: accept triggers: %w", unavailable(err))
	}
	return out, nil
}

// byTenant groups the calls, tenants in a fixed order so that two groups
// cannot wait for each other.
func byTenant(calls []Accept) []*accepting {
	index := map[tenant.ID]*accepting{}
	var all []*accepting
	for i, c := range calls {
		a := index[c.Tenant]
		if a == nil {
			a = &accepting{tenant: c.Tenant}
			index[c.Tenant], all = a, append(all, a)
		}
		a.calls = append(a.calls, i)
	}
	slices.SortFunc(all, func(a, b *accepting) int { return slices.Compare(a.tenant[:], b.tenant[:]) })
	return all
}

func (db *DB) acceptOf(ctx context.Context, tx pgx.Tx, a *accepting, calls []Accept, out []AcceptResult) error {
	hashes := make(map[int]bodyHash, len(a.calls))
	for _, i := range a.calls {
		hashes[i] = blinds(a.key, indexBody, string(calls[i].Body))
	}
	if err := nameByBody(ctx, tx, a, calls, hashes); err != nil {
		return err
	}

	first := map[eventKey]int{}
	rows := newTriggerRows(len(a.calls))
	for _, i := range a.calls {
		c := &calls[i]
		k := eventKey{a.tenant, c.Source, c.EventID}
		if _, again := first[k]; again {
			continue
		}
		first[k] = i
		a.fresh = append(a.fresh, i)
		out[i] = AcceptResult{TriggerID: uuid.Must(uuid.NewV7()), Status: Accepted}
	}
	// In one order for everybody, so that two groups with the same events wait
	// for each other and not in a circle.
	slices.SortFunc(a.fresh, func(i, j int) int {
		return cmp.Or(strings.Compare(calls[i].Source, calls[j].Source), strings.Compare(calls[i].EventID, calls[j].EventID))
	})
	for _, i := range a.fresh {
		rows.add(a, &calls[i], out[i].TriggerID, hashes[i].written())
	}
	var stored map[uuid.UUID]bool
	var batch pgx.Batch
	batch.Queue(insertTriggers, append([]any{a.tenant, firstLook}, rows.args()...)...).Query(func(rows pgx.Rows) (err error) {
		stored, err = collectIDs(rows, nil)
		return err
	})
	if log := logRows(a.fresh, calls, out); len(log.ids) > 0 {
		batch.Queue(insertAcceptedExecutions, log.args(a.tenant)...)
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	if len(stored) == len(a.calls) {
		return nil
	}
	if len(stored) < len(a.fresh) {
		if err := known(ctx, tx, a, calls, hashes, stored, out); err != nil {
			return err
		}
	}
	for _, i := range a.calls {
		f := first[eventKey{a.tenant, calls[i].Source, calls[i].EventID}]
		if f == i {
			continue
		}
		out[i] = AcceptResult{TriggerID: out[f].TriggerID, Status: Duplicate}
		if out[f].Status == Conflict || !hashes[i].is(hashes[f].written()) {
			out[i].Status = Conflict
		}
	}
	rest := slices.DeleteFunc(slices.Clone(a.calls), func(i int) bool { return stored[out[i].TriggerID] && out[i].Status == Accepted })
	log := logRows(rest, calls, out)
	return log.insert(ctx, tx, a.tenant)
}

// firstLook is when release looks at a trigger that ingest publishes at once.
const firstLook = 5 * time.Second

// nameByBody gives calls without an event id one made of their body's hash.
func nameByBody(ctx context.Context, tx pgx.Tx, a *accepting, calls []Accept, hashes map[int]bodyHash) error {
	var nameless []int
	for _, i := range a.calls {
		if calls[i].EventID == "" {
			nameless = append(nameless, i)
		}
	}
	slices.SortFunc(nameless, func(i, j int) int { return slices.Compare(hashes[i].sorted()[0], hashes[j].sorted()[0]) })
	for _, i := range nameless {
		c := &calls[i]
		for _, hash := range hashes[i].sorted() {
			if _, err := tx.Exec(ctx, lockBody, c.Source, hash); err != nil {
				return err
			}
		}
		for _, hash := range hashes[i] {
			prefix := bodyEvent(hash)
			err := tx.QueryRow(ctx, selectRecentBody, a.tenant, c.Source, prefix, prefix+"~").Scan(&c.EventID)
			if err == nil {
				break
			}
			if !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
		}
		if c.EventID == "" {
			c.EventID = bodyEvent(hashes[i].written()) + c.Received.UTC().Format("20060102T150405")
		}
	}
	return nil
}

// known fills in the calls whose event was there before.
func known(ctx context.Context, tx pgx.Tx, a *accepting, calls []Accept, hashes map[int]bodyHash, stored map[uuid.UUID]bool, out []AcceptResult) error {
	missing := map[eventKey]int{}
	var sources, events []string
	for _, i := range a.fresh {
		if !stored[out[i].TriggerID] {
			missing[eventKey{a.tenant, calls[i].Source, calls[i].EventID}] = i
			sources, events = append(sources, calls[i].Source), append(events, calls[i].EventID)
		}
	}
	rows, err := tx.Query(ctx, selectKnownTriggers, a.tenant, sources, events)
	if err != nil {
		return err
	}
	var id uuid.UUID
	var source, event string
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &source, &event, &hash}, func() error {
		k := eventKey{a.tenant, source, event}
		i := missing[k]
		delete(missing, k)
		out[i] = AcceptResult{TriggerID: id, Status: Duplicate}
		if !hashes[i].is(hash) {
			out[i].Status = Conflict
		}
		return nil
	})
	if err == nil && len(missing) > 0 {
		return fmt.Errorf("%w: a concurrent insert was rolled back", ErrUnavailable)
	}
	return err
}

type triggerRows struct {
	ids, webhooks                 []uuid.UUID
	kinds, sources, events, types []string
	hashes, payloads, wrapped     [][]byte
}

func newTriggerRows(n int) *triggerRows {
	return &triggerRows{ids: make([]uuid.UUID, 0, n), payloads: make([][]byte, 0, n), wrapped: make([][]byte, 0, n)}
}

func (r *triggerRows) add(a *accepting, c *Accept, id uuid.UUID, hash []byte) {
	own := seal.NewKey()
	r.ids, r.webhooks = append(r.ids, id), append(r.webhooks, c.WebhookID)
	r.kinds, r.sources = append(r.kinds, string(c.Kind)), append(r.sources, c.Source)
	r.events, r.types = append(r.events, c.EventID), append(r.types, c.EventType)
	r.hashes = append(r.hashes, hash)
	r.payloads = append(r.payloads, own.Seal(c.Body, column(a.tenant, "triggers", "payload", id)))
	r.wrapped = append(r.wrapped, a.key.Wrap(own, payloadKeyAAD(a.tenant, "triggers", id)))
}

func (r *triggerRows) args() []any {
	return []any{r.ids, r.kinds, r.sources, r.events, r.types, r.hashes, nullIDs(r.webhooks), r.payloads, r.wrapped}
}

// logRows are the rows of these calls in their webhook's history.
func logRows(which []int, calls []Accept, out []AcceptResult) (l callRows) {
	for _, i := range which {
		c := &calls[i]
		if c.Kind != event.Webhook {
			continue
		}
		status, response := 202, ""
		switch out[i].Status {
		case Conflict:
			status, response = 409, `{"problem":"idempotency-conflict"}`
		case Duplicate:
			response = `{"trigger_id":"` + out[i].TriggerID.String() + `","duplicate":true}`
		default:
			response = `{"trigger_id":"` + out[i].TriggerID.String() + `","duplicate":false}`
		}
		l.add(c.WebhookID, out[i].TriggerID, c.EventID, string(out[i].Status), status, response, nil, nil, c.Received)
	}
	return l
}

// RecordRefused keeps refused calls as webhook_executions rows; a body is
// sealed under a key of its own.
func (db *DB) RecordRefused(ctx context.Context, calls []RefusedCall) error {
	groups := map[tenant.ID][]RefusedCall{}
	for _, c := range calls {
		groups[c.Tenant] = append(groups[c.Tenant], c)
	}
	for id, group := range groups {
		err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
			key, err := db.tenantKey(ctx, tx, id)
			if err != nil {
				return err
			}
			var l callRows
			for _, c := range group {
				response, err := json.Marshal(map[string]string{"problem": c.Problem})
				if err != nil {
					return err
				}
				row := l.add(c.WebhookID, uuid.Nil, c.EventID, string(Refused), c.ResponseStatus, string(response), nil, nil, c.Received)
				if c.Body != nil {
					own := seal.NewKey()
					l.payloads[len(l.payloads)-1] = own.Seal(c.Body, column(id, "webhook_executions", "payload", row))
					l.wrapped[len(l.wrapped)-1] = key.Wrap(own, payloadKeyAAD(id, "webhook_executions", row))
				}
			}
			return l.insert(ctx, tx, id)
		})
		if err != nil {
			return fmt.Errorf("store: record refused calls: %w", err)
		}
	}
	return nil
}

type callRows struct {
	ids, webhooks, triggers     []uuid.UUID
	events, statuses, responses []string
	codes, ms                   []int32
	payloads, wrapped           [][]byte
}

func (l *callRows) add(webhook, trigger uuid.UUID, eventID, status string, code int, response string, payload, wrapped []byte, received time.Time) uuid.UUID {
	id := uuid.Must(uuid.NewV7())
	l.ids, l.webhooks, l.triggers = append(l.ids, id), append(l.webhooks, webhook), append(l.triggers, trigger)
	l.events, l.statuses, l.responses = append(l.events, eventID), append(l.statuses, status), append(l.responses, response)
	l.codes, l.ms = append(l.codes, int32(code)), append(l.ms, int32(time.Since(received).Milliseconds()))
	l.payloads, l.wrapped = append(l.payloads, payload), append(l.wrapped, wrapped)
	return id
}

func (l *callRows) insert(ctx context.Context, tx pgx.Tx, id tenant.ID) error {
	if len(l.ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, insertWebhookExecutions, l.args(id)...)
	return err
}

func (l *callRows) args(id tenant.ID) []any {
	return []any{id, l.ids, l.webhooks, nullIDs(l.triggers), l.events, l.statuses, l.codes, l.responses, l.payloads, l.wrapped, l.ms}
}
