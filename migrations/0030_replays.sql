-- +goose Up

-- A trigger that is looked at again, and one that was made of another because a
-- person said so: it starts the one workflow that was named.
ALTER TABLE triggers
  ADD COLUMN replay_of     uuid,
  ADD COLUMN only_workflow uuid;

-- Everything that a source said since then, looked at again from behind.
CREATE TABLE replays (
  tenant_id   uuid NOT NULL REFERENCES tenants (id),
  id          uuid NOT NULL,
  source      text NOT NULL CHECK (char_length(source) <= 200), -- webhook:<id>, appointment, or '' for all
  since       timestamptz NOT NULL,
  until       timestamptz NOT NULL,                             -- when it was asked for
  reason      text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
  actor       text NOT NULL,
  state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'cancelled')),
  after       uuid NOT NULL,                                    -- the last trigger that was looked at
  seen        integer NOT NULL DEFAULT 0,
  reopened    integer NOT NULL DEFAULT 0,
  gone        integer NOT NULL DEFAULT 0,                       -- their payload cannot be read any more
  created_at  timestamptz NOT NULL DEFAULT app_now(),
  updated_at  timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX replays_running ON replays (tenant_id, id) WHERE state = 'running';

-- The daily look for appointments that started nothing: one for each clinic
-- and day of its own.
CREATE TABLE sweeps (
  tenant_id  uuid NOT NULL REFERENCES tenants (id),
  day        date NOT NULL,
  started    integer NOT NULL DEFAULT 0,
  done_at    timestamptz,
  created_at timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, day)
);

ALTER TABLE replays ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON replays TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON replays TO app_worker USING (true) WITH CHECK (true);
ALTER TABLE sweeps ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON sweeps TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON sweeps TO app_worker USING (true) WITH CHECK (true);
GRANT SELECT ON replays, sweeps TO app_api;
GRANT SELECT, INSERT, UPDATE ON replays, sweeps TO app_worker;
