-- +goose Up

-- Triggers that a patient is known of and that no run belongs to: a run leads
-- to the others. What was planned leaves it, so that it stays small.
CREATE INDEX triggers_patient ON triggers (tenant_id, patient_id, id) WHERE patient_id IS NOT NULL AND state <> 'planned';
