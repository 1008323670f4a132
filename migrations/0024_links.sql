-- +goose Up

-- Links of messages that a drawn workflow wants to know about: whether the
-- patient opened them. A row for each message, made when it is claimed for
-- sending; of the token, which the patient has, only the hash.
CREATE TABLE links (
  tenant_id    uuid NOT NULL,
  id           uuid NOT NULL,          -- the message's root step
  execution_id uuid NOT NULL,
  node         text NOT NULL,
  token_hash   bytea NOT NULL CHECK (octet_length(token_hash) = 32),
  target       text NOT NULL,          -- the same for every patient
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  clicked_at   timestamptz,            -- the first time; NULL: not yet
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, execution_id) REFERENCES workflow_executions (tenant_id, id)
);
CREATE UNIQUE INDEX links_token ON links (token_hash);
CREATE INDEX links_run ON links (tenant_id, execution_id);

ALTER TABLE links ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON links TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON links TO app_worker USING (true) WITH CHECK (true);
CREATE POLICY lookup ON links FOR SELECT TO CURRENT_USER USING (true);
GRANT SELECT ON links TO app_api;
GRANT SELECT, INSERT ON links TO app_worker;
GRANT UPDATE (clicked_at) ON links TO app_worker;

CREATE FUNCTION lookup_link(hash bytea, OUT tenant_id uuid, OUT id uuid) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS 'SELECT l.tenant_id, l.id FROM links l WHERE l.token_hash = hash';
REVOKE ALL ON FUNCTION lookup_link(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_link(bytea) TO app_api;
