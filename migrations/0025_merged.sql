-- +goose Up

-- A person whom a clinic had twice: one row goes on, the other is only another
-- name of it. It keeps its key and what that sealed, its runs and its numbers,
-- and whoever comes by them is led on. merged_into is never a merged row.
ALTER TABLE patients
  ADD COLUMN merged_into uuid,
  ADD COLUMN merged_at   timestamptz,
  ADD COLUMN merged      jsonb,        -- what the merge answered, to be answered again
  ADD CONSTRAINT patients_merged_into FOREIGN KEY (tenant_id, merged_into) REFERENCES patients (tenant_id, id),
  ADD CONSTRAINT patients_merged_check CHECK (merged_into <> id AND (merged_into IS NULL) = (merged_at IS NULL));
CREATE INDEX patients_merged ON patients (tenant_id, merged_into) WHERE merged_into IS NOT NULL;

-- A no under either row is one under the row that goes on.
GRANT INSERT ON consents TO app_worker;
