package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// OptOut is a refusal of messages. It stands under a number: whoever else has
// that number is not written to either.
type OptOut struct {
	ID uuid.UUID
	// Channel and Class are what is refused; "" is every one.
	Channel event.Channel
	Class   workflow.Class
	// Source says who told us: apply, or api or cli.
	Source  string
	Created time.Time
}

// Covers reports whether a message is refused.
func (o OptOut) Covers(c event.Channel, class workflow.Class) bool {
	return (o.Channel == "" || o.Channel == c) && (o.Class == "" || o.Class == class)
}

// OptedOut is what an opt-out did.
type OptedOut struct {
	// Again: it stood already.
	Again bool
	// Patients have the number.
	Patients []uuid.UUID
	// Replanned is what became of what was planned for them.
	Replanned
}

const selectNumber = `
SELECT p.id, p.data_key, p.phone
FROM   patients o JOIN patients p ON p.tenant_id = o.tenant_id AND p.id = coalesce(o.merged_into, o.id)
WHERE  o.tenant_id = $1 AND o.id = $2`

// numberOf is every index under which a patient's number may stand, that of the
// row that goes on for one that was merged; a patient who was erased has none.
func (db *DB) numberOf(ctx context.Context, tx pgx.Tx, id tenant.ID, patient uuid.UUID) (indexes [][]byte, err error) {
	var wrapped, sealed []byte
	if err := tx.QueryRow(ctx, selectNumber, id, patient).Scan(&patient, &wrapped, &sealed); err != nil {
		return nil, notFound(err)
	}
	if sealed == nil {
		return nil, ErrNoNumber
	}
	keys, err := db.tenantKey(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	key, err := keys.Unwrap(wrapped, patientKeyAAD(id, patient))
	if err != nil {
		return nil, err
	}
	e164, err := openText(key, sealed, column(id, "patients", "phone", patient))
	if err != nil {
		return nil, err
	}
	n, err := phone.FromE164(e164)
	return phoneIndexes(keys, n), err
}

// OptOut keeps messages of a channel and a class from the number of a patient,
// and cancels what is planned of them. From its commit on no claim passes; when
// it returns, nothing of what was refused is sent but what
// [Replanned.InFlight] names. Broken off, the same call goes on. Errors are
// [ErrNote] or wrap [ErrNotFound], [ErrNoNumber] or [ErrUnavailable].
func (db *DB) OptOut(ctx context.Context, id tenant.ID, patient uuid.UUID, o OptOut, by Hand) (out OptedOut, err error) {
	if err := by.check(false); err != nil {
		return out, err
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, shareFamilies, id); err != nil {
			return err
		}
		indexes, err := db.numberOf(ctx, tx, id, patient)
		if err != nil {
			return err
		}
		fresh, patients, err := suppress(ctx, tx, id, indexes, o)
		if err != nil {
			return err
		}
		out = OptedOut{Again: !fresh, Patients: patients}
		if !fresh {
			return nil
		}
		return audit(ctx, tx, id, AuditEntry{Hand: by, Action: "patient.opt_out", Subject: "patient", SubjectID: patient, Patients: patients, Detail: o.detail()})
	})
	if err != nil {
		return OptedOut{}, fmt.Errorf("store: opt out: %w", err)
	}
	out.Replanned, err = db.withoutPlans(ctx, id, out.Patients, o, by)
	return out, err
}

// withoutPlans cancels what is planned of what patients refuse.
func (db *DB) withoutPlans(ctx context.Context, id tenant.ID, patients []uuid.UUID, o OptOut, by Hand) (out Replanned, err error) {
	for _, p := range patients {
		done, err := db.Replan(ctx, id, Replan{Patient: p, Hand: by, Action: "patient.replan"}, o.without)
		if err != nil {
			return out, err
		}
		out.add(done)
	}
	return out, nil
}

func (o OptOut) detail() map[string]any {
	return map[string]any{"channel": nullText(string(o.Channel)), "class": nullText(string(o.Class)), "source": o.Source}
}

// without is a plan that has nothing of what is refused.
func (o OptOut) without(r *Replanning) NewPlan {
	p := NewPlan{Reason: event.OptedOut}
	for _, s := range r.Steps {
		step, _ := r.Definition.Step(s.Node)
		if s.State == StatePlanned && o.Covers(s.Channel, step.Message.Class) {
			p.Cancel = append(p.Cancel, s.ID)
		}
	}
	return p
}

const selectOptOuts = `
SELECT DISTINCT ON (x.channel, x.class) x.id, coalesce(x.channel, ''), coalesce(x.class, ''), x.source, x.created_at
FROM   suppressions x
WHERE  x.tenant_id = $1 AND x.phone_index = ANY ($2) AND x.lifted_at IS NULL
ORDER  BY x.channel, x.class, x.created_at`

// OptOuts lists what stands under a patient's number: a channel and a class
// once, as it was first told. Errors wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) OptOuts(ctx context.Context, id tenant.ID, patient uuid.UUID) (list []OptOut, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		indexes, err := db.numberOf(ctx, tx, id, patient)
		if errors.Is(err, ErrNoNumber) {
			return nil
		}
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectOptOuts, id, indexes)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[OptOut])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: opt-outs: %w", err)
	}
	return list, nil
}

const liftSuppressions = `
UPDATE suppressions x SET lifted_at = (SELECT app_now())
FROM   suppressions n
WHERE  n.tenant_id = $1 AND n.id = $2 AND n.phone_index = ANY ($3)
AND    x.tenant_id = $1 AND x.phone_index = ANY ($3) AND x.lifted_at IS NULL
AND    x.channel IS NOT DISTINCT FROM n.channel AND x.class IS NOT DISTINCT FROM n.class
RETURNING x.id`

// LiftOptOut ends an opt-out of a patient's number, for everybody who has it;
// by has to say why: whose wish it was. What was cancelled stays cancelled.
// Errors are [ErrNote] or wrap [ErrNotFound], [ErrNoNumber] or
// [ErrUnavailable].
func (db *DB) LiftOptOut(ctx context.Context, id tenant.ID, patient, optOut uuid.UUID, by Hand) error {
	if err := by.check(true); err != nil {
		return err
	}
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, shareFamilies, id); err != nil {
			return err
		}
		indexes, err := db.numberOf(ctx, tx, id, patient)
		if err != nil {
			return err
		}
		// As for an opt-out: a claim is before this, or sees it.
		rows, err := tx.Query(ctx, lockPatientsOfPhone, id, indexes)
		if err != nil {
			return err
		}
		patients, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, liftSuppressions, id, optOut, indexes)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Hand: by, Action: "patient.opt_in", Subject: "patient", SubjectID: patient, Patients: patients, Detail: map[string]any{"opt_out": optOut}})
	})
	if err != nil {
		return fmt.Errorf("store: lift an opt-out: %w", err)
	}
	return nil
}
