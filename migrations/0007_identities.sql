-- +goose Up

-- Whom an issuer's tokens speak for: an organisation, or a user without one.
CREATE TABLE identities (
  tenant_id  uuid NOT NULL REFERENCES tenants (id),
  id         uuid NOT NULL,
  issuer     text NOT NULL CHECK (char_length(issuer) BETWEEN 8 AND 300),
  kind       text NOT NULL CHECK (kind IN ('organization', 'user')),
  subject    text NOT NULL CHECK (char_length(subject) BETWEEN 1 AND 200),
  created_at timestamptz NOT NULL DEFAULT app_now(),
  removed_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
-- Looked up before the tenant is known.
CREATE UNIQUE INDEX identities_subject ON identities (issuer, kind, subject) WHERE removed_at IS NULL;

ALTER TABLE identities ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON identities TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON identities TO app_worker USING (true) WITH CHECK (true);
CREATE POLICY lookup ON identities FOR SELECT TO CURRENT_USER USING (true);
GRANT SELECT, INSERT ON identities TO app_api;
GRANT UPDATE (removed_at) ON identities TO app_api;

CREATE FUNCTION lookup_identity(wanted_issuer text, wanted_kind text, wanted_subject text, OUT tenant_id uuid, OUT id uuid) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS 'SELECT i.tenant_id, i.id FROM identities i WHERE i.issuer = wanted_issuer AND i.kind = wanted_kind AND i.subject = wanted_subject AND i.removed_at IS NULL';
REVOKE ALL ON FUNCTION lookup_identity(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_identity(text, text, text) TO app_api;

-- Operations, read or write; none is everything that the role may.
ALTER TABLE api_keys ADD COLUMN scopes text[] NOT NULL DEFAULT '{}';
