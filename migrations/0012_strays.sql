-- +goose Up

-- What is kept of events that are nobody's, which the erasure of a patient
-- looks through. Few rows are in these, and none of those that every message
-- writes.
CREATE INDEX triggers_stray ON triggers (tenant_id, id) WHERE state = 'ignored' AND patient_id IS NULL AND payload_key IS NOT NULL;
CREATE INDEX webhook_executions_stray ON webhook_executions (tenant_id, id) WHERE payload_key IS NOT NULL;
