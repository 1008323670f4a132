package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// frequency is what patients were sent lately, for a batch of claims of clinics
// that cap it. Others cost nothing.
type frequency struct {
	recent  map[patientID][]sending
	counted map[uuid.UUID]bool // roots
	grown   map[patientID]bool
}

type patientID struct {
	tenant  tenant.ID
	patient uuid.UUID
}

// sending is one of patient_sendings.recent.
type sending struct {
	Root uuid.UUID
	workflow.Sending
}

// Two claims of one patient's messages must not both take the last of a cap.
// Whoever asks for these locks has every row that a claim locks already, and
// asks in one order, so that nobody waits in a circle.
const lockFrequency = `SELECT pg_advisory_xact_lock(k) FROM (SELECT DISTINCT unnest($1::bigint[]) AS k ORDER BY 1) n`

const selectSendings = `
SELECT s.tenant_id, s.patient_id, s.recent
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, patient_id)
JOIN   patient_sendings s ON s.tenant_id = n.tenant_id AND s.patient_id = n.patient_id`

const upsertSendings = `
INSERT INTO patient_sendings (tenant_id, patient_id, recent)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[])
ON CONFLICT (tenant_id, patient_id) DO UPDATE SET recent = EXCLUDED.recent, updated_at = (SELECT app_now())`

// frequencyOf reads what the candidates' patients were sent, where a cap asks,
// once nobody else can claim for them. It is nil where none asks.
func frequencyOf(ctx context.Context, tx querier, candidates []*Candidate) (*frequency, error) {
	var who []patientID
	for _, c := range candidates {
		if len(c.Clinic.Caps) > 0 {
			who = append(who, patientID{c.Tenant, c.Patient})
		}
	}
	if len(who) == 0 {
		return nil, nil
	}
	slices.SortFunc(who, func(a, b patientID) int { return slices.Compare(a.patient[:], b.patient[:]) })
	who = slices.Compact(who)
	tenants, patients, keys := make([]tenant.ID, len(who)), make([]uuid.UUID, len(who)), make([]int64, len(who))
	for i, p := range who {
		tenants[i], patients[i], keys[i] = p.tenant, p.patient, int64(binary.BigEndian.Uint64(p.patient[8:]))
	}
	f := &frequency{recent: map[patientID][]sending{}, counted: map[uuid.UUID]bool{}, grown: map[patientID]bool{}}
	var batch pgx.Batch
	batch.Queue(lockFrequency, keys)
	batch.Queue(selectSendings, tenants, patients).Query(func(rows pgx.Rows) error {
		var p patientID
		var recent []byte
		_, err := pgx.ForEachRow(rows, []any{&p.tenant, &p.patient, &recent}, func() error {
			var list []sending
			if err := json.Unmarshal(recent, &list); err != nil {
				return fmt.Errorf("patient_sendings: %w", err)
			}
			f.recent[p] = list
			for _, s := range list {
				f.counted[s.Root] = true
			}
			return nil
		})
		return err
	})
	return f, tx.SendBatch(ctx, &batch).Close()
}

// tell gives a candidate what its patient was sent, this batch included.
func (f *frequency) tell(c *Candidate) {
	if f == nil {
		return
	}
	c.Counted = f.counted[c.Root]
	for _, s := range f.recent[patientID{c.Tenant, c.Patient}] {
		c.Recent = append(c.Recent, s.Sending)
	}
}

// count adds a message that is claimed now, and forgets what no cap remembers.
func (f *frequency) count(c *Candidate) {
	if f == nil || len(c.Clinic.Caps) == 0 || f.counted[c.Root] {
		return
	}
	step, _ := c.Definition.Step(c.Node)
	p := patientID{c.Tenant, c.Patient}
	f.counted[c.Root], f.grown[p] = true, true
	f.recent[p] = slices.DeleteFunc(append(f.recent[p], sending{c.Root, workflow.Sending{Class: step.Message.Class, At: c.Now.UTC()}}), func(s sending) bool {
		return c.Now.Sub(s.At) > 2*workflow.CapMemory
	})
}

func (f *frequency) queue(batch *pgx.Batch) error {
	if f == nil || len(f.grown) == 0 {
		return nil
	}
	var tenants []tenant.ID
	var patients []uuid.UUID
	var recents []string
	for p := range f.grown {
		b, err := json.Marshal(f.recent[p])
		if err != nil {
			return fmt.Errorf("patient_sendings: %w", err)
		}
		tenants, patients, recents = append(tenants, p.tenant), append(patients, p.patient), append(recents, string(b))
	}
	batch.Queue(upsertSendings, tenants, patients, recents)
	return nil
}
