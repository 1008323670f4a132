-- +goose Up

-- Unless it is named, a session's own temporary schema is searched before
-- every other one. Where somebody may make temporary tables (PUBLIC may, in a
-- database that nobody set up), a temporary view called webhooks would run its
-- functions with the rights of a look-up's owner.
ALTER FUNCTION lookup_webhook(uuid) SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION lookup_api_key(bytea) SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION lookup_tenant(text) SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION lookup_report_account(uuid) SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION analyze_ledger() SET search_path = pg_catalog, public, pg_temp;

-- For conserve, which counts the rows that no foreign key holds: ids only.
GRANT SELECT (tenant_id, id, webhook_id, trigger_id) ON webhook_executions TO app_worker;
