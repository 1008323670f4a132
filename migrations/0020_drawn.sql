-- +goose Up

-- Where a run of a drawn workflow is to be looked at again: a question whose
-- time has not come, or something that is waited for.
CREATE TABLE run_rests (
  tenant_id    uuid NOT NULL,
  id           uuid NOT NULL,
  execution_id uuid NOT NULL,
  node         text NOT NULL,
  due_at       timestamptz NOT NULL,   -- when it is reached, or the wait is over
  awaits       text,                   -- the event that ends the wait before that
  plan_epoch   integer NOT NULL DEFAULT 0,
  wake_at      timestamptz,            -- NULL: it is over
  outcome      text,                   -- reached, event, timeout, or why it was given up
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  updated_at   timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, execution_id) REFERENCES workflow_executions (tenant_id, id)
);
CREATE INDEX run_rests_wake ON run_rests (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX run_rests_run ON run_rests (tenant_id, execution_id);

ALTER TABLE run_rests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON run_rests TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON run_rests TO app_worker USING (true) WITH CHECK (true);
GRANT SELECT ON run_rests TO app_api;
GRANT SELECT, INSERT, UPDATE ON run_rests TO app_worker;

-- How many of a run's rests are open: it does not end before.
ALTER TABLE workflow_executions ADD COLUMN resting integer NOT NULL DEFAULT 0;
