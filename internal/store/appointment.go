package store

import (
	"context"
	"encoding/json"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Appointment is an appointment as it stands.
type Appointment struct {
	ID         uuid.UUID
	Patient    uuid.UUID
	Source     string
	ExternalID string // the source's own number
	Status     appointment.Status
	Date       string // 2006-01-02; "" while none is known
	Time       string // 15:04:05; "" where only the day is known
	Surgery    string
	Version    int32
	// Moved is when its date or time changed last.
	Moved   time.Time
	Created time.Time
	Updated time.Time
}

// currentAppointment reads one of the alias ap, or NULL, by the fields' names.
const currentAppointment = `CASE WHEN ap.id IS NOT NULL THEN jsonb_build_object('ID', ap.id, 'Patient', ap.patient_id, 'Source', ap.source,
       'ExternalID', coalesce(ap.external_id, ''), 'Status', ap.status, 'Date', coalesce(ap.appointment_date::text, ''),
       'Time', coalesce(ap.appointment_time::text, ''), 'Surgery', coalesce(ap.surgery_type, ''), 'Version', ap.version,
       'Moved', ap.moved_at, 'Created', ap.created_at, 'Updated', ap.updated_at) END`

// When is its time as the clinic's clocks show it, nil while none is known.
func (a *Appointment) When() *appointment.When {
	if a == nil || a.Date == "" {
		return nil
	}
	w := &appointment.When{Date: a.Date}
	if t, err := time.Parse(time.TimeOnly, a.Time); err == nil {
		w.Time = &workflow.Clock{Hour: t.Hour(), Minute: t.Minute()}
	}
	return w
}

// Begins is the instant at which it begins in the clinic's zone: the day's
// begin where no time is known, the zero time where no date is, or for nil.
func (a *Appointment) Begins(zone *time.Location) time.Time { return a.When().Starts(zone) }

// Fields are what expressions and pointers see of it; nil for nil.
func (a *Appointment) Fields(zone *time.Location) map[string]any {
	if a == nil {
		return nil
	}
	out := map[string]any{"id": a.ExternalID, "source": a.Source, "status": string(a.Status), "surgery_type": a.Surgery}
	if w := a.When(); w != nil {
		out["date"] = w.Date
		if w.Time != nil {
			out["time"], out["starts_at"] = w.Time.String(), w.Starts(zone).In(zone).Format(time.RFC3339)
		}
	}
	return out
}

// over puts the appointment as it stands in the place of what an event's payload
// said of it. What cannot be read is left as it is.
func (a *Appointment) over(payload []byte, zone *time.Location) []byte {
	if a == nil || payload == nil {
		return payload
	}
	var whole map[string]any
	if json.Unmarshal(payload, &whole) != nil || whole == nil {
		return payload
	}
	said, ok := whole["appointment"].(map[string]any)
	if !ok {
		said = map[string]any{}
	}
	for _, gone := range []string{"date", "time", "starts_at"} {
		delete(said, gone)
	}
	maps.Copy(said, a.Fields(zone))
	whole["appointment"] = said
	b, err := json.Marshal(whole)
	if err != nil {
		return payload
	}
	return b
}

// CandidateWorkflow is an active workflow that appointments' events may start.
type CandidateWorkflow struct {
	ID          uuid.UUID
	TriggerType string
	Surgery     string // "" for any
	Definition  *workflow.Definition
}

// A newer event of the kind, or one that made it something else, undoes an
// event that was not planned yet. The lock is held until the runs are written:
// a change of the appointment finds them, or they find it.
const selectTriggerAppointments = `
SELECT v.tenant_id, n.id, v.kind,
       EXISTS (SELECT FROM appointment_events o WHERE o.tenant_id = v.tenant_id AND o.appointment_id = v.appointment_id AND o.kind = v.kind
               AND (o.sequence, o.at, o.event_id) > (v.sequence, v.at, v.event_id)),
       ` + currentAppointment + `
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS n (tenant_id, id, origin)
JOIN   appointment_events v ON v.tenant_id = n.tenant_id AND v.trigger_id = n.origin
JOIN   appointments ap ON ap.tenant_id = v.tenant_id AND ap.id = v.appointment_id
ORDER  BY ap.tenant_id, ap.id
FOR    SHARE OF ap`

const selectCandidateWorkflows = `
SELECT w.tenant_id, w.id, w.trigger_type, coalesce(w.target_surgery_type, ''), w.version
FROM   workflows w
WHERE  w.tenant_id = ANY ($1) AND w.is_active AND w.version > 0 AND (w.trigger_type = 'post_surgery' OR starts_with(w.trigger_type, 'appointment'))
ORDER  BY w.tenant_id, w.id`

// appointmentsOf adds to the triggers that appointments' events are what they
// are planned by.
func (db *DB) appointmentsOf(ctx context.Context, tx querier, triggers []*planned) error {
	byTrigger := map[uuid.UUID]*planned{}
	var tenants []tenant.ID
	var ids, origins []uuid.UUID
	for _, t := range triggers {
		if t.Kind == event.Appointment {
			byTrigger[t.ID] = t
			tenants, ids, origins = append(tenants, t.Tenant), append(ids, t.ID), append(origins, t.origin)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, selectTriggerAppointments, tenants, ids, origins)
	if err != nil {
		return err
	}
	var id tenant.ID
	var trigger uuid.UUID
	var kind appointment.Kind
	var newer bool
	var a *Appointment
	if _, err := pgx.ForEachRow(rows, []any{&id, &trigger, &kind, &newer, &a}, func() error {
		t := byTrigger[trigger]
		t.Appointment, t.Payload = a, a.over(t.Payload, t.Zone)
		t.Undone = newer && kind != appointment.Edited || kind.Status() != "" && kind.Status() != a.Status
		a = nil
		return nil
	}); err != nil {
		return err
	}
	candidates, err := db.candidateWorkflows(ctx, tx, tenants)
	for _, t := range byTrigger {
		t.Candidates = candidates[t.Tenant]
	}
	return err
}

func (db *DB) candidateWorkflows(ctx context.Context, tx querier, tenants []tenant.ID) (map[tenant.ID][]CandidateWorkflow, error) {
	rows, err := tx.Query(ctx, selectCandidateWorkflows, tenants)
	if err != nil {
		return nil, err
	}
	type found struct {
		CandidateWorkflow
		tenant  tenant.ID
		version int32
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
		return f, row.Scan(&f.tenant, &f.ID, &f.TriggerType, &f.Surgery, &f.version)
	})
	if err != nil {
		return nil, err
	}
	out := map[tenant.ID][]CandidateWorkflow{}
	for _, f := range list {
		if f.Definition, err = db.definition(ctx, tx, f.tenant, f.ID, f.version); err != nil {
			return nil, err
		}
		out[f.tenant] = append(out[f.tenant], f.CandidateWorkflow)
	}
	return out, nil
}

// A run keeps the appointment that it is about.
const giveAppointments = `
UPDATE workflow_executions e
SET    appointment_id = n.appointment_id
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS n (tenant_id, trigger_id, appointment_id)
WHERE  e.tenant_id = n.tenant_id AND e.trigger_id = n.trigger_id`

func queueAppointmentRuns(batch *pgx.Batch, triggers []*planned) {
	var tenants []tenant.ID
	var ids, appointments []uuid.UUID
	for _, t := range triggers {
		if t.Appointment != nil && t.runs > 0 {
			tenants, ids, appointments = append(tenants, t.Tenant), append(ids, t.ID), append(appointments, t.Appointment.ID)
		}
	}
	if len(ids) > 0 {
		batch.Queue(giveAppointments, tenants, ids, appointments)
	}
}
