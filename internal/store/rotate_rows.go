package store

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
)

// Every batch reads without a lock and writes a row only where it still is as
// it was read and nobody holds it: a rotation waits for no row, so that it can
// stand in nobody's way for longer than one of its writes takes.

// rowByRow is for writes of few rows of a table whose statistics may know
// nothing of it yet.
const rowByRow = `SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true)`

// write is the end of a batch.
func (b *moved) write(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	if _, err := tx.Exec(ctx, rowByRow); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, sql, args...)
	b.wrote = int(tag.RowsAffected())
	return err
}

const selectRotatedPatients = `
SELECT id, data_key, phone, phone_index FROM patients
WHERE  tenant_id = $1 AND id > $2 AND data_key IS NOT NULL
ORDER  BY id LIMIT $3`

const rotatePatients = `
WITH held AS (
  SELECT p.id, n.data_key, n.phone_index, n.last4
  FROM   unnest($2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[]) AS n (id, was_key, was_index, data_key, phone_index, last4)
  JOIN   patients p ON p.tenant_id = $1 AND p.id = n.id
  WHERE  p.data_key = n.was_key AND p.phone_index IS NOT DISTINCT FROM n.was_index
  FOR    NO KEY UPDATE OF p SKIP LOCKED
)
UPDATE patients p SET data_key = h.data_key, phone_index = h.phone_index, phone_last4_index = h.last4
FROM   held h WHERE p.tenant_id = $1 AND p.id = h.id`

type rotatedPatient struct {
	ID                uuid.UUID
	Key, Phone, Index []byte
}

func readRotated[T any](ctx context.Context, tx pgx.Tx, sql string, m *mover, after uuid.UUID, id func(T) uuid.UUID) (list []T, b moved, err error) {
	rows, err := tx.Query(ctx, sql, m.id, after, rotationBatch)
	if err != nil {
		return nil, b, err
	}
	list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if len(list) == rotationBatch {
		b.last = id(list[len(list)-1])
	}
	return list, b, err
}

// number opens a patient's number; zero where there is none or it does not
// open.
func (m *mover) number(p rotatedPatient) (n phone.Number) {
	aad := patientKeyAAD(m.id, p.ID)
	key, err := m.is.Unwrap(p.Key, aad)
	if err != nil {
		key, err = m.was.Unwrap(p.Key, aad)
	}
	if err != nil {
		return n
	}
	if e164, err := openText(key, p.Phone, column(m.id, "patients", "phone", p.ID)); err == nil && e164 != "" {
		n, _ = phone.FromE164(e164)
	}
	return n
}

// patients moves the patients' keys and indexes. The opt-outs of a number are
// there under the new index before any row with it is.
func (m *mover) patients(ctx context.Context, tx pgx.Tx, after uuid.UUID) (b moved, err error) {
	list, b, err := readRotated(ctx, tx, selectRotatedPatients, m, after, func(p rotatedPatient) uuid.UUID { return p.ID })
	if err != nil {
		return b, err
	}
	var ids []uuid.UUID
	var wasKeys, wasIndexes, keys, indexes, last4s [][]byte
	var optOuts carrying
	for _, p := range list {
		key, ok := m.rewrap(p.Key, patientKeyAAD(m.id, p.ID))
		if !ok {
			continue
		}
		var index, last4 []byte
		if n := m.number(p); !n.IsZero() {
			index, last4 = phoneIndex(m.is, n), blind(m.is, indexLast4, n.Last4())
			optOuts.pair(m.id, phoneIndex(m.was, n), index)
		}
		ids, wasKeys, wasIndexes = append(ids, p.ID), append(wasKeys, p.Key), append(wasIndexes, p.Index)
		keys, indexes, last4s = append(keys, key), append(indexes, index), append(last4s, last4)
	}
	if b.needed = len(ids); b.needed == 0 {
		return b, nil
	}
	if err := optOuts.carry(ctx, tx); err != nil {
		return b, err
	}
	err = b.write(ctx, tx, rotatePatients, m.id, ids, wasKeys, wasIndexes, keys, indexes, last4s)
	return b, err
}

const moveSuppressions = `
UPDATE suppressions s SET phone_index = n.now
FROM   unnest($2::bytea[], $3::bytea[]) AS n (was, now)
WHERE  s.tenant_id = $1 AND s.phone_index = n.was`

