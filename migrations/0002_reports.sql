-- +goose Up

-- Gateways' own reports. Each is kept as it was told and believed only after
-- the gateway, asked by us, said the same.

ALTER TABLE provider_accounts
  ADD COLUMN report_token bytea,             -- sealed; NULL: reports are not taken
  ADD COLUMN confirmed_at timestamptz;       -- when its reports were last confirmed: the confirming copy's lease

-- Looked up before the tenant is known.
CREATE UNIQUE INDEX provider_accounts_id ON provider_accounts (id);
CREATE POLICY lookup ON provider_accounts FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION lookup_report_account(account uuid, OUT tenant_id uuid, OUT id uuid) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
AS 'SELECT a.tenant_id, a.id FROM provider_accounts a WHERE a.id = account';
REVOKE ALL ON FUNCTION lookup_report_account(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_report_account(uuid) TO app_api;

ALTER TABLE gateway_reports
  ADD COLUMN root_id     uuid,                -- from the grouping key, if it is one of ours
  ADD COLUMN request_id  text,
  ADD COLUMN request_seq integer,
  ADD COLUMN says        text NOT NULL DEFAULT 'noted' CHECK (says IN ('delivered', 'failed', 'noted')),
  ADD COLUMN said_at     timestamptz,
  ADD COLUMN state       text NOT NULL DEFAULT 'noted' CHECK (state IN
                           ('pending', 'noted', 'confirmed', 'refuted', 'unknown', 'given_up')),
  ADD COLUMN tries       integer NOT NULL DEFAULT 0,
  ADD COLUMN wake_at     timestamptz,         -- when it is to be confirmed; NULL once settled
  ADD COLUMN settled_at  timestamptz,
  ADD CONSTRAINT gateway_reports_pending CHECK ((state = 'pending') = (wake_at IS NOT NULL));
CREATE INDEX gateway_reports_wake ON gateway_reports (tenant_id, account_id, wake_at) WHERE wake_at IS NOT NULL;

GRANT INSERT ON gateway_reports TO app_api;
GRANT UPDATE (state, tries, wake_at, settled_at, step_id) ON gateway_reports TO app_worker;
GRANT UPDATE (confirmed_at) ON provider_accounts TO app_worker;
