-- +goose Up

-- The day of the year, 1 March is 301: birthdays are asked for in SQL, and the
-- year stays sealed in birth_date.
ALTER TABLE patients ADD COLUMN birthday smallint CHECK (birthday BETWEEN 101 AND 1231);

-- Patients by what is known of them, looked up anew whenever it is used.
CREATE TABLE segments (
  tenant_id   uuid NOT NULL REFERENCES tenants (id),
  id          uuid NOT NULL,
  name        text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
  filter      jsonb NOT NULL,
  version     integer NOT NULL DEFAULT 1,         -- raised by every change
  archived_at timestamptz,
  created_at  timestamptz NOT NULL DEFAULT app_now(),
  updated_at  timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX segments_name ON segments (tenant_id, name) WHERE archived_at IS NULL;

-- What starts a workflow for a segment again and again.
CREATE TABLE schedules (
  tenant_id    uuid NOT NULL REFERENCES tenants (id),
  id           uuid NOT NULL,
  name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
  pattern      text NOT NULL CHECK (char_length(pattern) <= 100),
  time_zone    text,                              -- NULL: the clinic's
  workflow_id  uuid NOT NULL,
  segment_id   uuid NOT NULL,
  missed       text NOT NULL DEFAULT 'once' CHECK (missed IN ('skip', 'once', 'all')),
  enabled      boolean NOT NULL DEFAULT true,
  next_fire_at timestamptz,                       -- NULL: never
  version      integer NOT NULL DEFAULT 1,
  archived_at  timestamptz,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  updated_at   timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows (tenant_id, id),
  FOREIGN KEY (tenant_id, segment_id) REFERENCES segments (tenant_id, id)
);
CREATE UNIQUE INDEX schedules_name ON schedules (tenant_id, name) WHERE archived_at IS NULL;
CREATE INDEX schedules_due ON schedules (tenant_id, next_fire_at) WHERE enabled AND next_fire_at IS NOT NULL;

ALTER TABLE templates ADD COLUMN version integer NOT NULL DEFAULT 1;

ALTER TABLE campaigns
  ADD COLUMN workflow_id uuid,                    -- what is started; of a template, the small workflow that it is
  ADD COLUMN segment_id  uuid,                    -- NULL: target_patients
  ADD COLUMN version     integer NOT NULL DEFAULT 1,
  ADD COLUMN started_at  timestamptz,
  ADD COLUMN finished_at timestamptz,
  ADD CONSTRAINT campaigns_workflow FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows (tenant_id, id),
  ADD CONSTRAINT campaigns_segment FOREIGN KEY (tenant_id, segment_id) REFERENCES segments (tenant_id, id),
  ADD CONSTRAINT campaigns_name_length CHECK (char_length(name) BETWEEN 1 AND 100);
CREATE INDEX campaigns_scheduled ON campaigns (tenant_id, scheduled_at) WHERE status = 'scheduled';
CREATE INDEX campaigns_running ON campaigns (tenant_id, id) WHERE status = 'running';
CREATE INDEX workflow_executions_campaign ON workflow_executions (tenant_id, campaign_id, id) WHERE campaign_id IS NOT NULL;

-- One fire of a schedule, or one campaign, on its way through its audience.
CREATE TABLE batches (
  tenant_id   uuid NOT NULL REFERENCES tenants (id),
  id          uuid NOT NULL,
  schedule_id uuid,
  campaign_id uuid,
  fire_at     timestamptz NOT NULL,
  as_of       date NOT NULL,                      -- the day that the filter's spans count from
  workflow_id uuid NOT NULL,
  version     integer,                            -- NULL: there was none in force
  filter      jsonb,                              -- as it was at the fire; NULL: the campaign's target_patients
  state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'done', 'cancelled', 'skipped')),
  reason      text,                               -- of a fire that was skipped
  after       uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- the last patient that was looked at
  expected    integer,                            -- NULL: not counted yet
  started     integer NOT NULL DEFAULT 0,
  created_at  timestamptz NOT NULL DEFAULT app_now(),
  updated_at  timestamptz NOT NULL DEFAULT app_now(),
  finished_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, schedule_id) REFERENCES schedules (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaigns (tenant_id, id),
  FOREIGN KEY (tenant_id, workflow_id, version) REFERENCES workflow_versions (tenant_id, workflow_id, version),
  CHECK ((schedule_id IS NULL) <> (campaign_id IS NULL))
);
-- Ten copies, two clocks and a restart fire it once.
CREATE UNIQUE INDEX batches_fire ON batches (tenant_id, schedule_id, fire_at) WHERE schedule_id IS NOT NULL;
CREATE UNIQUE INDEX batches_campaign ON batches (tenant_id, campaign_id) WHERE campaign_id IS NOT NULL;
CREATE INDEX batches_running ON batches (tenant_id, id) WHERE state = 'running';

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['segments', 'schedules', 'batches'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY worker ON %I TO app_worker USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
-- +goose StatementEnd
GRANT SELECT, INSERT, UPDATE ON segments, schedules, batches TO app_api;
GRANT SELECT ON segments, schedules, batches TO app_worker;
GRANT UPDATE (next_fire_at) ON schedules TO app_worker;
GRANT INSERT ON batches TO app_worker;
GRANT UPDATE (state, reason, after, expected, started, updated_at, finished_at) ON batches TO app_worker;
GRANT UPDATE (status, started_at, finished_at, updated_at) ON campaigns TO app_worker;