// optOuts takes the opt-outs of patients' numbers from the old index, under
// which no patient is any more.
func (m *mover) optOuts(ctx context.Context, tx pgx.Tx, after uuid.UUID) (b moved, err error) {
	list, b, err := readRotated(ctx, tx, selectRotatedPatients, m, after, func(p rotatedPatient) uuid.UUID { return p.ID })
	if err != nil {
		return b, err
	}
	var was, now [][]byte
	for _, p := range list {
		if n := m.number(p); !n.IsZero() {
			was, now = append(was, phoneIndex(m.was, n)), append(now, phoneIndex(m.is, n))
		}
	}
	_, err = tx.Exec(ctx, moveSuppressions, m.id, was, now)
	return b, err
}

const selectRotatedTriggers = `
SELECT t.id, t.event_id, t.body_hash, t.payload, t.payload_key, p.data_key, coalesce(p.id, '00000000-0000-0000-0000-000000000000')
FROM   triggers t
LEFT   JOIN patients p ON p.tenant_id = t.tenant_id AND p.id = t.patient_id
WHERE  t.tenant_id = $1 AND t.id > $2
ORDER  BY t.id LIMIT $3`

const rotateTriggers = `
WITH held AS (
  SELECT t.id, n.payload_key, n.body_hash, n.event_id
  FROM   unnest($2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::text[]) AS n (id, was_key, was_hash, payload_key, body_hash, event_id)
  JOIN   triggers t ON t.tenant_id = $1 AND t.id = n.id
  WHERE  t.payload_key IS NOT DISTINCT FROM n.was_key AND t.body_hash = n.was_hash
  FOR    NO KEY UPDATE OF t SKIP LOCKED
)
UPDATE triggers t SET payload_key = h.payload_key, body_hash = h.body_hash, event_id = h.event_id
FROM   held h WHERE t.tenant_id = $1 AND t.id = h.id`

type rotatedTrigger struct {
	ID                  uuid.UUID
	Event               string
	Hash                []byte
	Payload, Key, Owner []byte
	Patient             uuid.UUID
}

// triggers moves the payloads' keys that no patient's key wraps, the bodies'
// hashes, and the event ids that are made of one.
func (m *mover) triggers(ctx context.Context, tx pgx.Tx, after uuid.UUID) (b moved, err error) {
	list, b, err := readRotated(ctx, tx, selectRotatedTriggers, m, after, func(t rotatedTrigger) uuid.UUID { return t.ID })
	if err != nil {
		return b, err
	}
	var ids []uuid.UUID
	var wasKeys, wasHashes, keys, hashes [][]byte
	var events []string
	for _, t := range list {
		key, again := m.rewrap(t.Key, payloadKeyAAD(m.id, "triggers", t.ID))
		hash := []byte{}
		if body, ok := m.body(t); ok {
			hash = blind(m.is, indexBody, string(body))
		}
		if !again && bytes.Equal(hash, t.Hash) {
			continue
		}
		event := t.Event
		if stamp, ok := strings.CutPrefix(event, bodyEvent(t.Hash)); ok && len(hash) > 0 && len(t.Hash) > 0 {
			event = bodyEvent(hash) + stamp
		}
		ids, wasKeys, wasHashes = append(ids, t.ID), append(wasKeys, t.Key), append(wasHashes, t.Hash)
		keys, hashes, events = append(keys, key), append(hashes, hash), append(events, event)
	}
	if b.needed = len(ids); b.needed == 0 {
		return b, nil
	}
	err = b.write(ctx, tx, rotateTriggers, m.id, ids, wasKeys, wasHashes, keys, hashes, events)
	return b, err
}

// body opens a trigger's payload, under the tenant's key or its patient's.
func (m *mover) body(t rotatedTrigger) ([]byte, bool) {
	parents := []*seal.Cipher{m.is.Cipher, m.was.Cipher}
	for _, tenantKey := range slices.Clone(parents) {
		if key, err := tenantKey.Unwrap(t.Owner, patientKeyAAD(m.id, t.Patient)); err == nil {
			parents = append(parents, seal.NewCipher(key))
		}
	}
	for _, parent := range parents {
		if key, err := parent.Unwrap(t.Key, payloadKeyAAD(m.id, "triggers", t.ID)); err == nil {
			body, err := key.Open(t.Payload, column(m.id, "triggers", "payload", t.ID))
			return body, err == nil
		}
	}
	return nil, false
}

