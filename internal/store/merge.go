package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Merge says which patient of a clinic is the same person as which other.
type Merge struct {
	From uuid.UUID // becomes another name of Into
	Into uuid.UUID // goes on, with its own number and name
	Hand
	// DryRun finds what would be done and changes nothing.
	DryRun bool
}

// MergedPatients is what a merge did, and what the same merge answers again.
type MergedPatients struct {
	Into  uuid.UUID `json:"-"`
	Again bool      `json:"-"` // it was done before
	// Runs are those of the merged row, now of Into: all of them, and the open ones.
	Runs int `json:"runs"`
	Open int `json:"open"`
	// Appointments are those of the merged row, now of Into.
	Appointments int `json:"appointments"`
	// OptOuts and Refusals count opt-outs and refused consents that hold for
	// Into since.
	OptOuts  int `json:"opt_outs"`
	Refusals int `json:"refusals"`
	// Cancelled are planned messages that would have been sent twice.
	Cancelled int `json:"cancelled"`
	// InFlight are steps of both rows whose request may be with a gateway: they
	// cannot be taken back.
	InFlight []uuid.UUID `json:"in_flight"`
}

// ErrMergeItself means that a patient was to be merged into itself.
var ErrMergeItself = errors.New("store: a patient cannot be merged into itself")

// ErrMergeErased means that one of the two patients was erased.
var ErrMergeErased = errors.New("store: an erased patient cannot be merged")

// MergedError is the refusal to merge a patient who was merged before, or to
// merge one into such a one.
type MergedError struct {
	Patient, Into uuid.UUID
}

// Error is one sentence.
func (e *MergedError) Error() string {
	return fmt.Sprintf("store: patient %s was merged into %s", e.Patient, e.Into)
}

const selectMerging = `
SELECT p.id, p.merged_into, p.merged, p.erased_at IS NOT NULL, p.phone IS NOT NULL FROM patients p WHERE p.tenant_id = $1 AND p.id = ANY ($2)`

// Open runs, as a change of plan takes them, and what ran of the same workflows:
// a message may have been sent there. Both in the order that everybody keeps.
const selectMergingRuns = `
SELECT e.id, e.workflow_id, e.patient_id = ANY ($3),
       e.status IN ('pending', 'running') OR EXISTS (SELECT FROM steps s WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id AND s.state = 'parked')
FROM   workflow_executions e
WHERE  e.tenant_id = $1 AND e.patient_id = ANY ($2) AND e.reason IS NULL
AND    (e.status IN ('pending', 'running')
        OR EXISTS (SELECT FROM steps s WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id AND s.state = 'parked')
        OR EXISTS (SELECT FROM workflow_executions x WHERE x.tenant_id = e.tenant_id AND x.patient_id = ANY ($2) AND x.workflow_id = e.workflow_id
                   AND x.id <> e.id AND x.status IN ('pending', 'running')))
ORDER  BY e.id
FOR    UPDATE`

const lockPatients = `SELECT id FROM patients WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY id FOR UPDATE`

const selectOptOutsToCarry = `
SELECT DISTINCT ON (x.channel, x.class) o.phone_index, x.channel, x.class, x.source, x.created_at
FROM   patients p
JOIN   suppressions x ON x.tenant_id = p.tenant_id AND x.phone_index = p.phone_index AND x.lifted_at IS NULL
JOIN   patients o ON o.tenant_id = p.tenant_id AND o.id = $3 AND o.phone_index IS NOT NULL
WHERE  p.tenant_id = $1 AND p.id = ANY ($2)
ORDER  BY x.channel, x.class, x.created_at`

// A consent that only the merged row has is not carried: a merge permits
// nothing. A refusal is.
const insertRefusals = `
INSERT INTO consents (tenant_id, id, patient_id, channel, purpose, granted, method)
SELECT $1, gen_random_uuid(), $3, n.channel, n.purpose, false, 'merged'
FROM  (SELECT DISTINCT channel, purpose FROM (
         SELECT DISTINCT ON (patient_id, channel, purpose) channel, purpose, granted FROM consents
         WHERE  tenant_id = $1 AND patient_id = ANY ($2) ORDER BY patient_id, channel, purpose, at DESC) l
       WHERE NOT l.granted) n
WHERE  coalesce((SELECT c.granted FROM consents c WHERE c.tenant_id = $1 AND c.patient_id = $3
                 AND c.channel = n.channel AND c.purpose = n.purpose ORDER BY c.at DESC LIMIT 1), true)`

