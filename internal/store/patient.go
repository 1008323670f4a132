package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// patientKey is a patient's id with the open data key.
type patientKey struct {
	id  uuid.UUID
	key seal.Key
}

// Blind index fields; the label separates their keys.
const (
	indexPhone = "patients.phone"
	indexLast4 = "patients.phone_last4"
)

const (
	selectPatientByID       = `SELECT ` + patientOrInto + ` WHERE p.tenant_id = $1 AND p.id = $2 AND p.erased_at IS NULL`
	selectPatientByExternal = `SELECT ` + patientOrInto + ` WHERE p.tenant_id = $1 AND p.external_id = $2 AND p.erased_at IS NULL`
)

// A row that was merged is found by what it is known by, and leads on.
const patientOrInto = `p.id, p.data_key, p.name, o.id, o.data_key
FROM   patients p LEFT JOIN patients o ON o.tenant_id = p.tenant_id AND o.id = p.merged_into`

// By every index at once: a row that is moved to another one between two
// statements would be missed by both, and its patient made again.
const selectPatientsByPhone = `
SELECT p.id, p.data_key, p.name, o.id, o.data_key
FROM   unnest($2::bytea[]) AS n (phone_index)
CROSS  JOIN LATERAL (
         SELECT id, data_key, name, merged_into FROM patients
         WHERE  tenant_id = $1 AND phone_index = n.phone_index AND erased_at IS NULL
         ORDER  BY id LIMIT 50) p
LEFT   JOIN patients o ON o.tenant_id = $1 AND o.id = p.merged_into`

// Two triggers that name the same new patient by phone alone take turns.
const lockPhones = `
SELECT pg_advisory_xact_lock(h)
FROM   (SELECT DISTINCT hashtextextended(n.tenant_id::text || encode(n.phone_index, 'hex'), 1) AS h
        FROM unnest($1::uuid[], $2::bytea[]) AS n (tenant_id, phone_index) ORDER BY 1) AS locks`

const insertPatients = `
INSERT INTO patients (tenant_id, id, external_id, data_key, name, phone, phone_index, phone_last4_index, created_at, updated_at)
SELECT n.*, (SELECT app_now()), (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])
       AS n (tenant_id, id, external_id, data_key, name, phone, phone_index, phone_last4_index)
ON CONFLICT (tenant_id, external_id) WHERE external_id IS NOT NULL DO NOTHING
RETURNING id`

// resolvePatients finds the patient of each trigger, or creates it where that
// is allowed, or says why not in the reading.
func (db *DB) resolvePatients(ctx context.Context, tx querier, triggers []*planned) error {
	if err := lockNewPhones(ctx, tx, triggers); err != nil {
		return err
	}
	open := triggers
	// Twice: a row that another transaction inserted between our look and our
	// insert is there at the second look.
	for range 2 {
		var err error
		if open, err = db.resolveOnce(ctx, tx, open); err != nil || len(open) == 0 {
			return err
		}
	}
	return fmt.Errorf("%w: a patient appeared and vanished again", ErrUnavailable)
}

func lockNewPhones(ctx context.Context, tx querier, triggers []*planned) error {
	var tenants []tenant.ID
	var indexes [][]byte
	for _, t := range triggers {
		if r := t.reading.Patient; t.reading.Ignored == "" && r.ID == uuid.Nil && r.ExternalID == "" {
			for _, index := range phoneIndexes(t.tenantKey, r.Phone) {
				tenants, indexes = append(tenants, t.Tenant), append(indexes, index)
			}
		}
	}
	if len(tenants) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, lockPhones, tenants, indexes)
	return err
}

func (db *DB) resolveOnce(ctx context.Context, tx querier, triggers []*planned) (again []*planned, err error) {
	candidates, err := findPatients(ctx, tx, triggers)
	if err != nil {
		return nil, err
	}
	var rows patientRows
	made := map[string]*patientKey{}
	waiting := map[*patientKey][]*planned{}
	for i, t := range triggers {
		found, reason := (*patientKey)(nil), t.reading.Ignored
		if t.named() {
			found, reason = choose(t, candidates[i])
		}
		if found != nil {
			t.patient = found
			continue
		}
		if t.reading.Ignored != "" {
			continue
		}
		if reason == event.UnknownPatient && t.CreatePatients && t.reading.Patient.ID == uuid.Nil && !t.reading.Patient.Phone.IsZero() {
			r := t.reading.Patient
			k := t.Tenant.String() + "\x00" + r.ExternalID
			if r.ExternalID == "" {
				k = t.Tenant.String() + "\x01" + r.Phone.E164() + "\x00" + r.Name
			}
			if made[k] == nil {
				made[k] = rows.add(t.Tenant, t.tenantKey, r)
			}
			waiting[made[k]] = append(waiting[made[k]], t)
			continue
		}
		t.reading.Ignored = reason
	}
	if len(rows.ids) == 0 {
		return nil, nil
	}
	if err := rows.optOuts.carry(ctx, tx); err != nil {
		return nil, err
	}
	stored, err := collectIDs(tx.Query(ctx, insertPatients, rows.args()...))
	if err != nil {
		return nil, err
	}
	for p, ts := range waiting {
		for _, t := range ts {
			if stored[p.id] {
				t.patient = p
			} else {
				again = append(again, t)
			}
		}
	}
	return again, nil
}

// named reports whether a trigger tells of a patient. One that is ignored may:
// then its payload goes with that patient all the same.
func (t *planned) named() bool {
	r := t.reading.Patient
	return t.reading.Ignored == "" || t.Payload != nil && (r.ID != uuid.Nil || r.ExternalID != "" || !r.Phone.IsZero())
}