const selectRotatedCalls = `
SELECT id, payload_key FROM webhook_executions
WHERE  tenant_id = $1 AND id > $2 AND payload_key IS NOT NULL
ORDER  BY id LIMIT $3`

const rotateCalls = `
UPDATE webhook_executions x SET payload_key = n.payload_key
FROM   unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS n (id, was_key, payload_key)
WHERE  x.tenant_id = $1 AND x.id = n.id AND x.payload_key = n.was_key`

type rotatedCall struct {
	ID  uuid.UUID
	Key []byte
}

// calls moves the keys of refused calls' bodies, which nobody else writes.
func (m *mover) calls(ctx context.Context, tx pgx.Tx, after uuid.UUID) (b moved, err error) {
	list, b, err := readRotated(ctx, tx, selectRotatedCalls, m, after, func(c rotatedCall) uuid.UUID { return c.ID })
	if err != nil {
		return b, err
	}
	var ids []uuid.UUID
	var was, now [][]byte
	for _, c := range list {
		if key, ok := m.rewrap(c.Key, payloadKeyAAD(m.id, "webhook_executions", c.ID)); ok {
			ids, was, now = append(ids, c.ID), append(was, c.Key), append(now, key)
		}
	}
	if b.needed = len(ids); b.needed == 0 {
		return b, nil
	}
	err = b.write(ctx, tx, rotateCalls, m.id, ids, was, now)
	return b, err
}

const selectRotatedAccounts = `SELECT id, credentials, report_token FROM provider_accounts WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3`

const rotateAccount = `
UPDATE provider_accounts SET credentials = $5, report_token = $6
WHERE  tenant_id = $1 AND id = $2 AND credentials = $3 AND report_token IS NOT DISTINCT FROM $4`

const selectRotatedWebhooks = `SELECT id, secret, previous_secret FROM webhooks WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3`

const rotateWebhook = `
UPDATE webhooks SET secret = $5, previous_secret = $6
WHERE  tenant_id = $1 AND id = $2 AND secret = $3 AND previous_secret IS NOT DISTINCT FROM $4`

const selectRotatedFHIR = `SELECT id, token, NULL::bytea FROM fhir_sources WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3`

const rotateFHIR = `
UPDATE fhir_sources SET token = $5
WHERE  tenant_id = $1 AND id = $2 AND token = $3 AND $4::bytea IS NULL AND $6::bytea IS NULL`

type rotatedSecrets struct {
	ID   uuid.UUID
	A, B []byte
}

func (m *mover) accounts(ctx context.Context, tx pgx.Tx, after uuid.UUID) (moved, error) {
	return m.secrets(ctx, tx, after, selectRotatedAccounts, rotateAccount, "provider_accounts", "credentials", "report_token")
}

func (m *mover) webhooks(ctx context.Context, tx pgx.Tx, after uuid.UUID) (moved, error) {
	return m.secrets(ctx, tx, after, selectRotatedWebhooks, rotateWebhook, "webhooks", "secret", "previous_secret")
}

func (m *mover) fhirSources(ctx context.Context, tx pgx.Tx, after uuid.UUID) (moved, error) {
	return m.secrets(ctx, tx, after, selectRotatedFHIR, rotateFHIR, "fhir_sources", "token", "")
}

// secrets moves the tenant's own fields, two to a row.
func (m *mover) secrets(ctx context.Context, tx pgx.Tx, after uuid.UUID, read, write, table, one, other string) (b moved, err error) {
	list, b, err := readRotated(ctx, tx, read, m, after, func(s rotatedSecrets) uuid.UUID { return s.ID })
	if err != nil {
		return b, err
	}
	for _, s := range list {
		first, again := m.reseal(s.A, column(m.id, table, one, s.ID))
		second, too := m.reseal(s.B, column(m.id, table, other, s.ID))
		if !again && !too {
			continue
		}
		b.needed++
		tag, err := tx.Exec(ctx, write, m.id, s.ID, s.A, s.B, first, second)
		if err != nil {
			return b, err
		}
		b.wrote += int(tag.RowsAffected())
	}
	return b, nil
}