// What either was sent lately counts for the one who is left.
const mergeSendings = `
INSERT INTO patient_sendings (tenant_id, patient_id, recent)
SELECT s.tenant_id, $3, jsonb_agg(r.v)
FROM   patient_sendings s CROSS JOIN LATERAL jsonb_array_elements(s.recent) AS r (v)
WHERE  s.tenant_id = $1 AND s.patient_id = ANY ($2)
GROUP  BY s.tenant_id
ON CONFLICT (tenant_id, patient_id) DO UPDATE SET recent = patient_sendings.recent || EXCLUDED.recent, updated_at = (SELECT app_now())`

const mergeVisits = `
UPDATE patients o
SET    last_visit_date = greatest(o.last_visit_date, n.visit), last_surgery_date = greatest(o.last_surgery_date, n.surgery), updated_at = (SELECT app_now())
FROM  (SELECT max(last_visit_date) AS visit, max(last_surgery_date) AS surgery FROM patients WHERE tenant_id = $1 AND id = ANY ($2)) n
WHERE  o.tenant_id = $1 AND o.id = $3`

// Who was merged into the one that is merged now goes on to where it goes.
const mergeRows = `
UPDATE patients
SET    merged_into = $3, merged_at = coalesce(merged_at, (SELECT app_now())), merged = coalesce(merged, $4), updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = ANY ($2)`

const countMerged = `
SELECT (SELECT count(*) FROM workflow_executions WHERE tenant_id = $1 AND patient_id = ANY ($2)),
       (SELECT count(*) FROM appointments WHERE tenant_id = $1 AND patient_id = ANY ($2))`

// MergePatients makes two patients of a clinic one, for good, in one
// transaction. Whoever said no under either is not sent to; what both runs of
// one thing would send twice is sent once; the merged row's runs go on to the
// other's number, under a new plan epoch; and who names the merged row later
// means the other. When it returns, nothing superseded is sent but what
// [MergedPatients.InFlight] names. The same merge again answers the same.
// Errors are [ErrNote], [ErrMergeItself], a [MergedError], or wrap [ErrNotFound],
// [ErrMergeErased], [ErrNoNumber] where only the merged row has a number, or
// [ErrUnavailable].
func (db *DB) MergePatients(ctx context.Context, id tenant.ID, m Merge) (out MergedPatients, err error) {
	if err := m.check(false); err != nil {
		return out, err
	}
	if m.From == m.Into {
		return out, ErrMergeItself
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		out = MergedPatients{Into: m.Into}
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, lockFamilies, id); err != nil {
			return err
		}
		known, into, err := mayMerge(ctx, tx, id, m)
		if err != nil {
			return err
		}
		if known != nil {
			out.Into, out.Again = into, true
			return json.Unmarshal(known, &out)
		}
		if err := db.merge(ctx, tx, id, m, &out); err != nil {
			return err
		}
		if m.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return MergedPatients{}, fmt.Errorf("store: merge patients: %w", err)
	}
	return out, nil
}

// mayMerge returns what the same merge answered before, or why there can be
// none. Nobody merges or erases meanwhile.
func mayMerge(ctx context.Context, tx pgx.Tx, id tenant.ID, m Merge) (known []byte, goesOn uuid.UUID, err error) {
	type side struct {
		into           *uuid.UUID
		answer         []byte
		erased, number bool
	}
	sides := map[uuid.UUID]side{}
	rows, err := tx.Query(ctx, selectMerging, id, []uuid.UUID{m.From, m.Into})
	if err != nil {
		return nil, goesOn, err
	}
	var row uuid.UUID
	var s side
	if _, err := pgx.ForEachRow(rows, []any{&row, &s.into, &s.answer, &s.erased, &s.number}, func() error {
		sides[row] = s
		s = side{}
		return nil
	}); err != nil {
		return nil, goesOn, err
	}
	from, ok := sides[m.From]
	into, other := sides[m.Into]
	switch {
	case !ok || !other:
		return nil, goesOn, ErrNotFound
	case from.into != nil && (*from.into == m.Into || into.into != nil && *into.into == *from.into):
		return from.answer, *from.into, nil
	case from.into != nil:
		return nil, goesOn, &MergedError{m.From, *from.into}
	case into.into != nil:
		return nil, goesOn, &MergedError{m.Into, *into.into}
	case from.erased || into.erased:
		return nil, goesOn, ErrMergeErased
	case from.number && !into.number:
		return nil, goesOn, ErrNoNumber
	}
	return nil, m.Into, nil
}

