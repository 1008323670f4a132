package store_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Whatever a person asks about, the story is the same; what began no run is
// told of its patient, too.
func TestWhyIsAskedOfAPatientAnAppointmentATriggerARunOrAStep(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	booked := d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(10, 14))))
	d.plan(booked.Trigger)
	other := d.tell(d.said("e2", "checked_in", "A1", 2, "")) // which no workflow begins with
	d.plan(other.Trigger)
	var patient, run, step uuid.UUID
	d.scan(`SELECT e.patient_id, e.id, (SELECT s.id FROM steps s WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id LIMIT 1) FROM workflow_executions e WHERE e.trigger_id = $1 LIMIT 1`,
		[]any{booked.Trigger}, &patient, &run, &step)
	for _, c := range []struct {
		of      string
		subject uuid.UUID
		want    []uuid.UUID
	}{
		{"patient", patient, []uuid.UUID{other.Trigger, booked.Trigger}},
		{"appointment", booked.Appointment, []uuid.UUID{other.Trigger, booked.Trigger}},
		{"trigger", booked.Trigger, []uuid.UUID{booked.Trigger}},
		{"a trigger without a run", other.Trigger, []uuid.UUID{other.Trigger}},
		{"run", run, []uuid.UUID{booked.Trigger}},
		{"step", step, []uuid.UUID{booked.Trigger}},
	} {
		st, err := d.Why(t.Context(), d.tenant, c.subject)
		if err != nil {
			t.Errorf("%s: %v", c.of, err)
			continue
		}
		var got []uuid.UUID
		for _, tr := range st.Triggers {
			got = append(got, tr.ID)
			if tr.ID == booked.Trigger && len(tr.Steps) == 0 {
				t.Errorf("%s: no steps are told", c.of)
			}
		}
		if len(got) != len(c.want) || got[0] != c.want[0] {
			t.Errorf("%s: %v, want %v", c.of, got, c.want)
		}
	}
	if _, err := d.Why(t.Context(), d.tenant, uuid.New()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of nothing: %v", err)
	}
}