type patientCandidate struct {
	id        uuid.UUID
	key, name []byte
	into      *uuid.UUID // the row that it was merged into
	intoKey   []byte
}

func findPatients(ctx context.Context, tx querier, triggers []*planned) ([][]patientCandidate, error) {
	found := make([][]patientCandidate, len(triggers))
	var batch pgx.Batch
	for i, t := range triggers {
		if !t.named() {
			continue
		}
		collect := func(rows pgx.Rows) (err error) {
			found[i], err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c patientCandidate, err error) {
				return c, row.Scan(&c.id, &c.key, &c.name, &c.into, &c.intoKey)
			})
			return err
		}
		switch r := t.reading.Patient; {
		case r.ID != uuid.Nil:
			batch.Queue(selectPatientByID, t.Tenant, r.ID).Query(collect)
		case r.ExternalID != "":
			batch.Queue(selectPatientByExternal, t.Tenant, r.ExternalID).Query(collect)
		default:
			batch.Queue(selectPatientsByPhone, t.Tenant, phoneIndexes(t.tenantKey, r.Phone)).Query(collect)
		}
	}
	return found, tx.SendBatch(ctx, &batch).Close()
}

// choose picks the patient that the trigger means. By phone alone, one match
// is the patient unless a name says otherwise; several need a name that fits
// exactly one. Nobody is merged by guess.
func choose(t *planned, candidates []patientCandidate) (*patientKey, event.Reason) {
	byPhone := t.reading.Patient.ID == uuid.Nil && t.reading.Patient.ExternalID == ""
	var fit []*patientKey
	for _, c := range candidates {
		key, err := t.tenantKey.Unwrap(c.key, patientKeyAAD(t.Tenant, c.id))
		if err != nil {
			return nil, event.PatientErased
		}
		if byPhone && t.reading.Patient.Name != "" {
			name, err := openText(key, c.name, column(t.Tenant, "patients", "name", c.id))
			if err != nil || name != t.reading.Patient.Name {
				continue
			}
		}
		who := patientKey{c.id, key}
		if c.into != nil {
			if who.id = *c.into; c.intoKey == nil {
				return nil, event.PatientErased
			}
			if who.key, err = t.tenantKey.Unwrap(c.intoKey, patientKeyAAD(t.Tenant, who.id)); err != nil {
				return nil, event.PatientErased
			}
		}
		if !slices.ContainsFunc(fit, func(p *patientKey) bool { return p.id == who.id }) {
			fit = append(fit, &who)
		}
	}
	switch len(fit) {
	case 0:
		return nil, event.UnknownPatient
	case 1:
		return fit[0], ""
	}
	return nil, event.AmbiguousPatient
}

type patientRows struct {
	tenants                              []tenant.ID
	ids                                  []uuid.UUID
	externals                            []*string
	keys, names, phones, indexes, last4s [][]byte
	optOuts                              carrying
}

func (r *patientRows) add(id tenant.ID, tenantKey *seal.TenantKeys, ref PatientRef) *patientKey {
	p := &patientKey{uuid.Must(uuid.NewV7()), seal.NewKey()}
	r.tenants, r.ids, r.externals = append(r.tenants, id), append(r.ids, p.id), append(r.externals, nullText(ref.ExternalID))
	r.keys = append(r.keys, tenantKey.Wrap(p.key, patientKeyAAD(id, p.id)))
	r.names = append(r.names, sealText(p.key, ref.Name, column(id, "patients", "name", p.id)))
	r.phones = append(r.phones, sealText(p.key, ref.Phone.E164(), column(id, "patients", "phone", p.id)))
	r.indexes = append(r.indexes, phoneIndex(tenantKey, ref.Phone))
	r.last4s = append(r.last4s, blind(tenantKey, indexLast4, ref.Phone.Last4()))
	r.optOuts.add(id, tenantKey, ref.Phone)
	return p
}

func (r *patientRows) args() []any {
	return []any{r.tenants, r.ids, r.externals, r.keys, r.names, r.phones, r.indexes, r.last4s}
}

func phoneIndex(tenantKey *seal.TenantKeys, n phone.Number) []byte {
	if n.IsZero() {
		return nil
	}
	return blind(tenantKey, indexPhone, n.E164())
}

// phoneIndexes are those that a patient with the number may have.
func phoneIndexes(tenantKey *seal.TenantKeys, n phone.Number) [][]byte {
	if n.IsZero() {
		return [][]byte{nil}
	}
	return blinds(tenantKey, indexPhone, n.E164())
}

// sealText seals s, or returns nil for "".
func sealText(key seal.Key, s string, aad seal.AAD) []byte {
	if s == "" {
		return nil
	}
	return key.Seal([]byte(s), aad)
}

func openText(key seal.Key, b []byte, aad seal.AAD) (string, error) {
	if b == nil {
		return "", nil
	}
	plain, err := key.Open(b, aad)
	return string(plain), err
}

// PatientByExternalID finds a patient by the clinic's own number, or
// [ErrNotFound].
func (db *DB) PatientByExternalID(ctx context.Context, id tenant.ID, external string) (patient uuid.UUID, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		return notFound(tx.QueryRow(ctx, `SELECT id FROM patients WHERE tenant_id = $1 AND external_id = $2`, id, external).Scan(&patient))
	})
	if err != nil {
		return patient, fmt.Errorf("store: patient: %w", err)
	}
	return patient, nil
}
