-- +goose Up

-- While a table is small and was never analyzed, Postgres takes every index
-- that begins with the tenant for as good as the right one, and autovacuum
-- comes by once a minute. Only an owner may analyze, and nobody connects as
-- one but to migrate: hence a function, which reads and tells nothing.
-- +goose StatementBegin
CREATE FUNCTION analyze_ledger() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
AS $$
BEGIN
  -- One process at a time; the others' work is done with it.
  IF NOT pg_try_advisory_xact_lock(hashtextextended('doctorsflow.analyze_ledger', 0)) THEN
    RETURN false;
  END IF;
  ANALYZE patients, triggers, webhook_executions, workflow_executions, steps, attempts;
  RETURN true;
END $$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION analyze_ledger() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analyze_ledger() TO app_worker;