func (db *DB) merge(ctx context.Context, tx pgx.Tx, id tenant.ID, m Merge, out *MergedPatients) error {
	ours, err := familyOf(ctx, tx, id, m.From)
	if err != nil {
		return err
	}
	theirs, err := familyOf(ctx, tx, id, m.Into)
	if err != nil {
		return err
	}
	all := slices.Concat(theirs, ours)
	if err := db.mergeRuns(ctx, tx, id, ours, all, out); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, lockPatients, id, all); err != nil {
		return err
	}
	if out.OptOuts, err = carryOptOuts(ctx, tx, id, ours, m.Into); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, insertRefusals, id, ours, m.Into)
	if err != nil {
		return err
	}
	out.Refusals = int(tag.RowsAffected())
	var batch pgx.Batch
	batch.Queue(mergeSendings, id, ours, m.Into)
	batch.Queue(mergeVisits, id, ours, m.Into)
	batch.Queue(countMerged, id, ours).QueryRow(func(row pgx.Row) error { return row.Scan(&out.Runs, &out.Appointments) })
	batch.Queue(selectInFlight, id, all).Query(func(rows pgx.Rows) (err error) {
		out.InFlight, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	answer, err := json.Marshal(out)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, mergeRows, id, ours, m.Into, answer); err != nil {
		return err
	}
	return audit(ctx, tx, id, AuditEntry{Hand: m.Hand, Action: "patient.merged", Subject: "patient", SubjectID: m.From, Patients: all, Detail: map[string]any{
		"into": m.Into, "runs": out.Runs, "appointments": out.Appointments, "opt_outs": out.OptOuts, "refusals": out.Refusals,
		"cancelled": out.Cancelled, "in_flight": len(out.InFlight),
	}})
}

// mergeRuns puts the open runs of the merged rows under a new epoch, and takes
// out what would be sent twice.
func (db *DB) mergeRuns(ctx context.Context, tx pgx.Tx, id tenant.ID, ours, all []uuid.UUID, out *MergedPatients) error {
	rows, err := tx.Query(ctx, selectMergingRuns, id, all, ours)
	if err != nil {
		return err
	}
	var ids []uuid.UUID
	runs := map[uuid.UUID]*mergingRun{}
	var run uuid.UUID
	var r mergingRun
	if _, err := pgx.ForEachRow(rows, []any{&run, &r.workflow, &r.gone, &r.open}, func() error {
		found := r
		ids, runs[run] = append(ids, run), &found
		return nil
	}); err != nil || len(ids) == 0 {
		return err
	}
	list, _, err := db.replanning(ctx, tx, id, ids, Replan{})
	if err != nil {
		return err
	}
	both := make([]*mergingRun, len(list))
	for i, p := range list {
		both[i] = runs[p.Run]
		both[i].Replanning = p
		if both[i].gone && both[i].open {
			out.Open++
		}
	}
	plans := undouble(both)
	c := planChange{id: id}
	for _, p := range list {
		if plan, ok := plans[p.Run]; ok {
			c.runs = append(c.runs, p.Run)
			c.take(p, plan)
		}
	}
	out.Cancelled = c.out.Cancelled
	if len(c.runs) == 0 {
		return nil
	}
	return c.write(ctx, tx)
}

// carriedOptOut is an opt-out that is written under another number too.
type carriedOptOut struct {
	Index          []byte
	Channel, Class *string
	Source         string
	Created        time.Time
}

// carryOptOuts puts what stands under the merged rows' numbers under the other's.
func carryOptOuts(ctx context.Context, tx pgx.Tx, id tenant.ID, ours []uuid.UUID, into uuid.UUID) (n int, err error) {
	rows, err := tx.Query(ctx, selectOptOutsToCarry, id, ours, into)
	if err != nil {
		return 0, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[carriedOptOut])
	if err != nil {
		return 0, err
	}
	for _, o := range list {
		tag, err := tx.Exec(ctx, insertCarried, id, uuid.Must(uuid.NewV7()), o.Index, o.Channel, o.Class, o.Source, o.Created)
		if err != nil {
			return 0, err
		}
		n += int(tag.RowsAffected())
	}
	return n, nil
}
