-- +goose Up

-- What was sent, counted by the clinic's own days, from behind: no message
-- waits for it, and nobody who looks waits for a million logs.
CREATE TABLE message_stats (
  tenant_id   uuid NOT NULL,
  time_zone   text NOT NULL,                    -- whose days these are: the clinic's, or one that was
  day         date NOT NULL,                    -- of the log's created_at
  workflow_id uuid NOT NULL,
  channel     text NOT NULL CHECK (channel IN ('kakao', 'sms')),
  messages    integer NOT NULL,                 -- logs that are no fallback
  sends       integer NOT NULL,                 -- logs
  pending     integer NOT NULL,
  sent        integer NOT NULL,
  delivered   integer NOT NULL,
  failed      integer NOT NULL,                 -- fell_back among them
  fell_back   integer NOT NULL,
  lateness    integer[] NOT NULL,               -- how many took up to 1, 5, 30, 60, 300, 1800, 3600, 21600, 86400 s, and longer, from due to sent
  delivery    integer[] NOT NULL,               -- the same from sent to delivered
  PRIMARY KEY (tenant_id, time_zone, day, workflow_id, channel),
  FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows (tenant_id, id)
);

-- A day that has logs, and when it is counted again.
CREATE TABLE message_stat_days (
  tenant_id  uuid NOT NULL,
  time_zone  text NOT NULL,
  day        date NOT NULL,
  counted_at timestamptz,
  wake_at    timestamptz,                       -- NULL: never again
  PRIMARY KEY (tenant_id, time_zone, day)
);
CREATE INDEX message_stat_days_wake ON message_stat_days (wake_at) WHERE wake_at IS NOT NULL;

ALTER TABLE message_stats ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON message_stats TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON message_stats TO app_worker USING (true) WITH CHECK (true);
ALTER TABLE message_stat_days ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON message_stat_days TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON message_stat_days TO app_worker USING (true) WITH CHECK (true);
GRANT SELECT ON message_stats, message_stat_days TO app_api;
GRANT SELECT, INSERT, UPDATE ON message_stats, message_stat_days TO app_worker;
