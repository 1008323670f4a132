-- +goose Up

-- Saving makes a draft, publishing makes a version. A draft is kept as text: a
-- drawing comes back with the bytes that it came with, unknown fields included.
ALTER TABLE workflows
  ADD COLUMN draft         json,                        -- NULL: nothing but what is published
  ADD COLUMN draft_version integer NOT NULL DEFAULT 1,  -- raised by every change of the draft and every publication
  ADD COLUMN archived_at   timestamptz,                 -- NULL: in use, or switched off
  ALTER COLUMN visual_data TYPE text USING visual_data::text;

-- What the version kept as text is the drawing as it came.
ALTER TABLE workflows NO FORCE ROW LEVEL SECURITY;
ALTER TABLE workflow_versions NO FORCE ROW LEVEL SECURITY;
UPDATE workflows w SET visual_data = v.definition -> 'drawing' ->> 'visual_data'
FROM   workflow_versions v
WHERE  v.tenant_id = w.tenant_id AND v.workflow_id = w.id AND v.version = w.version AND v.definition ? 'drawing';
ALTER TABLE workflow_versions FORCE ROW LEVEL SECURITY;
ALTER TABLE workflows FORCE ROW LEVEL SECURITY;

-- Whether Kakao has approved the text: one that it has not is sent to nobody.
ALTER TABLE templates ADD COLUMN kakao_status text NOT NULL DEFAULT 'approved' CHECK (kakao_status IN ('approved', 'pending', 'rejected'));
