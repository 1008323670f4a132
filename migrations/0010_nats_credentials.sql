-- +goose Up

-- What a clinic system connects to NATS with.
CREATE TABLE nats_credentials (
  tenant_id    uuid NOT NULL REFERENCES tenants (id),
  id           uuid NOT NULL,                -- the user name
  name         text NOT NULL,
  secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32), -- SHA-256 of 32 random bytes
  expires_at   timestamptz,
  last_used_at timestamptz,
  revoked_at   timestamptz,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id)
);
-- Looked up before the tenant is known.
CREATE UNIQUE INDEX nats_credentials_id ON nats_credentials (id);

ALTER TABLE nats_credentials ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON nats_credentials TO app_api
  USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON nats_credentials TO app_worker USING (true) WITH CHECK (true);
CREATE POLICY lookup ON nats_credentials FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION lookup_nats_credential(credential uuid, OUT tenant_id uuid, OUT id uuid) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS 'SELECT c.tenant_id, c.id FROM nats_credentials c WHERE c.id = credential';
REVOKE ALL ON FUNCTION lookup_nats_credential(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_nats_credential(uuid) TO app_api;

GRANT SELECT, INSERT ON nats_credentials TO app_api;
GRANT UPDATE (last_used_at, revoked_at) ON nats_credentials TO app_api;
-- To find out which connections must end; the hashes are not the worker's to see.
GRANT SELECT (tenant_id, id, expires_at, revoked_at) ON nats_credentials TO app_worker;
