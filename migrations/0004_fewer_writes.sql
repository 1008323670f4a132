-- +goose Up

-- A condition that always holds keeps an index from being taken where its own
-- column is not asked for: while tables are small, a row's look-up by id looks
-- as cheap by any index that begins with the tenant, and the plan of a foreign
-- key's check is made once and kept while the tables fill.
ALTER TABLE steps DROP CONSTRAINT steps_tenant_id_execution_id_node_channel_key;
CREATE UNIQUE INDEX steps_node ON steps (tenant_id, execution_id, node, channel) WHERE execution_id IS NOT NULL;

ALTER TABLE triggers DROP CONSTRAINT triggers_tenant_id_source_event_id_key;
CREATE UNIQUE INDEX triggers_event ON triggers (tenant_id, source, event_id) WHERE source IS NOT NULL;

ALTER TABLE workflow_executions DROP CONSTRAINT workflow_executions_tenant_id_trigger_id_workflow_id_key;
CREATE UNIQUE INDEX workflow_executions_trigger ON workflow_executions (tenant_id, trigger_id, workflow_id) WHERE trigger_id IS NOT NULL;

DROP INDEX workflow_executions_patient, workflow_executions_list;
CREATE INDEX workflow_executions_patient ON workflow_executions (tenant_id, patient_id, created_at DESC) WHERE patient_id IS NOT NULL;
CREATE INDEX workflow_executions_list ON workflow_executions (tenant_id, workflow_id, created_at DESC) WHERE workflow_id IS NOT NULL;

-- The log of a message is its step and what was attempted: message_logs becomes
-- a view of them, so that a message costs no third row and no update of it.
-- account_id is NULL in the row, numbered 0, of a step that ended untried.
ALTER TABLE attempts
  ADD COLUMN content bytea,                          -- the text as sent, sealed under the patient's key
  ADD COLUMN logged  boolean NOT NULL DEFAULT false, -- the row that dates its step in the log
  ALTER COLUMN account_id DROP NOT NULL;

-- What is written for every message has no foreign keys: each check locks the
-- parent's row, the same few rows in every transaction, and together they cost
-- a quarter of the database's time (docs/decisions/0011). Each of these rows is
-- written in the transaction that wrote or read its parent, no role may delete
-- a parent, and conserve counts rows without one.
ALTER TABLE patients
  DROP CONSTRAINT patients_tenant_id_fkey;
ALTER TABLE triggers
  DROP CONSTRAINT triggers_tenant_id_fkey,
  DROP CONSTRAINT triggers_tenant_id_webhook_id_fkey,
  DROP CONSTRAINT triggers_tenant_id_patient_id_fkey;
ALTER TABLE webhook_executions
  DROP CONSTRAINT webhook_executions_tenant_id_webhook_id_fkey,
  DROP CONSTRAINT webhook_executions_tenant_id_trigger_id_fkey;
ALTER TABLE workflow_executions
  DROP CONSTRAINT workflow_executions_tenant_id_workflow_id_version_fkey,
  DROP CONSTRAINT workflow_executions_tenant_id_trigger_id_fkey,
  DROP CONSTRAINT workflow_executions_tenant_id_patient_id_fkey;
ALTER TABLE steps
  DROP CONSTRAINT steps_tenant_id_execution_id_fkey;
ALTER TABLE attempts
  DROP CONSTRAINT attempts_tenant_id_step_id_fkey,
  DROP CONSTRAINT attempts_tenant_id_account_id_fkey;

ALTER TABLE attempts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE message_logs NO FORCE ROW LEVEL SECURITY;
ALTER TABLE steps NO FORCE ROW LEVEL SECURITY;
UPDATE attempts a SET content = m.content, logged = true
FROM   message_logs m
WHERE  m.tenant_id = a.tenant_id AND m.id = a.step_id AND a.attempt = 1;
INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at, logged)
SELECT m.tenant_id, m.id, 0, m.channel, s.plan_epoch, m.created_at, true
FROM   message_logs m JOIN steps s ON s.tenant_id = m.tenant_id AND s.id = m.id
WHERE  NOT EXISTS (SELECT FROM attempts a WHERE a.tenant_id = m.tenant_id AND a.step_id = m.id);
ALTER TABLE steps FORCE ROW LEVEL SECURITY;
ALTER TABLE attempts FORCE ROW LEVEL SECURITY;
DROP TABLE message_logs;

CREATE INDEX attempts_log ON attempts (tenant_id, claimed_at DESC, step_id DESC) WHERE logged;

CREATE VIEW message_logs WITH (security_invoker = true) AS
SELECT a.tenant_id, a.step_id AS id, e.patient_id, s.channel,
       CASE WHEN s.state IN ('sent', 'delivered') THEN s.state
            WHEN s.state IN ('planned', 'claimed', 'unknown') THEN 'pending'
            ELSE 'failed' END AS status,
       (SELECT c.content FROM attempts c WHERE c.tenant_id = s.tenant_id AND c.step_id = s.id ORDER BY c.attempt DESC LIMIT 1) AS content,
       jsonb_strip_nulls(jsonb_build_object('workflow_id', e.workflow_id, 'execution_id', e.id, 'campaign_id', e.campaign_id,
                                            'step_id', s.id, 'root_id', s.root_id)) AS metadata,
       CASE WHEN s.state IN ('planned', 'claimed', 'unknown', 'sent', 'delivered') THEN NULL
            WHEN s.reason = 'fell_back' AND s.code IS NOT NULL THEN 'rejected:' || s.code
            ELSE s.reason END AS error_message,
       s.sent_at, s.delivered_at, a.claimed_at AS created_at
FROM   attempts a
JOIN   steps s ON s.tenant_id = a.tenant_id AND s.id = a.step_id
JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
-- A step that ended untried and was taken up again after all is dated by its
-- first attempt.
WHERE  a.logged AND (a.attempt > 0 OR s.attempt = 0);
GRANT SELECT ON message_logs TO app_api, app_worker;

-- A function in SQL that contains a query is parsed and planned by every
-- statement that calls it; one in PL/pgSQL is, once in a session.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION app_now() RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS 'BEGIN RETURN greatest(statement_timestamp(), (SELECT clock_high_water FROM platform)); END';
-- +goose StatementEnd
