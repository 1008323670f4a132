-- +goose Up

-- Work for a human. A parked step's row here is kept by the database itself, so
-- that no way into or out of that state can forget it; an index of steps by
-- state would cost every other change of state its heap-only update.
CREATE TABLE parked_steps (
  tenant_id uuid NOT NULL,
  step_id   uuid NOT NULL,
  channel   text NOT NULL,
  reason    text NOT NULL,
  parked_at timestamptz NOT NULL,
  times     integer NOT NULL DEFAULT 1,   -- how often it was parked
  left_at   timestamptz,                  -- NULL: it is parked now
  told_at   timestamptz,                  -- NULL: no log line and no counter says so yet
  PRIMARY KEY (tenant_id, step_id)        -- of a step's own change: no foreign key, which each change would pay for
);
CREATE INDEX parked_steps_open ON parked_steps (tenant_id, parked_at DESC, step_id DESC) WHERE left_at IS NULL;
CREATE INDEX parked_steps_untold ON parked_steps (tenant_id) WHERE told_at IS NULL;

-- Who decided what by hand, and why. Nobody may change or remove a row.
CREATE TABLE audit_log (
  tenant_id  uuid NOT NULL REFERENCES tenants (id),
  id         uuid NOT NULL,
  at         timestamptz NOT NULL DEFAULT app_now(),
  actor      text NOT NULL CHECK (actor ~ '^(key|cli):.'), -- an API key's id, or a login on the machine
  action     text NOT NULL,
  subject    text NOT NULL,                                -- the kind of subject_id: step
  subject_id uuid NOT NULL,
  note       text NOT NULL DEFAULT '' CHECK (char_length(note) <= 200),
  detail     jsonb NOT NULL DEFAULT '{}',                  -- ids, states and times only
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX audit_log_subject ON audit_log (tenant_id, subject_id, at);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['parked_steps', 'audit_log'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY worker ON %I TO app_worker USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
-- +goose StatementEnd
GRANT SELECT ON parked_steps, audit_log TO app_api, app_worker;
GRANT INSERT, UPDATE ON parked_steps TO app_worker;
GRANT INSERT ON audit_log TO app_api, app_worker;

-- When a human had the gateway asked again: giving up is counted from here.
ALTER TABLE steps ADD COLUMN asked_at timestamptz;

-- +goose StatementBegin
CREATE FUNCTION keep_parked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state = 'parked' THEN
    INSERT INTO parked_steps AS p (tenant_id, step_id, channel, reason, parked_at)
    VALUES (NEW.tenant_id, NEW.id, NEW.channel, NEW.reason, app_now())
    ON CONFLICT (tenant_id, step_id) DO UPDATE
    SET reason = EXCLUDED.reason, parked_at = EXCLUDED.parked_at, times = p.times + 1, left_at = NULL, told_at = NULL;
  ELSE
    UPDATE parked_steps SET left_at = app_now() WHERE tenant_id = NEW.tenant_id AND step_id = NEW.id;
  END IF;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER steps_parked AFTER UPDATE OF state ON steps
FOR EACH ROW WHEN ((NEW.state = 'parked') <> (OLD.state = 'parked')) EXECUTE FUNCTION keep_parked();

ALTER TABLE parked_steps NO FORCE ROW LEVEL SECURITY;
ALTER TABLE steps NO FORCE ROW LEVEL SECURITY;
INSERT INTO parked_steps (tenant_id, step_id, channel, reason, parked_at)
SELECT tenant_id, id, channel, reason, updated_at FROM steps WHERE state = 'parked';
ALTER TABLE steps FORCE ROW LEVEL SECURITY;
ALTER TABLE parked_steps FORCE ROW LEVEL SECURITY;
