-- +goose Up

-- A FHIR server that notifies us, and that we ask for what a notification left
-- out. Only an operator names its address.
CREATE TABLE fhir_sources (
  tenant_id  uuid NOT NULL REFERENCES tenants (id),
  id         uuid NOT NULL,
  name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
  base_url   text NOT NULL CHECK (char_length(base_url) <= 500),
  token      bytea,                               -- sealed; NULL: it asks for none
  source     text NOT NULL,                       -- what its numbers of appointments are unique in
  identifier text NOT NULL DEFAULT '',            -- the system of the clinic's own number of a patient
  removed_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX fhir_sources_name ON fhir_sources (tenant_id, name) WHERE removed_at IS NULL;

-- How far each of its subscriptions was heard.
CREATE TABLE fhir_subscriptions (
  tenant_id    uuid NOT NULL,
  source_id    uuid NOT NULL,
  subscription text NOT NULL CHECK (char_length(subscription) <= 200),
  last_event   bigint NOT NULL DEFAULT 0,         -- every event up to it is in, or pending
  highest      bigint NOT NULL DEFAULT 0,         -- the newest that was heard of
  heard_at     timestamptz NOT NULL,
  searched_at  timestamptz,                       -- where it cannot say what was missed, what it was asked for instead
  tries        integer NOT NULL DEFAULT 0,
  error        text,
  wake_at      timestamptz,                       -- NULL: nothing was missed
  PRIMARY KEY (tenant_id, source_id, subscription),
  FOREIGN KEY (tenant_id, source_id) REFERENCES fhir_sources (tenant_id, id)
);
CREATE INDEX fhir_subscriptions_wake ON fhir_subscriptions (tenant_id, wake_at) WHERE wake_at IS NOT NULL;

-- Resources that were named and have to be read.
CREATE TABLE fhir_pending (
  tenant_id  uuid NOT NULL,
  source_id  uuid NOT NULL,
  reference  text NOT NULL CHECK (char_length(reference) <= 200),
  asked      integer NOT NULL DEFAULT 1,          -- raised when it is named again
  tries      integer NOT NULL DEFAULT 0,
  error      text,
  wake_at    timestamptz,                         -- NULL: it was read, or is not there
  updated_at timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, source_id, reference),
  FOREIGN KEY (tenant_id, source_id) REFERENCES fhir_sources (tenant_id, id)
);
CREATE INDEX fhir_pending_wake ON fhir_pending (tenant_id, wake_at) WHERE wake_at IS NOT NULL;

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['fhir_sources', 'fhir_subscriptions', 'fhir_pending'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY worker ON %I TO app_worker USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
-- +goose StatementEnd
GRANT SELECT, INSERT, UPDATE ON fhir_sources, fhir_subscriptions, fhir_pending TO app_api;
GRANT SELECT ON fhir_sources TO app_worker;
GRANT SELECT, INSERT, UPDATE ON fhir_subscriptions, fhir_pending TO app_worker;
